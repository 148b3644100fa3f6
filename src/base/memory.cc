#include "base/memory.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>

namespace onsight {

void prefer_huge_pages([[maybe_unused]] std::span<const std::byte> memory) {
#if defined(__linux__)
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory.data()) + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory.data()) + memory.size()) / kHugePage * kHugePage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace onsight
