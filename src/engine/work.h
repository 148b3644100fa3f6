// Work: how much arithmetic and memory traffic a graph is, counted from its ops. Measurements divide it by time and
// compare with what the machine can do.
//
//   Work work = work_of(graph, 0);                          // a prompt: nothing before it in the cache
//   double operations_per_second = work.ops() / seconds;
#pragma once

#include <span>

#include "compute/graph.h"

namespace onsight::engine {

struct Work {
  double linear_ops = 0;     // of linear layers; a multiplication and an addition are two operations
  double attention_ops = 0;  // of queries with keys, and of weights with values
  double weight_bytes = 0;   // of linear layers, each once, as they lie in memory
  double cache_bytes = 0;    // keys and values that cached attention reads, each once

  double ops() const { return linear_ops + attention_ops; }
};

// A linear layer is 2 · rows · inputs · outputs operations. Attention is 4 · width for each pair of a query and a key
// that it sees: row i of cached attention sees context + i + 1 keys, a row of full attention all of its group. Norms,
// activations and rotations are not counted: they are a hundredth of it. kv: of the cache.
Work work_of(const compute::Graph& graph, int64_t context, compute::DType kv = compute::DType::kF32);
// Of some of its ops.
Work work_of(const compute::Graph& graph, std::span<const compute::Op> ops, int64_t context, compute::DType kv);

}  // namespace onsight::engine
