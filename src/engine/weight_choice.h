// Which formats a model's weights get.
#pragma once

#include "engine/engine.h"
#include "models/model.h"

namespace onsight::engine {

// What the vision tower gets where only the text model's format is asked for: the same, but 8 bits for 4.
Quantisation vision_like(Quantisation text);

// Of a checkpoint that is loaded or converted; a native file keeps its own. Refuses others than these.
Result<models::WeightFormats> choose_formats(const formats::Checkpoint& checkpoint, const EngineOptions& options,
                                             const Path& path);

}  // namespace onsight::engine
