// A checkpoint folder or a GGUF pair becomes one native file, whose weights are mapped where they were packed.
//
//   TRY_STATUS(convert("SmolVLM-256M-Instruct", "model.onsight", {.text = Quantisation::kQ8}, {}, "onsight 0.1.0"));
#pragma once

#include "engine/engine.h"

namespace onsight::engine {

// What it does, and bytes done of all; false ends it.
using ConvertProgress = std::function<bool(std::string_view what, int64_t done, int64_t total)>;

// Whether the vision tower sees drawn pictures once in floats, so that its biases make up for what rounding its weights
// moves on average. Off, the file computes what its folder does in the same formats.
struct Calibration {
  bool vision = false;
};

// The file appears, or replaces another, when all of it is written; then it is read and compared with its checksums.
// `program` is kept in it.
Status convert(const Path& source, const Path& target, const EngineOptions& options, const Calibration& calibration,
               std::string program, const ConvertProgress& progress = nullptr);

// Reads all of a native file and compares it with its checksums.
Status verify(const Path& file, int threads, const ConvertProgress& progress = nullptr);

}  // namespace onsight::engine
