#include "compute/dtype.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace onsight::compute {
namespace {

// Plain loops without branches: the compiler turns each into vector code. memcpy because weights in a file may lie at
// any address.

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

void bf16_to_f32(const std::byte* source, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(source + 2 * i)) << 16);
}

void f16_to_f32(const std::byte* source, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits = load<uint16_t>(source + 2 * i);
    uint32_t magnitude = bits & 0x7fff;
    // f16 has exponent bias 15 and f32 has 127; infinities and NaNs go from exponent 31 to 255.
    uint32_t normal = (magnitude << 13) + ((magnitude >= 0x7c00 ? 224u : 112u) << 23);
    // A subnormal is its mantissa times 2^-24, which f32 holds exactly.
    uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
    uint32_t is_subnormal = 0u - static_cast<uint32_t>(magnitude < 0x400);  // a mask, as a choice would be a branch
    out[i] = std::bit_cast<float>((subnormal & is_subnormal) | (normal & ~is_subnormal) | (bits & 0x8000) << 16);
  }
}

}  // namespace

void to_f32(DType dtype, const std::byte* source, float* out, int64_t n) {
  if (n == 0) return;
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, source, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      return f16_to_f32(source, out, n);
    case DType::kBF16:
      return bf16_to_f32(source, out, n);
    default:
      ONSIGHT_CHECK(info(dtype).is_weight);
  }
}

}  // namespace onsight::compute
