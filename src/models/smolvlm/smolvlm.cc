#include "models/smolvlm/smolvlm.h"

#include <algorithm>

#include "models/calibration.h"
#include "models/gguf_tokenizer.h"
#include "models/native_file.h"
#include "models/outline.h"
#include "models/smolvlm/config.h"
#include "models/smolvlm/evening.h"
#include "models/smolvlm/gguf.h"
#include "models/smolvlm/js.h"
#include "models/smolvlm/mlx.h"
#include "models/smolvlm/preprocess.h"
#include "models/smolvlm/prompt.h"
#include "models/smolvlm/weights.h"

namespace onsight::models::smolvlm {
namespace {

using compute::DType;
using compute::Graph;
using compute::Linear;
using compute::Value;

std::string layer_name(std::string_view tower, size_t i) { return fmt::format("{}.layers.{}", tower, i); }

ModelFacts make_facts(const Config& config, const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                      const WeightFormats& formats) {
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  ModelFacts facts;
  facts.architecture = to_string(config.architecture);
  facts.vision_shape = fmt::format("d {}, {} layers, {} heads, FFN {}", v.hidden_size, v.num_hidden_layers,
                                   v.num_attention_heads, v.intermediate_size);
  facts.text_shape = fmt::format("d {}, {} layers, {}/{} heads, FFN {}", t.hidden_size, t.num_hidden_layers,
                                 t.num_attention_heads, t.num_key_value_heads, t.intermediate_size);
  // The name that stands twice in the rows of a tied checkpoint.
  const std::string& embedding = specs.back().name;
  bool embedding_counted = false;
  for (const TensorSpec& spec : specs) {
    const int64_t n = spec.shape.elements();
    facts.weight_bytes += loaded_bytes(checkpoint, spec, formats);
    const bool is_embedding = spec.name == embedding;
    // What rounds weights to codes bears keys and values in f16.
    if (spec.quantisable() && !spec.vision && is_codes(loaded_format(checkpoint, spec, formats)))
      facts.kv.dtype = compute::DType::kF16;
    if (is_embedding && std::exchange(embedding_counted, true)) continue;  // tied: counted once
    facts.parameters += n;
    (spec.name.starts_with("model.vision_model.") ? facts.vision_parameters : facts.text_parameters) += n;
  }
  const int64_t patches = config.tile_patches_per_side() * config.tile_patches_per_side();
  facts.vision_scratch_bytes =
      4 * (3 * config.processor.tile_size * config.processor.tile_size +
           patches * (v.num_channels * v.patch_size * v.patch_size + 8 * v.hidden_size + v.intermediate_size));
  facts.tile_size = static_cast<int>(config.processor.tile_size);
  facts.patch_size = static_cast<int>(v.patch_size);
  facts.tokens_per_tile = static_cast<int>(config.tokens_per_tile());
  facts.max_tiles = static_cast<int>(config.max_tiles());
  facts.context_length = static_cast<int>(t.max_position_embeddings);
  facts.vocabulary_size = static_cast<int>(t.vocab_size);
  facts.text_width = static_cast<int>(t.hidden_size);
  facts.kv = {.layers = static_cast<int>(t.num_hidden_layers),
              .kv_heads = static_cast<int>(t.num_key_value_heads),
              .head_dim = static_cast<int>(t.head_dim),
              .dtype = formats.kv.value_or(facts.kv.dtype)};
  if (facts.kv.in_codes() && facts.kv.head_dim > compute::kLargestKvHead) facts.kv.dtype = compute::DType::kF16;
  facts.end_tokens = config.generation.eos_token_ids;
  return facts;
}

// The vision tower. `positions` must outlive the graph.
Value append_tower(Graph& g, Value pixels, const Config& config, const Weights& w,
                   const std::vector<int32_t>& positions) {
  const int64_t tiles = g.shape(pixels)[0], patches = static_cast<int64_t>(positions.size());
  const float epsilon = static_cast<float>(config.vision.layer_norm_eps);
  const int heads = static_cast<int>(config.vision.num_attention_heads);
  const compute::Activation activation =
      config.vision.hidden_act == Activation::kGeluTanh ? compute::Activation::kGeluTanh : compute::Activation::kGelu;
  const Value rows = g.constant({DType::kI32, {patches}, reinterpret_cast<const std::byte*>(positions.data())});
  const compute::Activation none = compute::Activation::kNone;
  Value x = g.linear(g.unfold_patches(pixels, config.vision.patch_size), w.patch_embedding, none, {}, patches);
  x = g.add_rows(x, rows, w.position_embedding);
  g.observe("vision.embeddings", x);
  for (size_t i = 0; i < w.vision.size(); ++i) {
    const VisionLayer& layer = w.vision[i];
    Value h = g.layer_norm(x, layer.norm1.weight, layer.norm1.bias, epsilon);
    const Value q = g.linear(h, layer.q, none, {}, patches), k = g.linear(h, layer.k, none, {}, patches),
                v = g.linear(h, layer.v, none, {}, patches);
    const Value a = g.attention(q, k, v, heads, patches, layer.q.weight.in_codes() && !layer.q.fine);
    x = g.linear(a, layer.out, none, x, patches);
    h = g.layer_norm(x, layer.norm2.weight, layer.norm2.bias, epsilon);
    x = g.linear(g.linear(h, layer.fc1, activation, {}, patches), layer.fc2, none, x, patches);
    g.observe(layer_name("vision", i), x);
  }
  x = g.layer_norm(x, w.post_norm.weight, w.post_norm.bias, epsilon);
  g.observe("vision.post_layernorm", x);
  return g.linear(g.pixel_shuffle(x, tiles, config.scale_factor), w.projection, none, {}, config.tokens_per_tile());
}

class SmolVlm : public Model {
 public:
  // The specs' targets lie in the weights, which therefore keep their place.
  SmolVlm(Config config, PromptBuilder prompts, ModelFacts facts, formats::Checkpoint checkpoint,
          std::unique_ptr<const Weights> weights)
      : config_(std::move(config)),
        prompts_(std::move(prompts)),
        facts_(std::move(facts)),
        checkpoint_(std::move(checkpoint)),
        weights_(std::move(weights)),
        frequencies_(config_.text.rope_frequencies()),
        positions_(position_ids(config_.tile_patches_per_side(), config_.vision.positions_per_side())) {}

