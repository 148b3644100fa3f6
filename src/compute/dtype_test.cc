#include "compute/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace onsight::compute {
namespace {

// The definition of IEEE binary16, in the slow way.
float f16_by_definition(uint16_t bits) {
  int sign = bits >> 15, exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31)
    value = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  return static_cast<float>(sign ? -value : value);
}

std::vector<float> widen(DType dtype, const void* source, int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  to_f32(dtype, static_cast<const std::byte*>(source), out.data(), n);
  return out;
}

TEST(DType, RowsAreInTheOrderOfTheEnum) {
  for (size_t i = 0; i < kDTypes.size(); ++i) EXPECT_EQ(static_cast<size_t>(kDTypes[i].dtype), i);
  EXPECT_EQ(dtype_from_safetensors("BF16"), DType::kBF16);
  EXPECT_EQ(dtype_from_safetensors("F64"), std::nullopt);
  EXPECT_EQ(bytes_of(DType::kF16, 3), 6);
}

TEST(DType, EveryF16IsWidenedExactly) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> got = widen(DType::kF16, all.data(), 65536);
  for (size_t i = 0; i < all.size(); ++i) {
    float want = f16_by_definition(all[i]);
    if (std::isnan(want))
      ASSERT_TRUE(std::isnan(got[i])) << i;
    else
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want)) << i;
  }
}

TEST(DType, EveryBf16IsTheUpperHalfOfAnF32) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> got = widen(DType::kBF16, all.data(), 65536);
  for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), static_cast<uint32_t>(i) << 16);
}

TEST(DType, ReadsFromAnyAddressAndAnyLength) {
  const std::vector<float> values = {1.5f, -0.0f, 3e-41f, std::numeric_limits<float>::infinity(), 7};
  std::vector<char> bytes(1 + values.size() * 4);
  std::memcpy(bytes.data() + 1, values.data(), values.size() * 4);
  EXPECT_EQ(widen(DType::kF32, bytes.data() + 1, 5), values);
  EXPECT_TRUE(widen(DType::kF32, nullptr, 0).empty());
  for (int64_t n = 1; n < 40; ++n) {
    std::vector<char> halves(static_cast<size_t>(2 * n) + 1);
    for (int64_t i = 0; i < n; ++i) {
      auto half = static_cast<uint16_t>(0x3c00 + i);
      std::memcpy(halves.data() + 1 + 2 * i, &half, 2);
    }
    std::vector<float> got = widen(DType::kF16, halves.data() + 1, n);
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], 1.0f + static_cast<float>(i) / 1024);
  }
}

}  // namespace
}  // namespace onsight::compute
