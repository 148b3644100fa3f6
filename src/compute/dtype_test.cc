#include "compute/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
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
  EXPECT_EQ(dtype_from_safetensors(""), std::nullopt);
  EXPECT_EQ(dtype_from_gguf(8), DType::kQ8_0);
  EXPECT_EQ(dtype_from_gguf(255), std::nullopt);
  EXPECT_EQ(bytes_of(DType::kF16, 3), 6);
  EXPECT_EQ(bytes_of(DType::kQ4_0, 64), 36);
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

// Blocks of ggml by their definitions, value by value; tests/parity compares them with its own package.
std::vector<uint8_t> random_blocks(DType dtype, int64_t n, uint32_t seed) {
  std::vector<uint8_t> bytes(static_cast<size_t>(bytes_of(dtype, n)));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

TEST(DType, BlocksOf32) {
  struct Row {
    DType dtype;
    int bits;
    bool has_minimum;
  };
  for (const Row& row : {Row{DType::kQ4_0, 4, false}, Row{DType::kQ4_1, 4, true}, Row{DType::kQ5_0, 5, false},
                         Row{DType::kQ5_1, 5, true}, Row{DType::kQ8_0, 8, false}}) {
    std::vector<uint8_t> block = random_blocks(row.dtype, 32, 7);
    block[1] &= 0x7b;  // neither infinite nor NaN
    if (row.has_minimum) block[3] &= 0x7b;
    const auto half = [&](size_t at) {
      return f16_by_definition(static_cast<uint16_t>(block[at] | block[at + 1] << 8));
    };
    const std::vector<float> got = widen(row.dtype, block.data(), 32);
    for (size_t i = 0; i < 32; ++i) {
      float want;
      if (row.bits == 8) {
        want = static_cast<float>(static_cast<int8_t>(block[2 + i])) * half(0);
      } else {
        const size_t scales = row.has_minimum ? 4 : 2, values = scales + (row.bits == 5 ? 4 : 0);
        int q = block[values + i % 16] >> (i / 16 * 4) & 15;
        if (row.bits == 5) q += (block[scales + i / 8] >> (i % 8) & 1) * 16;
        want = row.has_minimum ? static_cast<float>(q) * half(0) + half(2)
                               : static_cast<float>(q - (1 << (row.bits - 1))) * half(0);
      }
      EXPECT_EQ(got[i], want) << info(row.dtype).name << " " << i;
    }
  }
}

TEST(DType, BlocksOf256WithEqualScales) {
  // Every scale 33, every minimum 1, d 1 and 2: what is left is the place of each value's bits.
  for (DType dtype : {DType::kQ4K, DType::kQ5K}) {
    std::vector<uint8_t> block = random_blocks(dtype, 256, 9);
    const std::vector<uint8_t> head = {0, 0x3c, 0, 0x40, 33 | 0x80, 33 | 0x80, 33 | 0x80, 33 | 0x80,
                                       1, 1,    1, 1,    0x11,      0x11,      0x11,      0x11};
    std::copy(head.begin(), head.end(), block.begin());
    const std::vector<float> got = widen(dtype, block.data(), 256);
    const size_t values = dtype == DType::kQ5K ? 48 : 16;
    for (size_t i = 0; i < 256; ++i) {
      const size_t group = i / 32;
      int q = block[values + group / 2 * 32 + i % 32] >> (group % 2 * 4) & 15;
      if (dtype == DType::kQ5K) q += (block[16 + i % 32] >> group & 1) * 16;
      EXPECT_EQ(got[i], static_cast<float>(33 * q - 2)) << info(dtype).name << " " << i;
    }
  }
  std::vector<uint8_t> block = random_blocks(DType::kQ6K, 256, 11);
  for (size_t i = 0; i < 16; ++i) block[192 + i] = static_cast<uint8_t>(i - 8);
  block[208] = 0, block[209] = 0x3c;
  const std::vector<float> got = widen(DType::kQ6K, block.data(), 256);
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128, part = i / 32 % 4;
    int q = block[half * 64 + part % 2 * 32 + i % 32] >> (part / 2 * 4) & 15;
    q += (block[128 + half * 32 + i % 32] >> (part * 2) & 3) * 16;
    EXPECT_EQ(got[i], static_cast<float>((q - 32) * (static_cast<int>(i / 16) - 8))) << i;
  }
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

// Every number of 16 bits comes back, and what lies between two goes to the nearer one.
TEST(DType, RoundsBackToWhatWasWidened) {
  for (const DType dtype : {DType::kF16, DType::kBF16})
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto before = static_cast<uint16_t>(bits);
      const float wide = widen(dtype, &before, 1)[0];
      uint16_t after = 0;
      from_f32(dtype, &wide, reinterpret_cast<std::byte*>(&after), 1);
      if (!std::isnan(wide)) {
        ASSERT_EQ(after, before) << info(dtype).name;
      } else if (dtype == DType::kBF16) {
        ASSERT_TRUE(std::isnan(widen(dtype, &after, 1)[0])) << before;
      }
    }
  const float between[] = {1 + 0x1p-9f, 1 + 0x1p-8f, 1 + 0x1.8p-7f, 1 + 3 * 0x1p-9f, -3.0e38f};
  const uint16_t want[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xff62};
  uint16_t got[5];
  from_f32(DType::kBF16, between, reinterpret_cast<std::byte*>(got), 5);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(got[i], want[i]) << i;
}

TEST(DType, BlocksOfEightBits) {
  std::vector<float> values(64);
  for (size_t i = 0; i < 32; ++i) values[i] = static_cast<float>(i) - 15.5f;  // the other block is zero
  std::vector<std::byte> blocks(68);
  from_f32(DType::kQ8_0, values.data(), blocks.data(), 64);
  const std::vector<float> back = widen(DType::kQ8_0, blocks.data(), 64);
  for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(back[i], values[i], i < 32 ? 15.5f / 127 * 0.51f : 0);
}

}  // namespace
}  // namespace onsight::compute