  const Config& config() const { return config_; }

  const ModelFacts& facts() const override { return facts_; }
  const text::Tokenizer& tokenizer() const override { return prompts_.tokenizer(); }

  Result<Prompt> prompt(const std::vector<text::ChatMessage>& messages, const Attachments& attachments) const override {
    return prompts_.build(messages, attachments, config_);
  }

  void normalise(const media::Image& tile, float* out) const override { normalise_tile(tile, config_.processor, out); }

  Value vision(Graph& g, Value pixels) const override {
    return append_tower(g, pixels, config_, *weights_, positions_);
  }

  void rest_vision() const override {
    weights_->patch_embedding.weight.rest();
    for (const VisionLayer& layer : weights_->vision)
      for (const compute::Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.out, &layer.fc1, &layer.fc2})
        linear->weight.rest();
    weights_->projection.weight.rest();
  }

  Value embed(Graph& g, Value ids) const override {
    return weights_->shares_head ? g.embed(ids, weights_->head.weight) : g.embed(ids, weights_->embedding);
  }

  Value text(Graph& g, Value x, Value positions, Value wanted) const override {
    const TextConfig& t = config_.text;
    const float epsilon = static_cast<float>(t.rms_norm_eps);
    const int heads = static_cast<int>(t.num_attention_heads), kv_heads = static_cast<int>(t.num_key_value_heads);
    g.observe("text.embeddings", x);
    for (size_t i = 0; i < weights_->text.size(); ++i) {
      const TextLayer& layer = weights_->text[i];
      Value h = g.rms_norm(x, layer.norm1.weight, epsilon);
      const Value at = i + 1 == weights_->text.size() ? wanted : Value{};
      Value q = at ? Value{} : g.linear(h, layer.q);  // next to k: they run as one
      const Value k = g.linear(h, layer.k), v = g.linear(h, layer.v);
      if (at) q = g.linear(g.gather_rows(h, at), layer.q), x = g.gather_rows(x, at);
      const Value a = g.cached_attention(g.rope(q, at ? g.gather_rows(positions, at) : positions, frequencies_),
                                         g.rope(k, positions, frequencies_), v, heads, kv_heads, static_cast<int>(i),
                                         at, layer.q.weight.in_codes() && !layer.q.fine);
      x = g.linear(a, layer.o, compute::Activation::kNone, x);
      h = g.rms_norm(x, layer.norm2.weight, epsilon);
      const Value gate = g.linear(h, layer.gate), up = g.linear(h, layer.up);
      x = g.linear(g.swiglu(gate, up, layer.down.weight.rotated()), layer.down, compute::Activation::kNone, x);
      g.observe(layer_name("text", i), x);
    }
    x = g.rms_norm(x, weights_->norm.weight, epsilon);
    g.observe("text.norm", x);
    return x;
  }

