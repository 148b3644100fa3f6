#include "compute/dtype.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

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

float f16(const std::byte* p) {
  float value = 0;
  f16_to_f32(p, &value, 1);
  return value;
}

// ggml's blocks. Scales and minima are f16; the low halves of the bytes hold the first half of the values, the high
// ones the second. Products are taken in ggml's order, so that the numbers are its numbers to the last bit.

// d, then 32 of 4 bits; kMinimum: value = q · d + m, otherwise (q - 8) · d.
template <bool kMinimum>
void q4_to_f32(const std::byte* p, float* out) {
  const float d = f16(p), m = kMinimum ? f16(p + 2) : 0;
  p += kMinimum ? 4 : 2;
  for (int j = 0; j < 16; ++j) {
    const int low = std::to_integer<int>(p[j]) & 15, high = std::to_integer<int>(p[j]) >> 4;
    out[j] = kMinimum ? static_cast<float>(low) * d + m : static_cast<float>(low - 8) * d;
    out[j + 16] = kMinimum ? static_cast<float>(high) * d + m : static_cast<float>(high - 8) * d;
  }
}

// As q4, with the fifth bits of all values in four bytes of their own.
template <bool kMinimum>
void q5_to_f32(const std::byte* p, float* out) {
  const float d = f16(p), m = kMinimum ? f16(p + 2) : 0;
  p += kMinimum ? 4 : 2;
  const auto fifth = load<uint32_t>(p);
  p += 4;
  for (int j = 0; j < 16; ++j) {
    const int low = (std::to_integer<int>(p[j]) & 15) | static_cast<int>(fifth >> j & 1) << 4;
    const int high = std::to_integer<int>(p[j]) >> 4 | static_cast<int>(fifth >> (j + 16) & 1) << 4;
    out[j] = kMinimum ? static_cast<float>(low) * d + m : static_cast<float>(low - 16) * d;
    out[j + 16] = kMinimum ? static_cast<float>(high) * d + m : static_cast<float>(high - 16) * d;
  }
}

void q8_to_f32(const std::byte* p, float* out) {
  const float d = f16(p);
  for (int j = 0; j < 32; ++j) out[j] = static_cast<float>(load<int8_t>(p + 2 + j)) * d;
}

// The scale and the minimum of group i of 8, six bits each, in twelve bytes.
std::pair<int, int> scale_and_minimum(const std::byte* p, int i) {
  const auto at = [p](int k) { return std::to_integer<int>(p[k]); };
  if (i < 4) return {at(i) & 63, at(i + 4) & 63};
  return {(at(i + 4) & 15) | at(i - 4) >> 6 << 4, at(i + 4) >> 4 | at(i) >> 6 << 4};
}

// d and its like for minima, scales, kFifth: 32 bytes of fifth bits, then 8 groups of 32 values of 4 bits, two side by
// side.
template <bool kFifth>
void q4k_to_f32(const std::byte* p, float* out) {
  const float d = f16(p), minimum = f16(p + 2);
  const std::byte *scales = p + 4, *fifth = p + 16, *values = p + (kFifth ? 48 : 16);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, least] = scale_and_minimum(scales, group);
    const float factor = d * static_cast<float>(scale), offset = minimum * static_cast<float>(least);
    const std::byte* from = values + group / 2 * 32;
    for (int j = 0; j < 32; ++j) {
      int q = std::to_integer<int>(from[j]) >> (group % 2 * 4) & 15;
      if (kFifth) q |= (std::to_integer<int>(fifth[j]) >> group & 1) << 4;
      out[group * 32 + j] = factor * static_cast<float>(q) - offset;
    }
  }
}

// 256 values of 6 bits, the lower four and the upper two apart; 16 scales of 8 bits, then d.
void q6k_to_f32(const std::byte* p, float* out) {
  const std::byte *scales = p + 192, *upper = p + 128;
  const float d = f16(p + 208);
  for (int group = 0; group < 8; ++group) {
    const int half = group / 4, part = group % 4;
    for (int j = 0; j < 32; ++j) {
      const int low = std::to_integer<int>(p[half * 64 + part % 2 * 32 + j]) >> (part / 2 * 4) & 15;
      const int high = std::to_integer<int>(upper[half * 32 + j]) >> (part * 2) & 3;
      const float factor = d * static_cast<float>(load<int8_t>(scales + group * 2 + j / 16));
      out[group * 32 + j] = factor * static_cast<float>((low | high << 4) - 32);
    }
  }
}

template <class T>
void store(std::byte* p, T value) {
  std::memcpy(p, &value, sizeof value);
}

// Codes are rounded with the scale before it becomes f16, halves away from zero, as ggml does.
void f32_to_q8(const float* source, std::byte* out) {
  float largest = 0;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(source[j]));
  const float scale = largest / 127, inverse = scale != 0 ? 1 / scale : 0;
  store(out, to_f16(scale));
  for (int j = 0; j < 32; ++j) store(out + 2 + j, static_cast<int8_t>(std::round(source[j] * inverse)));
}

void blocks_to_f32(DType dtype, const std::byte* source, float* out, int64_t n,
                   void (*widen)(const std::byte*, float*)) {
  const DTypeInfo& row = info(dtype);
  ONSIGHT_CHECK(n % row.block == 0);
  for (int64_t i = 0; i < n; i += row.block, source += row.block_bytes) widen(source, out + i);
}

}  // namespace

uint16_t to_f16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7bff);  // the largest finite f16
  if (magnitude < 0x38800000) {                                              // subnormal: units of 2^-24
    float scaled = std::fabs(x) * 16777216.0f;
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - 0x38000000) >> 13);
}

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
    case DType::kQ4_0:
      return blocks_to_f32(dtype, source, out, n, q4_to_f32<false>);
    case DType::kQ4_1:
      return blocks_to_f32(dtype, source, out, n, q4_to_f32<true>);
    case DType::kQ5_0:
      return blocks_to_f32(dtype, source, out, n, q5_to_f32<false>);
    case DType::kQ5_1:
      return blocks_to_f32(dtype, source, out, n, q5_to_f32<true>);
    case DType::kQ8_0:
      return blocks_to_f32(dtype, source, out, n, q8_to_f32);
    case DType::kQ4K:
      return blocks_to_f32(dtype, source, out, n, q4k_to_f32<false>);
    case DType::kQ5K:
      return blocks_to_f32(dtype, source, out, n, q4k_to_f32<true>);
    case DType::kQ6K:
      return blocks_to_f32(dtype, source, out, n, q6k_to_f32);
    default:
      ONSIGHT_CHECK(info(dtype).is_weight);
  }
}

void from_f32(DType dtype, const float* source, std::byte* out, int64_t n) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, source, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      for (int64_t i = 0; i < n; ++i)
        store(out + 2 * i,
              std::isinf(source[i]) ? static_cast<uint16_t>(source[i] < 0 ? 0xfc00 : 0x7c00) : to_f16(source[i]));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < n; ++i) store(out + 2 * i, to_bf16(source[i]));
      return;
    case DType::kQ8_0:
      ONSIGHT_CHECK(n % info(dtype).block == 0);
      for (int64_t i = 0; i < n; i += 32, out += info(dtype).block_bytes) f32_to_q8(source + i, out);
      return;
    default:
      ONSIGHT_CHECK(false);
  }
}

}  // namespace onsight::compute
