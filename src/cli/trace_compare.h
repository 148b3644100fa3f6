// Two folders of traces, compared in the order of the forward pass.
#pragma once

#include <string>

#include "base/file.h"

namespace onsight::cli {

// Sorts names as the forward pass makes them: input_ids, pixel_values, vision.*, image_features, text.*, logits, then
// any others.
bool earlier_in_forward_pass(const std::string& a, const std::string& b);

// Whether `name` is one that a trace writes.
bool is_trace_name(const std::string& name);

struct Comparison {
  std::string table;  // a line for each tensor of `theirs`
  size_t tensors = 0;
  std::string first_difference;  // a sentence; empty if all agree
};
Result<Comparison> compare_traces(const Path& ours, const Path& theirs, double tolerance);

}  // namespace onsight::cli
