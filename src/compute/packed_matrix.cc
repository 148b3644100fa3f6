#include "compute/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace onsight::compute {
namespace {

DType packed_dtype(DType source) { return source == DType::kBF16 ? DType::kBF16 : DType::kF32; }

// Transposes one panel: rows of `source` (row-major, `inputs` long) become columns of `out`.
template <class T>
void interleave(const T* source, int64_t rows, int64_t inputs, T* out) {
  constexpr int64_t kBlock = 64;  // keeps both sides in the first-level cache
  for (int64_t k0 = 0; k0 < inputs; k0 += kBlock) {
    int64_t k1 = std::min(inputs, k0 + kBlock);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = k0; k < k1; ++k) out[k * kPanel + r] = source[r * inputs + k];
    for (int64_t r = rows; r < kPanel; ++r)
      for (int64_t k = k0; k < k1; ++k) out[k * kPanel + r] = T{};
  }
}

}  // namespace

int64_t PackedMatrix::packed_bytes(DType source, int64_t outputs, int64_t inputs) {
  return bytes_of(packed_dtype(source), (outputs + kPanel - 1) / kPanel * kPanel * inputs);
}

PackedMatrix PackedMatrix::pack(const Tensor& source) {
  ONSIGHT_CHECK(source.shape.rank() == 2 && info(source.dtype).is_weight);
  PackedMatrix m;
  m.dtype_ = packed_dtype(source.dtype);
  m.outputs_ = source.shape[0];
  m.inputs_ = source.shape[1];
  m.data_ = Buffer(static_cast<size_t>(packed_bytes(source.dtype, m.outputs_, m.inputs_)));
  int64_t row_bytes = bytes_of(source.dtype, m.inputs_);
  std::vector<std::byte> aligned(static_cast<size_t>(bytes_of(m.dtype_, kPanel * m.inputs_)));
  for (int64_t p = 0; p < m.panels(); ++p) {
    int64_t rows = std::min<int64_t>(kPanel, m.outputs_ - p * kPanel);
    const std::byte* from = source.data + p * kPanel * row_bytes;
    std::byte* to = m.data_.data() + p * m.panel_bytes();
    if (m.dtype_ == DType::kBF16) {
      std::memcpy(aligned.data(), from, static_cast<size_t>(rows * row_bytes));  // mapped bytes need not be aligned
      interleave(reinterpret_cast<const uint16_t*>(aligned.data()), rows, m.inputs_, reinterpret_cast<uint16_t*>(to));
    } else {
      float* wide = reinterpret_cast<float*>(aligned.data());
      to_f32(source.dtype, from, wide, rows * m.inputs_);
      interleave(wide, rows, m.inputs_, reinterpret_cast<float*>(to));
    }
  }
  return m;
}

void PackedMatrix::row(int64_t output, float* out) const {
  const std::byte* base = panel(output / kPanel);
  int64_t column = output % kPanel;
  for (int64_t k = 0; k < inputs_; ++k) to_f32(dtype_, base + bytes_of(dtype_, k * kPanel + column), out + k, 1);
}

}  // namespace onsight::compute
