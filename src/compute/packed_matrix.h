// PackedMatrix: the weights of a linear layer in the one layout that the kernels read. Packing happens once, at load.
//
// Layout of the float formats: panels of kPanel outputs; inside a panel, for each input k the kPanel outputs side by
// side: data[panel][k][kPanel]. Outputs beyond the last are zero. A quantised format adds its own layout here and a
// kernel in the table.
#pragma once

#include "compute/tensor.h"

namespace onsight::compute {

constexpr int kPanel = 32;

class PackedMatrix {
 public:
  PackedMatrix() = default;
  // source: [outputs, inputs] row-major in any weight format. bf16 stays bf16; f16 and f32 become f32.
  static PackedMatrix pack(const Tensor& source);

  DType dtype() const { return dtype_; }
  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return (outputs_ + kPanel - 1) / kPanel; }
  const std::byte* panel(int64_t p) const { return data_.data() + p * panel_bytes(); }
  size_t bytes() const { return data_.bytes(); }
  // Bytes that pack() will allocate for such a source.
  static int64_t packed_bytes(DType source, int64_t outputs, int64_t inputs);
  // Row `output` widened to f32, out[inputs].
  void row(int64_t output, float* out) const;

 private:
  int64_t panel_bytes() const { return bytes_of(dtype_, inputs_ * kPanel); }
  DType dtype_ = DType::kF32;
  int64_t outputs_ = 0, inputs_ = 0;
  Buffer data_;
};

}  // namespace onsight::compute
