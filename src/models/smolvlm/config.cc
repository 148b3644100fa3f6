#include "models/smolvlm/config.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string_view>

namespace onsight::models::smolvlm {
namespace {

// Bounds far above any real model, so that no product of the model's sizes can overflow.
constexpr int64_t kMaxWidth = 1 << 16;
constexpr int64_t kMaxInner = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxSide = 8192;
constexpr int64_t kMaxVocabulary = 1 << 24;
constexpr int64_t kMaxPositions = 1 << 26;
constexpr int64_t kMaxTilesPerSide = 64;
constexpr int64_t kLongestEdgeOfAll = 4096;  // the reference shrinks what is longer
constexpr double kMinEpsilon = 1e-20;
constexpr float kMinDeviation = 1e-6f;
constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;

// The object under `key`, or an empty one. Refuses anything else, which JsonView would read as absent.
Result<JsonView> object(const JsonView& view, std::string_view key) {
  JsonView inner = view.at(key);
  if (view.has(key) && !inner.json().is_object())
    return bad_input("{}: expected an object, found {}", inner.where(), inner.json().type_name());
  return inner;
}

Result<double> number(const JsonView& view, std::string_view key, double otherwise, double min, double max) {
  TRY(double value, view.number_or(key, otherwise));
  if (!(value >= min && value <= max))
    return bad_input("{}: expected a number from {} to {}, found {}", view.at(key).where(), min, max, value);
  return value;
}

Status expect_divides(const JsonView& view, std::string_view divisor_key, int64_t divisor, std::string_view key,
                      int64_t value) {
  if (value % divisor == 0) return {};
  return bad_input("{}: expected a divisor of {} {}, found {}", view.at(divisor_key).where(), key, value, divisor);
}

Result<Architecture> read_architecture(const JsonView& config) {
  constexpr std::string_view kSupported =
      "expected SmolVLMForConditionalGeneration or Idefics3ForConditionalGeneration";
  const Json& names = config.at("architectures").json();
  if (config.has("architectures")) {
    if (names.is_array() && names.size() == 1 && names[0].is_string())
      for (Architecture architecture : {Architecture::kSmolVlm, Architecture::kIdefics3})
        if (names[0].get_ref<const std::string&>() == to_string(architecture)) return architecture;
    return bad_input("{}: {}, found {:.200}", config.at("architectures").where(), kSupported,
                     names.dump(-1, ' ', true, Json::error_handler_t::replace));
  }
  TRY(std::string type, config.string_or("model_type", ""));
  if (type == "smolvlm") return Architecture::kSmolVlm;
  if (type == "idefics3") return Architecture::kIdefics3;
  return bad_input("{}: {}, found {}", config.at("architectures").where(), kSupported,
                   type.empty() ? "nothing" : fmt::format("model_type '{:.100}'", type));
}

Result<VisionConfig> read_vision(const JsonView& view) {
  VisionConfig v;
  TRY(v.hidden_size, view.integer_or("hidden_size", v.hidden_size, 1, kMaxWidth));
  TRY(v.intermediate_size, view.integer_or("intermediate_size", v.intermediate_size, 1, kMaxInner));
  TRY(v.num_hidden_layers, view.integer_or("num_hidden_layers", v.num_hidden_layers, 1, kMaxLayers));
  TRY(v.num_attention_heads, view.integer_or("num_attention_heads", v.num_attention_heads, 1, kMaxHeads));
  TRY(v.num_channels, view.integer_or("num_channels", v.num_channels, 3, 3));
  TRY(v.image_size, view.integer_or("image_size", v.image_size, 1, kMaxSide));
  TRY(v.patch_size, view.integer_or("patch_size", v.patch_size, 1, v.image_size));
  TRY(v.layer_norm_eps, number(view, "layer_norm_eps", v.layer_norm_eps, kMinEpsilon, 1));
  TRY_STATUS(expect_divides(view, "num_attention_heads", v.num_attention_heads, "hidden_size", v.hidden_size));
  TRY(std::string act, view.string_or("hidden_act", "gelu_pytorch_tanh"));
  if (act == "gelu")
    v.hidden_act = Activation::kGeluErf;
  else if (act != "gelu_pytorch_tanh")
    return bad_input("{}: expected gelu_pytorch_tanh or gelu, found '{:.100}'", view.at("hidden_act").where(), act);
  return v;
}

// transformers reads rope_scaling if it says anything, else rope_parameters; theta inside it, else beside it.
Result<RopeConfig> read_rope(const JsonView& text, int64_t max_position_embeddings) {
  RopeConfig rope;
  TRY(JsonView old, object(text, "rope_scaling"));
  TRY(JsonView rope_parameters, object(text, "rope_parameters"));
  const JsonView& view = old.json().empty() ? rope_parameters : old;
  TRY(double theta, number(text, "rope_theta", rope.theta, 1, 1e15));
  TRY(rope.theta, number(view, "rope_theta", theta, 1, 1e15));
  TRY(std::string old_type, view.string_or("type", "default"));
  TRY(std::string type, view.string_or("rope_type", old_type));
  for (const JsonView* place : {&text, &view}) {
    TRY(double part, place->number_or("partial_rotary_factor", 1));
    if (part != 1) return bad_input("{}: expected 1, found {}", place->at("partial_rotary_factor").where(), part);
  }
  if (type == "default") return rope;
  if (type != "linear" && type != "llama3")
    return bad_input("{}: rope_type: expected default, linear or llama3, found '{:.100}'", view.where(), type);
  if (!view.has("factor")) return bad_input("{}: missing, expected a number", view.at("factor").where());
  TRY(rope.factor, number(view, "factor", 1, 1, 1e6));
  if (type == "linear") {
    rope.type = RopeType::kLinear;
    return rope;
  }
  rope.type = RopeType::kLlama3;
  for (std::string_view key : {"low_freq_factor", "high_freq_factor"})
    if (!view.has(key)) return bad_input("{}: missing, expected a number", view.at(key).where());
  TRY(rope.low_freq_factor, number(view, "low_freq_factor", 1, 1e-3, 1e6));
  TRY(rope.high_freq_factor, number(view, "high_freq_factor", 4, 1e-3, 1e6));
  if (rope.high_freq_factor <= rope.low_freq_factor)
    return bad_input("{}: expected more than low_freq_factor {}, found {}", view.at("high_freq_factor").where(),
                     rope.low_freq_factor, rope.high_freq_factor);
  TRY(int64_t inside, view.integer_or("original_max_position_embeddings", max_position_embeddings, 1, kMaxPositions));
  TRY(int64_t original, text.integer_or("original_max_position_embeddings", inside, 1, kMaxPositions));
  rope.original_max_position_embeddings = static_cast<double>(original);
  return rope;
}

Result<TextConfig> read_text(const JsonView& view, bool has_text_config) {
  TRY(std::string type, view.string_or("model_type", "llama"));
  if (type != "llama") return bad_input("{}: expected llama, found '{:.100}'", view.at("model_type").where(), type);
  TextConfig t;
  TRY(t.hidden_size, view.integer_or("hidden_size", t.hidden_size, 1, kMaxWidth));
  TRY(t.intermediate_size, view.integer_or("intermediate_size", t.intermediate_size, 1, kMaxInner));
  TRY(t.num_hidden_layers, view.integer_or("num_hidden_layers", t.num_hidden_layers, 1, kMaxLayers));
  TRY(t.num_attention_heads, view.integer_or("num_attention_heads", t.num_attention_heads, 1, kMaxHeads));
  TRY(t.num_key_value_heads, view.integer_or("num_key_value_heads", t.num_attention_heads, 1, kMaxHeads));
  TRY_STATUS(expect_divides(view, "num_attention_heads", t.num_attention_heads, "hidden_size", t.hidden_size));
  TRY_STATUS(
      expect_divides(view, "num_key_value_heads", t.num_key_value_heads, "num_attention_heads", t.num_attention_heads));
  TRY(t.head_dim, view.integer_or("head_dim", t.hidden_size / t.num_attention_heads, 1, 4096));
  if (t.head_dim % 2 != 0)
    return bad_input("{}: expected an even number, as positions turn pairs, found {}", view.at("head_dim").where(),
                     t.head_dim);
  TRY(t.vocab_size, view.integer_or("vocab_size", t.vocab_size, 1, kMaxVocabulary));
  TRY(t.max_position_embeddings,
      view.integer_or("max_position_embeddings", t.max_position_embeddings, 1, kMaxPositions));
  // Without any text_config, SmolVLMConfig's own default applies, else LlamaConfig's.
  TRY(t.rms_norm_eps, number(view, "rms_norm_eps", has_text_config ? 1e-6 : 1e-5, kMinEpsilon, 1));
  TRY(t.rope, read_rope(view, t.max_position_embeddings));
  TRY(t.attention_bias, view.boolean_or("attention_bias", false));
  TRY(t.mlp_bias, view.boolean_or("mlp_bias", false));
  TRY(std::string act, view.string_or("hidden_act", "silu"));
  if (act != "silu" && act != "swish")
    return bad_input("{}: expected silu, found '{:.100}'", view.at("hidden_act").where(), act);
  return t;
}

// An id, a list of ids, or nothing. Negative ids, which some files use for "none", are left out.
Result<std::vector<int32_t>> read_ids(const JsonView& view, std::string_view key) {
  std::vector<int32_t> ids;
  if (!view.has(key)) return ids;
  JsonView value = view.at(key);
  Json list = value.json().is_array() ? value.json() : Json::array({value.json()});
  if (list.size() > 1000) return bad_input("{}: expected at most 1000 ids, found {}", value.where(), list.size());
  for (const Json& id : list) {
    // A whole number beyond int64 would wrap around to a negative one.
    bool fits = id.is_number_unsigned()  ? id.get<uint64_t>() <= INT32_MAX
                : id.is_number_integer() ? id.get<int64_t>() >= INT32_MIN
                                         : false;
    if (!fits) return bad_input("{}: expected a token id or a list of them, found {}", value.where(), id.type_name());
    if (id.get<int64_t>() >= 0) ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Result<std::optional<int32_t>> read_id(const JsonView& view, std::string_view key) {
  TRY(std::vector<int32_t> ids, read_ids(view, key));
  return ids.empty() ? std::nullopt : std::optional<int32_t>(ids.front());
}

Result<GenerationConfig> read_generation(const ConfigFiles& files, const JsonView& config) {
  GenerationConfig g;
  if (!files.generation_config) {  // transformers then derives one from the model's config, the text model's ids
                                   // included
    TRY(JsonView text, object(config, "text_config"));
    auto place_of = [&](std::string_view key) { return config.has(key) ? config : text; };
    TRY(g.bos_token_id, read_id(place_of("bos_token_id"), "bos_token_id"));
    TRY(g.pad_token_id, read_id(place_of("pad_token_id"), "pad_token_id"));
    TRY(g.eos_token_ids, read_ids(place_of("eos_token_id"), "eos_token_id"));
    if (!config.json().contains("bos_token_id") && !text.json().contains("bos_token_id")) g.bos_token_id = 1;
    if (!config.json().contains("eos_token_id") && !text.json().contains("eos_token_id")) g.eos_token_ids = {2};
    return g;
  }
  JsonView view(*files.generation_config, files.place("generation_config.json"));
  if (!view.json().is_object()) return bad_input("{}: expected a JSON object", view.where());
  TRY(g.bos_token_id, read_id(view, "bos_token_id"));
  TRY(g.pad_token_id, read_id(view, "pad_token_id"));
  TRY(g.eos_token_ids, read_ids(view, "eos_token_id"));
  TRY(g.do_sample, view.boolean_or("do_sample", g.do_sample));
  TRY(g.temperature, view.number_or("temperature", g.temperature));
  TRY(g.top_p, view.number_or("top_p", g.top_p));
  TRY(g.top_k, view.integer_or("top_k", g.top_k, 0, INT32_MAX));
  TRY(g.repetition_penalty, number(view, "repetition_penalty", g.repetition_penalty, 1e-6, 1e6));
  return g;
}

// {"longest_edge": 512}; nothing at all gives the default.
Result<int64_t> read_longest_edge(const JsonView& view, std::string_view key, int64_t otherwise, int64_t max) {
  if (!view.has(key)) return otherwise;
  TRY(JsonView size, object(view, key));
  return size.integer("longest_edge", 1, max);
}

// Three numbers, one for each colour, or one for all.
Result<std::array<float, 3>> read_colours(const JsonView& view, std::string_view key, std::array<float, 3> otherwise) {
  if (!view.has(key)) return otherwise;
  const JsonView value = view.at(key);
  const Json& json = value.json();
  std::array<float, 3> out{};
  for (size_t i = 0; i < 3; ++i) {
    const Json* number = &json;
    if (json.is_array()) number = json.size() == 3 ? &json[i] : nullptr;
    if (!number || !number->is_number() || std::abs(number->get<double>()) > 1e6)
      return bad_input("{}: expected three numbers", value.where());
    out[i] = static_cast<float>(number->get<double>());
  }
  return out;
}

Result<ProcessorConfig> read_processor(const JsonView& view) {
  ProcessorConfig p;
  TRY(p.do_resize, view.boolean_or("do_resize", p.do_resize));
  TRY(p.do_image_splitting, view.boolean_or("do_image_splitting", p.do_image_splitting));
  TRY(p.do_rescale, view.boolean_or("do_rescale", p.do_rescale));
  TRY(p.do_normalize, view.boolean_or("do_normalize", p.do_normalize));
  TRY(p.do_convert_rgb, view.boolean_or("do_convert_rgb", p.do_convert_rgb));
  TRY(p.do_pad, view.boolean_or("do_pad", p.do_pad));
  TRY(p.longest_edge, read_longest_edge(view, "size", p.longest_edge, 1 << 20));
  TRY(p.tile_size, read_longest_edge(view, "max_image_size", p.tile_size, kMaxSide));
  TRY(int64_t filter, view.integer_or("resample", static_cast<int64_t>(p.resample), 0, 5));
  p.resample = static_cast<media::Resample>(filter);
  TRY(p.rescale_factor, number(view, "rescale_factor", p.rescale_factor, 1e-9, 1e6));
  TRY(p.image_mean, read_colours(view, "image_mean", p.image_mean));
  TRY(p.image_std, read_colours(view, "image_std", p.image_std));
  for (float deviation : p.image_std)
    if (deviation < kMinDeviation)
      return bad_input("{}: expected numbers from {} on, found {}", view.at("image_std").where(), kMinDeviation,
                       deviation);
  return p;
}

// In transformers' order: a "size" counts more than the sampling's "video_size", the sampling's numbers more than
// those beside it.
Result<VideoConfig> read_video(const JsonView& view) {
  VideoConfig v;
  TRY(v.do_resize, view.boolean_or("do_resize", v.do_resize));
  TRY(v.tile_size, read_longest_edge(view, "max_image_size", v.tile_size, kMaxSide));
  TRY(int64_t filter, view.integer_or("resample", static_cast<int64_t>(v.resample), 0, 5));
  v.resample = static_cast<media::Resample>(filter);
  TRY(JsonView sampling, object(view, "video_sampling"));
  TRY(v.longest_edge, read_longest_edge(sampling, "video_size", v.longest_edge, 1 << 20));
  TRY(v.longest_edge, read_longest_edge(view, "size", v.longest_edge, 1 << 20));
  TRY(v.fps, number(view, "fps", v.fps, 1e-6, 1e4));
  TRY(v.fps, number(sampling, "fps", v.fps, 1e-6, 1e4));
  TRY(v.max_frames, view.integer_or("num_frames", v.max_frames, 1, 1 << 20));
  TRY(v.max_frames, sampling.integer_or("max_frames", v.max_frames, 1, 1 << 20));
  return v;
}

// Where a folder says how videos are read: transformers asks in this order.
Result<VideoConfig> find_video(const ConfigFiles& files) {
  if (files.processor_config && files.processor_config->contains("video_processor")) {
    const JsonView root(*files.processor_config, files.place("processor_config.json"));
    TRY(JsonView inside, object(root, "video_processor"));
    return read_video(inside);
  }
  for (auto [json, name] : {std::pair{&files.video_preprocessor_config, "video_preprocessor_config.json"},
                            std::pair{&files.preprocessor_config, "preprocessor_config.json"}})
    if (*json) return read_video(JsonView(**json, files.place(name)));
  return VideoConfig{};
}

// SmolVLMProcessor asks the tokenizer for these names, Idefics3Processor does not.
Result<ImageTokens> read_image_tokens(const ConfigFiles& files) {
  ImageTokens tokens;
  if (!files.tokenizer_config) return tokens;
  JsonView root(*files.tokenizer_config, files.place("tokenizer_config.json"));
  std::vector<JsonView> places = {root};
  for (std::string_view key : {"extra_special_tokens", "model_specific_special_tokens"})
    if (root.at(key).json().is_object())
      places.push_back(root.at(key));  // may also be a list of strings, without names
  for (const JsonView& view : places)
    for (auto [key, token] : {std::pair<std::string_view, std::string*>{"fake_image_token", &tokens.fake},
                              {"image_token", &tokens.image},
                              {"global_image_token", &tokens.global},
                              {"end_of_utterance_token", &tokens.end_of_utterance}}) {
      if (!view.has(key)) continue;
      JsonView value = view.at(key);
      TRY(*token, value.json().is_object() ? value.string("content") : view.string(key));
      if (token->empty() || token->size() > 256)
        return bad_input("{}: expected a token of 1 to 256 bytes", value.where());
    }
  return tokens;
}

// A tile must become as many tokens as the processor writes into the prompt.
Status check_tiles(const ConfigFiles& files, const Config& config, const JsonView& image_view,
                   const JsonView& config_view) {
  const std::string tile_where = image_view.at("max_image_size").where();
  int64_t tile = config.processor.tile_size, side = config.tile_patches_per_side();
  if (side < 1)
    return bad_input("{}: expected at least vision_config.patch_size {}, found {}", tile_where,
                     config.vision.patch_size, tile);
  TRY_STATUS(expect_divides(config_view, "scale_factor", config.scale_factor, "the patches a side of a tile,", side));
  if (config.processor.do_resize && config.processor.do_image_splitting &&
      config.max_tiles() > kMaxTilesPerSide * kMaxTilesPerSide + 1)
    return bad_input("{}: expected a picture of at most {} × {} tiles, found {} in {}", tile_where, kMaxTilesPerSide,
                     kMaxTilesPerSide, tile, config.processor.longest_edge);
  static const Json kEmpty = Json::object();
  JsonView processor(files.processor_config ? *files.processor_config : kEmpty, files.place("processor_config.json"));
  TRY(int64_t image_seq_len, processor.integer_or("image_seq_len", 169, 1, INT32_MAX));
  if (image_seq_len != config.tokens_per_tile())
    return bad_input("{}: expected {}, which tiles of {}, patches of {} and scale_factor {} give, found {}",
                     processor.at("image_seq_len").where(), config.tokens_per_tile(), tile, config.vision.patch_size,
                     config.scale_factor, image_seq_len);
  return {};
}

template <class F>
auto without_bad_alloc(std::string_view where, F read) -> decltype(read()) {
  try {
    return read();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to read the configuration", where);
  }
}

Result<Config> parse(const ConfigFiles& files) {
  JsonView view(files.config, files.place("config.json"));
  if (!view.json().is_object()) return bad_input("{}: expected a JSON object", view.where());
  Config config;
  TRY(config.architecture, read_architecture(view));
  TRY(JsonView vision, object(view, "vision_config"));
  TRY(config.vision, read_vision(vision));
  TRY(JsonView text, object(view, "text_config"));
  TRY(config.text, read_text(text, view.has("text_config")));
  TRY(config.scale_factor, view.integer_or("scale_factor", config.scale_factor, 1, 64));
  TRY(int64_t image_token, view.integer_or("image_token_id", config.image_token_id, 0, config.text.vocab_size - 1));
  config.image_token_id = static_cast<int32_t>(image_token);
  if (image_token >= config.text.vocab_size)
    return bad_input("{}: expected an id below text_config.vocab_size {}, found {}", view.at("image_token_id").where(),
                     config.text.vocab_size, image_token);
  TRY(config.tie_word_embeddings, view.boolean_or("tie_word_embeddings", false));
  TRY(config.generation, read_generation(files, view));

  if (files.processor_config && !files.processor_config->is_object())
    return bad_input("{}: expected a JSON object", files.place("processor_config.json"));
  bool nested = files.processor_config && files.processor_config->contains("image_processor");
  if (!nested && !files.preprocessor_config)
    return bad_input("{}: expected preprocessor_config.json, or processor_config.json with image_processor",
                     files.where);
  if (!nested && !files.preprocessor_config->is_object())
    return bad_input("{}: expected a JSON object", files.place("preprocessor_config.json"));
  JsonView root(nested ? *files.processor_config : *files.preprocessor_config,
                files.place(nested ? "processor_config.json" : "preprocessor_config.json"));
  TRY(JsonView inside, object(root, "image_processor"));
  const JsonView& image = nested ? inside : root;
  TRY(config.processor, read_processor(image));
  TRY_STATUS(check_tiles(files, config, image, view));
  TRY(config.video, find_video(files));
  if (config.architecture == Architecture::kIdefics3)
    config.video_refused = fmt::format("{}: a model of this architecture takes pictures, and no videos", files.where);
  else if (config.video.tile_size != config.processor.tile_size)
    config.video_refused = fmt::format("{}: frames of {} pixels, expected those of a tile, {}", files.where,
                                       config.video.tile_size, config.processor.tile_size);
  if (config.architecture == Architecture::kSmolVlm) {
    TRY(config.tokens, read_image_tokens(files));
  }
  return config;
}

}  // namespace

std::string_view to_string(Architecture architecture) {
  return architecture == Architecture::kSmolVlm ? "SmolVLMForConditionalGeneration"
                                                : "Idefics3ForConditionalGeneration";
}

std::string ImageTokens::row_col(int row, int col) const { return fmt::format("<row_{}_col_{}>", row, col); }

std::vector<float> TextConfig::rope_frequencies() const {
  std::vector<float> out(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < out.size(); ++i) {
    float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    auto power = static_cast<float>(
        std::pow(static_cast<double>(static_cast<float>(rope.theta)), static_cast<double>(exponent)));
    float frequency = 1.0f / power;
    auto factor = static_cast<float>(rope.factor);
    if (rope.type == RopeType::kLinear) frequency /= factor;
    if (rope.type == RopeType::kLlama3) {
      // Short waves stay, long ones are stretched by `factor`, those between are blended.
      double original = rope.original_max_position_embeddings, low = rope.low_freq_factor, high = rope.high_freq_factor;
      float wave = static_cast<float>(2 * M_PI) / frequency;
      if (wave > static_cast<float>(original / low)) {
        frequency /= factor;
      } else if (!(wave < static_cast<float>(original / high))) {
        float blend = (static_cast<float>(original) / wave - static_cast<float>(low)) / static_cast<float>(high - low);
        frequency = (1.0f - blend) * frequency / factor + blend * frequency;
      }
    }
    out[i] = frequency;
  }
  return out;
}

int64_t Config::max_tiles() const {
  if (!processor.do_image_splitting) return 1;
  // Preprocessing may lengthen the other edge of a square to an even number, and never goes beyond 4096.
  int64_t longest = std::min(processor.longest_edge + processor.longest_edge % 2, kLongestEdgeOfAll);
  int64_t side = (longest + processor.tile_size - 1) / processor.tile_size;
  return side == 1 ? 1 : side * side + 1;
}

Result<ConfigFiles> read_config_files(const FileSource& source) {
  return without_bad_alloc(source.where(), [&]() -> Result<ConfigFiles> {
    ConfigFiles files;
    files.where = source.where();
    TRY(std::string text, source.read("config.json", kMaxFileBytes));
    TRY(files.config, parse_json(text, source.place("config.json")));
    for (auto [name, place] :
         {std::pair<std::string_view, std::optional<Json>*>{"generation_config.json", &files.generation_config},
          {"preprocessor_config.json", &files.preprocessor_config},
          {"video_preprocessor_config.json", &files.video_preprocessor_config},
          {"processor_config.json", &files.processor_config},
          {"tokenizer_config.json", &files.tokenizer_config}}) {
      if (!source.has(name)) continue;
      TRY(std::string bytes, source.read(name, kMaxFileBytes));
      TRY(*place, parse_json(bytes, source.place(name)));
    }
    return files;
  });
}

Result<Config> parse_config(const ConfigFiles& files) {
  return without_bad_alloc(files.where, [&] { return parse(files); });
}

Result<Config> load_config(const FileSource& source) {
  TRY(ConfigFiles files, read_config_files(source));
  return parse_config(files);
}

}  // namespace onsight::models::smolvlm
