#include "models/gguf_tokenizer.h"
#include "models/smolvlm/gguf.h"

namespace onsight::models::smolvlm {
namespace {

using formats::GgufValues;

uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }  // parse_config has seen all of them

Result<GgufValues> text_values(const Config& config, const FileSource& files) {
  const TextConfig& t = config.text;
  GgufValues out = {
      {"general.architecture", std::string("llama")},
      {"llama.vocab_size", u32(t.vocab_size)},
      {"llama.context_length", u32(t.max_position_embeddings)},
      {"llama.embedding_length", u32(t.hidden_size)},
      {"llama.block_count", u32(t.num_hidden_layers)},
      {"llama.feed_forward_length", u32(t.intermediate_size)},
      {"llama.attention.head_count", u32(t.num_attention_heads)},
      {"llama.attention.head_count_kv", u32(t.num_key_value_heads)},
      {"llama.attention.key_length", u32(t.head_dim)},
      {"llama.attention.value_length", u32(t.head_dim)},
      {"llama.attention.layer_norm_rms_epsilon", static_cast<float>(t.rms_norm_eps)},
      {"llama.rope.dimension_count", u32(t.head_dim)},
      {"llama.rope.freq_base", static_cast<float>(t.rope.theta)},
  };
  if (t.rope.type == RopeType::kLlama3)
    return bad_input("{}: text_config: rope_type llama3, expected default or linear, which GGUF files can say",
                     files.place("config.json"));
  if (t.rope.type == RopeType::kLinear) {
    out.emplace_back("llama.rope.scaling.type", std::string("linear"));
    out.emplace_back("llama.rope.scaling.factor", static_cast<float>(t.rope.factor));
  }
  return out;
}

Result<GgufValues> projector_values(const Config& config, const FileSource& files) {
  const VisionConfig& v = config.vision;
  const ProcessorConfig& p = config.processor;
  if (v.hidden_act != Activation::kGeluTanh)
    return bad_input("{}: vision_config.hidden_act: gelu, expected gelu_pytorch_tanh, which llama.cpp computes",
                     files.place("config.json"));
  if (p.tile_size != v.image_size)
    return bad_input("{}: tiles of {} pixels, expected vision_config.image_size {}: GGUF files have one size for both",
                     files.where(), p.tile_size, v.image_size);
  if (!p.do_rescale || !p.do_normalize)
    return bad_input("{}: do_rescale or do_normalize is off, expected both on, as GGUF files have it", files.where());
  const auto list = [](const std::array<float, 3>& values) { return std::vector<float>(values.begin(), values.end()); };
  return GgufValues{
      {"general.architecture", std::string("clip")},
      {"clip.has_vision_encoder", true},
      {"clip.projector_type", std::string("idefics3")},
      {"clip.use_gelu", true},
      {"clip.vision.image_size", u32(v.image_size)},
      {"clip.vision.preproc_image_size", u32(p.do_image_splitting ? p.longest_edge : p.tile_size)},
      {"clip.vision.patch_size", u32(v.patch_size)},
      {"clip.vision.embedding_length", u32(v.hidden_size)},
      {"clip.vision.feed_forward_length", u32(v.intermediate_size)},
      {"clip.vision.block_count", u32(v.num_hidden_layers)},
      {"clip.vision.attention.head_count", u32(v.num_attention_heads)},
      {"clip.vision.attention.layer_norm_epsilon", static_cast<float>(v.layer_norm_eps)},
      {"clip.vision.projection_dim", u32(config.text.hidden_size)},
      {"clip.vision.projector.scale_factor", u32(config.scale_factor)},
      {"clip.vision.image_mean", list(p.image_mean)},
      {"clip.vision.image_std", list(p.image_std)},
  };
}

// Where the settings differ from what readers of GGUF files take for granted.
std::vector<std::string> not_kept(const Config& config) {
  const ProcessorConfig& p = config.processor;
  std::vector<std::string> out;
  if (p.resample != media::Resample::kLanczos) out.emplace_back("the filter that pictures are resized with");
  if (p.rescale_factor != ProcessorConfig().rescale_factor) out.emplace_back("the factor of 8-bit values");
  if (!p.do_resize) out.emplace_back("that pictures are not resized");
  if (!p.do_image_splitting && p.longest_edge > p.tile_size)
    out.emplace_back("that pictures are not split, and to what size they are brought first");
  if (config.video_refused.empty()) out.emplace_back("how videos are looked at");
  return out;
}

}  // namespace

Result<GgufDescription> describe_in_gguf(const Config& config, const FileSource& files,
                                         const text::Tokenizer& tokenizer) {
  GgufDescription out;
  TRY(out.text, text_values(config, files));
  TRY(out.projector, projector_values(config, files));
  TRY(GgufValues tokens,
      gguf_tokenizer_values(files, tokenizer, config.text.vocab_size, config.generation.eos_token_ids));
  out.text.insert(out.text.end(), tokens.begin(), tokens.end());
  out.not_kept = not_kept(config);
  return out;
}

}  // namespace onsight::models::smolvlm
