#include "models/smolvlm/gguf.h"

#include <algorithm>

namespace onsight::models::smolvlm {
namespace {

using formats::GgufMetadata;

constexpr int64_t kMax = INT32_MAX;  // parse_config has the bounds of each value
constexpr int64_t kTilesOfLongestEdge = 4;

std::string_view projector_type(const GgufMetadata& projector) {
  for (std::string_view key : {"clip.projector_type", "clip.vision.projector_type"})
    if (auto type = projector.string(key)) return *type;
  return {};
}

Result<Json> text_config(const GgufMetadata& m, const std::function<bool(std::string_view)>& has_tensor) {
  Json out = {{"model_type", "llama"},
              {"attention_bias", has_tensor("blk.0.attn_q.bias")},
              {"mlp_bias", has_tensor("blk.0.ffn_up.bias")}};
  for (auto [key, name] : {std::pair<std::string_view, std::string_view>{"embedding_length", "hidden_size"},
                           {"feed_forward_length", "intermediate_size"},
                           {"block_count", "num_hidden_layers"},
                           {"attention.head_count", "num_attention_heads"},
                           {"context_length", "max_position_embeddings"}}) {
    TRY(out[std::string(name)], m.integer(fmt::format("llama.{}", key), 1, kMax));
  }
  const int64_t width = out["hidden_size"].get<int64_t>(), heads = out["num_attention_heads"].get<int64_t>();
  TRY(out["num_key_value_heads"], m.integer_or("llama.attention.head_count_kv", heads, 1, kMax));
  TRY(int64_t head_dim, m.integer_or("llama.attention.key_length", width / heads, 1, kMax));
  out["head_dim"] = head_dim;
  for (std::string_view key : {"llama.rope.dimension_count", "llama.attention.value_length"}) {
    TRY(int64_t length, m.integer_or(key, head_dim, 1, kMax));
    if (length != head_dim)
      return bad_input("{}: {}: expected {}, the length of a head, found {}", m.where(), key, head_dim, length);
  }
  TRY(std::vector<std::string_view> tokens, m.strings("tokenizer.ggml.tokens"));
  TRY(out["vocab_size"], m.integer_or("llama.vocab_size", static_cast<int64_t>(tokens.size()), 1, kMax));
  TRY(out["rms_norm_eps"], m.number("llama.attention.layer_norm_rms_epsilon"));
  TRY(out["rope_theta"], m.number_or("llama.rope.freq_base", 10000));
  TRY(std::string_view scaling, m.string_or("llama.rope.scaling.type", "none"));
  if (scaling == "linear") {
    TRY(double factor, m.number("llama.rope.scaling.factor"));
    out["rope_scaling"] = {{"type", "linear"}, {"factor", factor}};
  } else if (scaling != "none") {
    return bad_input("{}: llama.rope.scaling.type: expected none or linear, found '{:.100}'", m.where(), scaling);
  }
  TRY(int64_t experts, m.integer_or("llama.expert_count", 0, 0, kMax));
  if (experts > 0) return bad_input("{}: llama.expert_count: expected 0, found {}", m.where(), experts);
  return out;
}

Result<Json> vision_config(const GgufMetadata& m) {
  Json out = {{"model_type", "smolvlm_vision"}, {"hidden_act", "gelu_pytorch_tanh"}};
  for (auto [key, name] : {std::pair<std::string_view, std::string_view>{"embedding_length", "hidden_size"},
                           {"feed_forward_length", "intermediate_size"},
                           {"block_count", "num_hidden_layers"},
                           {"attention.head_count", "num_attention_heads"},
                           {"image_size", "image_size"},
                           {"patch_size", "patch_size"}}) {
    TRY(out[std::string(name)], m.integer(fmt::format("clip.vision.{}", key), 1, kMax));
  }
  TRY(out["layer_norm_eps"], m.number("clip.vision.attention.layer_norm_epsilon"));
  TRY(bool gelu, m.boolean_or("clip.use_gelu", false));
  if (!gelu) return bad_input("{}: clip.use_gelu: expected true", m.where());
  return out;
}

// How a picture becomes tiles; what the file does not say keeps the default of ProcessorConfig.
Result<Json> preprocessor_config(const GgufMetadata& m, int64_t tile) {
  TRY(int64_t longest, m.integer_or("clip.vision.preproc_image_size", kTilesOfLongestEdge * tile, 1, kMax));
  Json out = {{"image_processor_type", "SmolVLMImageProcessor"},
              {"max_image_size", {{"longest_edge", tile}}},
              {"size", {{"longest_edge", longest}}}};
  for (auto [key, name] : {std::pair<std::string_view, std::string_view>{"clip.vision.image_mean", "image_mean"},
                           {"clip.vision.image_std", "image_std"}}) {
    if (!m.has(key)) continue;
    TRY(std::vector<double> values, m.numbers(key));
    if (values.size() != 3) return bad_input("{}: {}: expected 3 numbers, found {}", m.where(), key, values.size());
    out[std::string(name)] = values;
  }
  return out;
}

Result<Json> generation_config(const GgufMetadata& m, const text::Tokenizer& tokenizer) {
  Json ends = Json::array();
  const auto add = [&ends](int64_t id) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  for (std::string_view key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (!m.has(key)) continue;
    TRY(int64_t id, m.integer(key, 0, tokenizer.vocabulary_size() - 1));
    add(id);
  }
  if (auto end = tokenizer.token_to_id(ImageTokens().end_of_utterance)) add(*end);
  Json out = {{"eos_token_id", ends}};
  if (m.has("tokenizer.ggml.bos_token_id")) {
    TRY(out["bos_token_id"], m.integer("tokenizer.ggml.bos_token_id", 0, tokenizer.vocabulary_size() - 1));
  }
  return out;
}

}  // namespace

bool is_gguf_pair(const GgufMetadata& text, const GgufMetadata& projector) {
  auto architecture = text.string("general.architecture");
  return architecture && *architecture == "llama" && projector_type(projector) == "idefics3";
}

Result<ConfigFiles> config_files_from_gguf(const GgufMetadata& text, const GgufMetadata& projector,
                                           const text::Tokenizer& tokenizer,
                                           const std::function<bool(std::string_view)>& has_tensor) {
  ConfigFiles files;
  files.where = text.where();
  files.from_gguf = true;
  TRY(Json language, text_config(text, has_tensor));
  TRY(Json vision, vision_config(projector));
  TRY(int64_t scale, projector.integer("clip.vision.projector.scale_factor", 1, kMax));
  const int64_t width = language["hidden_size"].get<int64_t>(), tile = vision["image_size"].get<int64_t>();
  TRY(int64_t projection, projector.integer_or("clip.vision.projection_dim", width, 1, kMax));
  if (projection != width)
    return bad_input("{}: clip.vision.projection_dim: expected {}, which is the width of {}, found {}",
                     projector.where(), width, text.where(), projection);
  const ImageTokens tokens;
  const std::optional<int32_t> image = tokenizer.token_to_id(tokens.image);
  if (!image) return bad_input("{}: tokenizer.ggml.tokens: expected a token {}", text.where(), tokens.image);
  TRY(files.preprocessor_config, preprocessor_config(projector, tile));
  TRY(files.generation_config, generation_config(text, tokenizer));
  // The folder's count of tokens a tile has no key of its own; parse_config refuses sizes that do not divide.
  const int64_t side = tile / vision["patch_size"].get<int64_t>() / scale;
  files.processor_config =
      Json{{"processor_class", "SmolVLMProcessor"}, {"image_seq_len", std::max<int64_t>(1, side * side)}};
  files.config = {{"architectures", Json::array({std::string(to_string(Architecture::kSmolVlm))})},
                  {"model_type", "smolvlm"},
                  {"text_config", std::move(language)},
                  {"vision_config", std::move(vision)},
                  {"scale_factor", scale},
                  {"image_token_id", *image},
                  {"tie_word_embeddings", !has_tensor("output.weight")}};
  return files;
}

}  // namespace onsight::models::smolvlm
