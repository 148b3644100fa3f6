// What the executor's files share: the values of one run, and small helpers.
#pragma once

#include <cmath>

#include "compute/executor.h"

namespace onsight::compute {

struct Executor::Run {
  Run(const Graph& g, const Bindings& b) : graph(g), bindings(b), values(g.values()) {}
  const Graph& graph;
  const Bindings& bindings;
  std::vector<Tensor> values;
  float* out(const Op& op) const { return reinterpret_cast<float*>(const_cast<std::byte*>(tensor(op.output).data)); }
  const Tensor& tensor(Value v) const { return values[static_cast<size_t>(v.id)]; }
  const float* f32(Value v) const { return v ? reinterpret_cast<const float*>(tensor(v).data) : nullptr; }
  const int32_t* i32(Value v) const { return reinterpret_cast<const int32_t*>(tensor(v).data); }
  const Shape& shape(Value v) const { return graph.shape(v); }

  // Cosines, then sines, of each row: the same in all layers, so computed once.
  const float* angles(const Op& op, int64_t rows) {
    const size_t half = op.frequencies->size();
    if (turns_of_ == op.in[1].id && frequencies_ == op.frequencies) return turns_.data();
    turns_of_ = op.in[1].id;
    frequencies_ = op.frequencies;
    turns_.resize(static_cast<size_t>(rows) * 2 * half);
    const int32_t* positions = i32(op.in[1]);
    for (int64_t r = 0; r < rows; ++r)
      for (size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions[r]) * (*op.frequencies)[i];
        float* table = &turns_[static_cast<size_t>(r) * 2 * half];
        table[i] = std::cos(angle);
        table[half + i] = std::sin(angle);
      }
    return turns_.data();
  }

 private:
  int32_t turns_of_ = -1;
  const std::vector<float>* frequencies_ = nullptr;
  std::vector<float> turns_;
};

// Two layers in codes, the second on what only the first makes, which nobody else sees.
bool is_chain(const Graph& graph, size_t first);

// Memory of at least so many bytes; what it held is lost when it grows.
inline float* grow(Buffer& buffer, size_t bytes) {
  if (buffer.bytes() < bytes) {
    buffer = Buffer();
    buffer = Buffer(bytes);
  }
  return buffer.f32();
}

inline int64_t filled(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace onsight::compute
