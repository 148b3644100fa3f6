#include "compute/kv_cache.h"

#include <cstring>

namespace onsight::compute {

void KvCache::reserve(int64_t length) {
  if (length <= length_) return;
  const size_t bytes = static_cast<size_t>(layout_.page_bytes());
  const size_t needed = static_cast<size_t>((length + kKvPage - 1) / kKvPage);
  std::vector<std::shared_ptr<Buffer>> pages = pages_;
  // The page that holds the first new position may be shared with a fork: write to a copy.
  const size_t first = static_cast<size_t>(length_ / kKvPage);
  if (first < pages.size() && pages_[first].use_count() > 2) {  // pages_ and the copy in `pages` are two
    auto copy = std::make_shared<Buffer>(bytes);
    std::memcpy(copy->data(), pages[first]->data(), bytes);
    pages[first] = std::move(copy);
  }
  while (pages.size() < needed) {
    pages.push_back(std::make_shared<Buffer>(bytes));
    std::memset(pages.back()->data(), 0, bytes);  // keys beyond the last position are read by the kernels, then masked
  }
  pages_ = std::move(pages);
  length_ = length;
}

void KvCache::truncate(int64_t length) {
  if (length >= length_) return;
  length_ = length;
  pages_.resize(static_cast<size_t>((length + kKvPage - 1) / kKvPage));
}

}  // namespace onsight::compute
