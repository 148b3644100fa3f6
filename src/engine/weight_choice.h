// Which formats a model's weights get, and its keys and values.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "engine/engine.h"
#include "models/model.h"

namespace onsight::engine {

// Formats of keys and values in memory, by the names that users give them; auto leaves it to the engine.
struct KvFormat {
  std::string_view name;
  std::optional<compute::DType> type;
};
inline constexpr std::array<KvFormat, 4> kKvFormats = {
    {{"auto", {}}, {"f32", compute::DType::kF32}, {"f16", compute::DType::kF16}, {"q8", compute::DType::kI8}}};

// What the vision tower gets where only the text model's format is asked for: the same, but 8 bits for 4.
Quantisation vision_like(Quantisation text);

// Of a checkpoint that is loaded or converted; a native file keeps its own. Refuses others than these.
Result<models::WeightFormats> choose_formats(const formats::Checkpoint& checkpoint, const EngineOptions& options,
                                             const Path& path);

}  // namespace onsight::engine
