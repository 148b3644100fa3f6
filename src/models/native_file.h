// A checkpoint becomes one native file.
#pragma once

#include <span>

#include "models/calibration.h"
#include "models/model.h"

namespace onsight::models {

// Writes the settings and every tensor of checked rows; the file appears when all is written.
Status write_native(const FileSource& settings, const formats::Checkpoint& checkpoint,
                    std::span<const TensorSpec> specs, const ModelFacts& facts, const Conversion& conversion,
                    const BiasCorrections& corrections, ThreadPool& pool);

}  // namespace onsight::models
