// What the system is told about memory.
#pragma once

#include <cstddef>
#include <span>

namespace onsight {

constexpr size_t kHugePage = size_t{2} << 20;

// Asks for huge pages where whole ones fit: large weights are read a fifth faster from them. Does nothing for less.
void prefer_huge_pages(std::span<const std::byte> memory);
// Asks for small ones: of a table of which few rows are ever read, the others stay out of memory.
void prefer_small_pages(std::span<const std::byte> memory);

}  // namespace onsight
