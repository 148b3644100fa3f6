// A checkpoint folder becomes one native file.
#pragma once

#include <span>

#include "models/calibration.h"
#include "models/model.h"

namespace onsight::models {

// Writes the settings of `folder` and every tensor of checked rows; the file appears when all is written.
Status write_native(const Path& folder, const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                    const ModelFacts& facts, const Conversion& conversion, const BiasCorrections& corrections,
                    ThreadPool& pool);

}  // namespace onsight::models
