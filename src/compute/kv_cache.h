// KvCache: keys and values of one sequence, in pages of kKvPage positions. Forks share pages until one of them writes.
//
//   KvCache cache({.layers = 30, .kv_heads = 3, .head_dim = 64});
//   cache.reserve(100);            // room for positions 0..99; the executor writes them
//   KvCache branch = cache;        // shares every page
//   branch.truncate(40);           // forgets positions 40..99
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/kernels/kernel_table.h"
#include "compute/kernels/kv_codes.h"
#include "compute/tensor.h"

namespace onsight::compute {

struct KvLayout {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kF32;  // or kF16, or kI8: codes, of heads of up to kLargestKvHead
  bool in_codes() const { return dtype == DType::kI8; }
  int64_t keys_bytes() const {
    return in_codes() ? KvCodes(head_dim).keys_bytes() : bytes_of(dtype, int64_t{kKvPage} * head_dim);
  }
  int64_t head_bytes() const {
    return keys_bytes() +
           (in_codes() ? KvCodes(head_dim).values_bytes() : bytes_of(dtype, kKvPage * kv_value_stride(head_dim)));
  }
  int64_t page_bytes() const { return head_bytes() * kv_heads * layers; }
};

class KvCache {
 public:
  explicit KvCache(KvLayout layout) : layout_(layout) {}

  const KvLayout& layout() const { return layout_; }
  int64_t length() const { return length_; }
  // Makes positions [length(), length) writable and part of the sequence. Throws std::bad_alloc, changing nothing, if
  // memory is short.
  void reserve(int64_t length);
  void truncate(int64_t length);

  // What the pages hold, for keeping it elsewhere: as many bytes each as the layout says. Positions of the last one
  // behind length() are zero if it was never longer.
  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }
  std::span<std::byte> page(int64_t i) const {
    return {pages_[static_cast<size_t>(i)]->data(), pages_[static_cast<size_t>(i)]->bytes()};
  }

  // One head of one page: keys [head_dim, kKvPage], then values [kKvPage, value_stride].
  std::byte* keys(int layer, int head, int64_t page) { return at(layer, head, page); }
  std::byte* values(int layer, int head, int64_t page) { return at(layer, head, page) + layout_.keys_bytes(); }
  KvPageView view(int layer, int head, int64_t page) const {
    const std::byte* p = at(layer, head, page);
    return {p, p + layout_.keys_bytes()};
  }

 private:
  std::byte* at(int layer, int head, int64_t page) const {
    return pages_[static_cast<size_t>(page)]->data() +
           (int64_t{layer} * layout_.kv_heads + head) * layout_.head_bytes();
  }
  KvLayout layout_;
  int64_t length_ = 0;
  std::vector<std::shared_ptr<Buffer>> pages_;
};

}  // namespace onsight::compute