  Value head(Graph& g, Value hidden) const override { return g.linear(hidden, weights_->head); }

 private:
  Config config_;
  PromptBuilder prompts_;
  ModelFacts facts_;
  formats::Checkpoint checkpoint_;  // keeps the mapped embeddings alive
  std::unique_ptr<const Weights> weights_;
  std::vector<float> frequencies_;
  std::vector<int32_t> positions_;
};

bool matches(const Json& config) {
  if (!config.is_object()) return false;
  const auto is_known = [](const Json& id) {
    return id == to_string(Architecture::kSmolVlm) || id == to_string(Architecture::kIdefics3);
  };
  auto architectures = config.find("architectures");
  if (architectures != config.end() && architectures->is_array() && !architectures->empty())
    return std::any_of(architectures->begin(), architectures->end(), is_known);
  auto type = config.find("model_type");
  return type != config.end() && (*type == "smolvlm" || *type == "idefics3");
}

// What a model says of itself, in either container.
struct Settings {
  Config config;
  PromptBuilder prompts;
};

Result<Settings> read_settings(const FileSource& files) {
  TRY(Config config, load_config(files));
  TRY(PromptBuilder prompts, PromptBuilder::load(files, config));
  return Settings{std::move(config), std::move(prompts)};
}

Result<ConfigFiles> gguf_config_files(const formats::Checkpoint& checkpoint, const text::Tokenizer& tokenizer) {
  const auto has_tensor = [&](std::string_view name) { return checkpoint.find(name) != nullptr; };
  return config_files_from_gguf(checkpoint.gguf()[0], checkpoint.gguf()[1], tokenizer, has_tensor);
}

Result<Settings> read_settings(const Path& path, const formats::Checkpoint& checkpoint) {
  if (checkpoint.gguf().empty()) return read_settings(checkpoint.settings(path));
  const formats::GgufMetadata& text = checkpoint.gguf()[0];
  TRY(text::Tokenizer tokenizer, gguf_tokenizer(text));
  TRY(ConfigFiles files, gguf_config_files(checkpoint, tokenizer));
  TRY(Config config, parse_config(files));
  TRY(text::ChatTemplate chat, gguf_chat_template(text, tokenizer));
  TRY(PromptBuilder prompts,
      PromptBuilder::make(std::move(tokenizer), std::move(chat), config, text.where() + ": tokenizer"));
  return Settings{std::move(config), std::move(prompts)};
}

// The files of a folder that says what the metadata of GGUF files say.
Result<std::map<std::string, std::string>> settings_from_gguf(const formats::Checkpoint& checkpoint) {
  const formats::GgufMetadata& text = checkpoint.gguf()[0];
  TRY(text::Tokenizer tokenizer, gguf_tokenizer(text));
  TRY(auto out, gguf_tokenizer_files(text, tokenizer));
  TRY(const ConfigFiles files, gguf_config_files(checkpoint, tokenizer));
  out["config.json"] = files.config.dump();
  out["generation_config.json"] = files.generation_config->dump();
  out["preprocessor_config.json"] = files.preprocessor_config->dump();
  out["processor_config.json"] = files.processor_config->dump();
  return out;
}

Result<ModelFacts> inspect(const Path& path, const formats::Checkpoint& checkpoint, const WeightFormats& formats) {
  TRY(Settings settings, read_settings(path, checkpoint));
  Weights weights;
  const std::vector<TensorSpec> specs = tensor_specs(settings.config, checkpoint, weights);
  TRY_STATUS(check_tensors(checkpoint, specs, path.string(), is_ignored_tensor));
  return make_facts(settings.config, checkpoint, specs, formats);
}

Result<std::unique_ptr<Model>> load(
    const Path& path, formats::Checkpoint checkpoint, const WeightFormats& formats, ThreadPool& pool,
    const std::function<Status(const formats::Checkpoint&, const ModelFacts&)>& accept) {
  TRY(Settings settings, read_settings(path, checkpoint));
  auto weights = std::make_unique<Weights>();
  std::vector<TensorSpec> specs = tensor_specs(settings.config, checkpoint, *weights);
  TRY_STATUS(check_tensors(checkpoint, specs, path.string(), is_ignored_tensor));
  ModelFacts facts = make_facts(settings.config, checkpoint, specs, formats);
  TRY_STATUS(accept(checkpoint, facts));
  even_out(checkpoint, *weights, specs, formats);
  load_tensors(checkpoint, specs, formats, pool);
  const Linear& first = weights->vision.front().q;
  weights->patch_embedding.rounded = weights->projection.rounded = first.weight.in_codes() && !first.fine;
  weights->shares_head =
      specs.back().name == weights->embedding_name && (weights->head.weight.in_codes() || !weights->embedding.data);
  return std::make_unique<SmolVlm>(std::move(settings.config), std::move(settings.prompts), std::move(facts),
                                   std::move(checkpoint), std::move(weights));
}

// A picture with what pictures have: soft light, edges at all angles and of all sizes, fine strokes, some noise.
media::Image calibration_tile(int side, uint32_t seed) {
  media::Image image{.width = side, .height = side, .rgb = {}};
  image.rgb.resize(static_cast<size_t>(3) * side * side);
  uint32_t state = seed;
  const auto next = [&state](uint32_t below) {
    state = state * 1664525 + 1013904223;
    return static_cast<int>((uint64_t{state} * below) >> 32);
  };
  const auto paint = [&](int x, int y, int c, int value) {
    if (x >= 0 && y >= 0 && x < side && y < side)
      image.row(y)[x * 3 + c] = static_cast<uint8_t>(std::clamp(value, 0, 255));
  };
  const int ground[3] = {next(256), next(256), next(256)}, shapes = 10 + next(60);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x)
      for (int c = 0; c < 3; ++c)
        paint(x, y, c, ground[c] + 120 * (c == 2 ? side / 2 - y : y - side / 2) / side + 30 * x / side);
  for (int shape = 0; shape < shapes; ++shape) {
    const int size = side / (3 + shape / 2), x0 = next(side), y0 = next(side), slant = next(5) - 2;
    const int colour[3] = {next(256), next(256), next(256)};
    const bool is_round = next(2) == 0;
    for (int y = -size; y <= size; ++y)
      for (int x = -size; x <= size; ++x)
        if (is_round ? x * x + y * y <= size * size : std::abs(x + slant * y / 2) <= size / 2)
          for (int c = 0; c < 3; ++c) paint(x0 + x, y0 + y, c, colour[c] + 40 * y / std::max(1, size));
  }
  for (int stroke = 0; stroke < side; ++stroke) {  // as of letters, in the lower half
    const int x0 = next(side), y0 = side / 2 + next(side / 16 + 1) * 8, dx = next(3) - 1, dy = next(3) - 1;
    for (int i = 0; i < 7; ++i)
      for (int c = 0; c < 3; ++c) paint(x0 + i * dx, y0 + i * dy, c, 20);
  }
  for (uint8_t& value : image.rgb) value = static_cast<uint8_t>(std::clamp(value + next(9) - 4, 0, 255));
  return image;
}

