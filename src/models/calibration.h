// Biases that make up for rounded weights: where codes W' stand for weights W, the output is wrong by (W − W')·x. What
// the rows x of several examples have in common of it is added to the bias.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "compute/executor.h"
#include "models/tensor_spec.h"

namespace onsight::models {

// name of a bias → what is to be added to it
using BiasCorrections = std::map<std::string, std::vector<float>>;

// Runs `graph` once for each of `examples`; its layers hold the weights of `specs` as floats, which are compared with
// what `formats` makes of them. Layers without a bias, or that stay floats, have no correction.
Result<BiasCorrections> correct_biases(compute::Graph& graph, std::span<const compute::Bindings> examples,
                                       const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                                       const WeightFormats& formats, ThreadPool& pool);

}  // namespace onsight::models
