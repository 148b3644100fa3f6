#pragma once

#include <cstdint>

namespace onsight::formats {

// Bytes from `at` to the next multiple of `alignment`.
constexpr uint64_t padding(uint64_t at, uint64_t alignment) { return (alignment - at % alignment) % alignment; }

}  // namespace onsight::formats
