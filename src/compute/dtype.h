// DType: one row per number format. Everything that depends on a format (block size, names in containers, conversion)
// is in this table.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onsight::compute {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI32,
  kI64,
  kU8,
  kI8,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4K,
  kQ5K,
  kQ6K,  // blocks of ggml's
  kU32,
};

struct DTypeInfo {
  DType dtype;
  std::string_view name;         // in messages
  std::string_view safetensors;  // id in a safetensors header; empty: none
  int block;                     // elements in a block
  int block_bytes;               // bytes of a block
  bool is_weight;                // a format that a model's weights may have
  int gguf;                      // id in a GGUF file; -1: none
};

inline constexpr std::array<DTypeInfo, 17> kDTypes = {{
    {DType::kF32, "f32", "F32", 1, 4, true, 0},
    {DType::kF16, "f16", "F16", 1, 2, true, 1},
    {DType::kBF16, "bf16", "BF16", 1, 2, true, 30},
    {DType::kI32, "i32", "I32", 1, 4, false, 26},
    {DType::kI64, "i64", "I64", 1, 8, false, 27},
    {DType::kU8, "u8", "U8", 1, 1, false, -1},
    {DType::kI8, "i8", "I8", 1, 1, false, 24},
    {DType::kBool, "bool", "BOOL", 1, 1, false, -1},
    {DType::kQ4_0, "q4_0", "", 32, 18, true, 2},
    {DType::kQ4_1, "q4_1", "", 32, 20, true, 3},
    {DType::kQ5_0, "q5_0", "", 32, 22, true, 6},
    {DType::kQ5_1, "q5_1", "", 32, 24, true, 7},
    {DType::kQ8_0, "q8_0", "", 32, 34, true, 8},
    {DType::kQ4K, "q4_k", "", 256, 144, true, 12},
    {DType::kQ5K, "q5_k", "", 256, 176, true, 13},
    {DType::kQ6K, "q6_k", "", 256, 210, true, 14},
    {DType::kU32, "u32", "U32", 1, 4, false, -1},
}};

constexpr const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

// Bytes of `elements` values, a whole number of blocks.
constexpr int64_t bytes_of(DType dtype, int64_t elements) {
  return elements / info(dtype).block * info(dtype).block_bytes;
}

// To the nearest, halves to even.
constexpr uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);  // the carry of rounding would make it a number
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

constexpr std::optional<DType> dtype_from_safetensors(std::string_view id) {
  for (const DTypeInfo& row : kDTypes)
    if (row.safetensors == id && !id.empty()) return row.dtype;
  return std::nullopt;
}

constexpr std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeInfo& row : kDTypes)
    if (row.name == name) return row.dtype;
  return std::nullopt;
}

constexpr std::optional<DType> dtype_from_gguf(uint32_t id) {
  for (const DTypeInfo& row : kDTypes)
    if (row.gguf >= 0 && static_cast<uint32_t>(row.gguf) == id) return row.dtype;
  return std::nullopt;
}

// The nearest f16, ties to even; what is beyond the largest finite one becomes that.
uint16_t to_f16(float x);
// Widens n values of a weight format to f32; n is a whole number of blocks.
void to_f32(DType dtype, const std::byte* source, float* out, int64_t n);
// Rounds n values to f32, f16, bf16 or q8_0. What was widened from one of the first three becomes what it was, but for
// NaN.
void from_f32(DType dtype, const float* source, std::byte* out, int64_t n);

}  // namespace onsight::compute
