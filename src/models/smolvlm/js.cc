#include "models/smolvlm/js.h"

#include "models/smolvlm/full_config.h"
#include "text/chat_template.h"

namespace onsight::models::smolvlm {
namespace {

Result<Json> object_of(const FileSource& files, std::string_view name) {
  if (!files.has(name)) return Json(Json::object());
  return load_json(files, name);
}

Result<Json> preprocessor_config(const Config& config, const FileSource& files, const std::string& family) {
  TRY(Json out, object_of(files, "preprocessor_config.json"));
  const ProcessorConfig& p = config.processor;
  out.update({{"image_processor_type", family + "ImageProcessor"},
              {"processor_class", family + "Processor"},
              {"do_resize", p.do_resize},
              {"do_image_splitting", p.do_image_splitting},
              {"do_rescale", p.do_rescale},
              {"do_normalize", p.do_normalize},
              {"do_convert_rgb", p.do_convert_rgb},
              {"do_pad", p.do_pad},
              {"size", {{"longest_edge", p.longest_edge}}},
              {"max_image_size", {{"longest_edge", p.tile_size}}},
              {"resample", static_cast<int>(p.resample)},
              {"rescale_factor", p.rescale_factor},
              {"image_mean", p.image_mean},
              {"image_std", p.image_std}});
  return out;
}

std::vector<std::string> differences(const Config& config) {
  std::vector<std::string> out = {fmt::format(
      "transformers.js resizes pictures with other filters than transformers, so that pixels differ a little where a "
      "picture is not {0} × {0} already",
      config.processor.tile_size)};
  const ImageTokens its;
  if (config.tokens.fake != its.fake || config.tokens.image != its.image || config.tokens.global != its.global)
    out.push_back(fmt::format("transformers.js writes {}, {} and {} around a picture, and this model has other tokens",
                              its.fake, its.image, its.global));
  return out;
}

}  // namespace

Result<JsDescription> describe_for_js(const Config& config, const FileSource& files) {
  const std::string family = config.architecture == Architecture::kSmolVlm ? "SmolVLM" : "Idefics3";
  JsDescription out;
  TRY(out.files["config.json"], full_config(config, files));
  TRY(out.files["preprocessor_config.json"], preprocessor_config(config, files, family));
  TRY(Json processor, object_of(files, "processor_config.json"));
  processor.update({{"image_seq_len", config.tokens_per_tile()}, {"processor_class", family + "Processor"}});
  out.files["processor_config.json"] = std::move(processor);
  TRY(Json tokenizer, object_of(files, "tokenizer_config.json"));
  TRY(tokenizer["chat_template"], text::ChatTemplate::source(files));
  out.files["tokenizer_config.json"] = std::move(tokenizer);
  TRY(Json generation, object_of(files, "generation_config.json"));
  if (!config.generation.eos_token_ids.empty()) generation["eos_token_id"] = config.generation.eos_token_ids;
  out.files["generation_config.json"] = std::move(generation);
  out.notes = differences(config);
  return out;
}

}  // namespace onsight::models::smolvlm