// Only the tower's layers have biases to correct.
Result<BiasCorrections> calibrate(const formats::Checkpoint& checkpoint, const Config& config,
                                  const WeightFormats& formats, ThreadPool& pool) {
  Weights weights;
  std::vector<TensorSpec> specs = tensor_specs(config, checkpoint, weights);
  std::erase_if(specs, [](const TensorSpec& spec) { return !spec.vision; });
  load_tensors(checkpoint, specs, WeightFormats{}, pool);
  even_out(checkpoint, weights, specs, formats);
  const int64_t side = config.processor.tile_size;
  constexpr uint32_t kPictures = 4;
  std::vector<std::vector<float>> pixels(kPictures, std::vector<float>(static_cast<size_t>(3 * side * side)));
  std::vector<compute::Bindings> examples(kPictures);
  for (uint32_t i = 0; i < kPictures; ++i) {
    normalise_tile(calibration_tile(static_cast<int>(side), i), config.processor, pixels[i].data());
    examples[i].inputs["pixels"] = {
        DType::kF32, {1, 3, side, side}, reinterpret_cast<const std::byte*>(pixels[i].data())};
  }
  const std::vector<int32_t> positions =
      position_ids(config.tile_patches_per_side(), config.vision.positions_per_side());
  Graph graph;
  const Value input = graph.input("pixels", DType::kF32, {1, 3, side, side});
  graph.output("features", append_tower(graph, input, config, weights, positions));
  return correct_biases(graph, examples, checkpoint, specs, formats, pool);
}

