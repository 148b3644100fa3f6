// DType: one row per number format. Everything that depends on a format (block size, names in containers, conversion)
// is in this table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace onsight::compute {

enum class DType : uint8_t { kF32, kF16, kBF16, kI32, kI64, kU8, kI8, kBool };

struct DTypeInfo {
  DType dtype;
  std::string_view name;         // in messages
  std::string_view safetensors;  // id in a safetensors header
  int block;                     // elements in a block
  int block_bytes;               // bytes of a block
  bool is_weight;                // a format that a model's weights may have
};

inline constexpr std::array<DTypeInfo, 8> kDTypes = {{
    {DType::kF32, "f32", "F32", 1, 4, true},
    {DType::kF16, "f16", "F16", 1, 2, true},
    {DType::kBF16, "bf16", "BF16", 1, 2, true},
    {DType::kI32, "i32", "I32", 1, 4, false},
    {DType::kI64, "i64", "I64", 1, 8, false},
    {DType::kU8, "u8", "U8", 1, 1, false},
    {DType::kI8, "i8", "I8", 1, 1, false},
    {DType::kBool, "bool", "BOOL", 1, 1, false},
}};

constexpr const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

// Bytes of `elements` values, a whole number of blocks.
constexpr int64_t bytes_of(DType dtype, int64_t elements) {
  return elements / info(dtype).block * info(dtype).block_bytes;
}

constexpr std::optional<DType> dtype_from_safetensors(std::string_view id) {
  for (const DTypeInfo& row : kDTypes)
    if (row.safetensors == id) return row.dtype;
  return std::nullopt;
}

// Widens n values of a weight format to f32.
void to_f32(DType dtype, const std::byte* source, float* out, int64_t n);

}  // namespace onsight::compute
