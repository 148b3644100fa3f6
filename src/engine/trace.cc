#include "engine/trace.h"

#include <algorithm>

#include "engine/sequence.h"

namespace onsight::engine {

using compute::DType;
using compute::Shape;
using compute::Tensor;
using compute::view;

namespace {

// Appends what generate() would have sampled for this text: it begins with the space that TextStream leaves out.
Status append_answer(const models::Model& model, std::string_view answer, std::vector<int32_t>& ids) {
  if (answer.empty()) return {};
  const std::vector<int32_t> more = model.tokenizer().encode(fmt::format(" {}", answer));
  ids.insert(ids.end(), more.begin(), more.end());
  const auto context = static_cast<size_t>(model.facts().context_length);
  if (ids.size() <= context) return {};
  return bad_input("prompt and answer: {} tokens, expected at most the model's context of {}", ids.size(), context);
}

}  // namespace

Status trace_prompt(Network& network, const Request& request, std::string_view answer, const TraceSink& sink) {
  const models::Model& model = network.model();
  TRY(models::Prompt prompt, prepare(model, request));
  TRY_STATUS(append_answer(model, answer, prompt.ids));
  const models::ModelFacts& facts = model.facts();
  const int64_t n = static_cast<int64_t>(prompt.ids.size()), tiles = static_cast<int64_t>(prompt.tiles.size());
  TRY_STATUS(sink("input_ids", view(DType::kI32, {n}, prompt.ids.data())));

  // Observed values of all tiles side by side: [tiles, patches, d].
  struct Stack {
    Shape shape;
    std::vector<float> values;
  };
  std::vector<std::pair<std::string, Stack>> stacks;
  Tiles seen;
  if (tiles > 0) {
    const int64_t side = facts.tile_size, pixels = 3 * side * side;
    std::vector<float> all(static_cast<size_t>(tiles * pixels));
    for (int64_t i = 0; i < tiles; ++i) model.normalise(prompt.tiles[static_cast<size_t>(i)], all.data() + i * pixels);
    TRY_STATUS(sink("pixel_values", view(DType::kF32, {tiles, 3, side, side}, all.data())));
    for (const media::Image& tile : prompt.tiles) {
      auto entry = std::make_shared<FeatureCache::Entry>();
      TRY_STATUS(network.see(tile, entry->features, [&](std::string_view name, const Tensor& value) -> Status {
        auto it = std::find_if(stacks.begin(), stacks.end(), [&](const auto& s) { return s.first == name; });
        if (it == stacks.end())
          it = stacks.insert(stacks.end(), {std::string(name), {{tiles, value.shape[0], value.shape[1]}, {}}});
        const std::span<const float> v = value.f32();
        it->second.values.insert(it->second.values.end(), v.begin(), v.end());
        return {};
      }));
      seen.push_back(std::move(entry));
    }
    for (const auto& [name, stack] : stacks)
      TRY_STATUS(sink(name, view(DType::kF32, stack.shape, stack.values.data())));
  }
  const ImageRows rows = image_rows(prompt, seen, facts, 0, n);
  if (tiles > 0)
    TRY_STATUS(sink("image_features",
                    view(DType::kF32, {static_cast<int64_t>(rows.at.size()), facts.text_width}, rows.features.data())));
  compute::KvCache cache(facts.kv);
  TRY_STATUS(network.read({.ids = prompt.ids, .first = 0, .cache = &cache}, rows, Network::Logits::kAll, sink));
  return sink("logits", network.all_logits());
}

}  // namespace onsight::engine
