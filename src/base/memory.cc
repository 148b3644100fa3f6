#include "base/memory.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>

namespace onsight {

namespace {

// Of the whole pages of a size that lie in the memory.
void advise([[maybe_unused]] std::span<const std::byte> memory, [[maybe_unused]] size_t page,
            [[maybe_unused]] int advice) {
#if defined(__linux__)
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory.data()) + memory.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
#endif
}

#if !defined(__linux__)
constexpr int MADV_HUGEPAGE = 0, MADV_NOHUGEPAGE = 0;
#endif

}  // namespace

void prefer_huge_pages(std::span<const std::byte> memory) { advise(memory, kHugePage, MADV_HUGEPAGE); }

void prefer_small_pages(std::span<const std::byte> memory) {
  constexpr size_t kLargestPage = size_t{64} << 10;  // of any machine that the program runs on
  advise(memory, kLargestPage, MADV_NOHUGEPAGE);
}

}  // namespace onsight