// The settings as a folder has them; `made` holds what they are if there is none.
struct SettingsFiles {
  std::map<std::string, std::string> made;
  FileSource files;
};

Result<SettingsFiles> settings_files(const Path& path, const formats::Checkpoint& checkpoint) {
  if (checkpoint.gguf().empty()) return SettingsFiles{{}, checkpoint.settings(path)};
  TRY(auto made, settings_from_gguf(checkpoint));
  FileSource files(checkpoint.gguf()[0].where(), {made.begin(), made.end()});
  return SettingsFiles{std::move(made), std::move(files)};
}

Status convert(const Path& path, const formats::Checkpoint& checkpoint, const Conversion& conversion,
               ThreadPool& pool) {
  TRY(const SettingsFiles source, settings_files(path, checkpoint));
  TRY(Settings settings, read_settings(source.files));  // also says whether all of them will do
  Weights weights;
  std::vector<TensorSpec> specs = tensor_specs(settings.config, checkpoint, weights);
  TRY_STATUS(check_tensors(checkpoint, specs, path.string(), is_ignored_tensor));
  const ModelFacts facts = make_facts(settings.config, checkpoint, specs, conversion.formats);
  even_out(checkpoint, weights, specs, conversion.formats);
  BiasCorrections corrections;
  if (conversion.calibrate) {
    TRY(corrections, calibrate(checkpoint, settings.config, conversion.formats, pool));
  }
  return write_native(source.files, checkpoint, specs, facts, conversion, corrections, pool);
}

Status describe(const Path& path, const formats::Checkpoint& checkpoint,
                const std::function<Status(const Outline&)>& use) {
  TRY(const SettingsFiles source, settings_files(path, checkpoint));
  TRY(Settings settings, read_settings(source.files));
  auto weights = std::make_unique<Weights>();
  const std::vector<TensorSpec> specs = tensor_specs(settings.config, checkpoint, *weights);
  TRY_STATUS(check_tensors(checkpoint, specs, path.string(), is_ignored_tensor));
  ModelFacts facts = make_facts(settings.config, checkpoint, specs, {});
  shape_tensors(specs);
  const SmolVlm model(std::move(settings.config), std::move(settings.prompts), std::move(facts), {},
                      std::move(weights));
  return use({.settings = source.files,
              .specs = specs,
              .network = model,
              .facts = model.facts(),
              .gguf = [&] { return describe_in_gguf(model.config(), source.files, model.tokenizer()); },
              .mlx = [&] { return describe_for_mlx(model.config(), source.files); },
              .js = [&] { return describe_for_js(model.config(), source.files); },
              .head_name = kHeadName});
}

}  // namespace

const ModelDef kModelDef = {"SmolVLMForConditionalGeneration, Idefics3ForConditionalGeneration",
                            matches,
                            is_gguf_pair,
                            inspect,
                            load,
                            convert,
                            describe};

}  // namespace onsight::models::smolvlm
