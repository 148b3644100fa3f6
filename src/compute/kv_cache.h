// KvCache: keys and values of one sequence, in pages of kKvPage positions. Forks share pages until one of them writes.
//
//   KvCache cache({.layers = 30, .kv_heads = 3, .head_dim = 64});
//   cache.reserve(100);            // room for positions 0..99; the executor writes them
//   KvCache branch = cache;        // shares every page
//   branch.truncate(40);           // forgets positions 40..99
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "compute/kernels/kernel_table.h"
#include "compute/tensor.h"

namespace onsight::compute {

struct KvLayout {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int64_t keys_floats() const { return int64_t{kKvPage} * head_dim; }
  int64_t value_stride() const { return (head_dim + kHeadAlign - 1) / kHeadAlign * kHeadAlign; }
  int64_t head_floats() const { return keys_floats() + kKvPage * value_stride(); }
  int64_t page_bytes() const { return head_floats() * kv_heads * layers * static_cast<int64_t>(sizeof(float)); }
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

  // One head of one page: keys [head_dim, kKvPage], then values [kKvPage, value_stride].
  float* keys(int layer, int head, int64_t page) { return at(layer, head, page); }
  float* values(int layer, int head, int64_t page) { return at(layer, head, page) + layout_.keys_floats(); }
  KvPageView view(int layer, int head, int64_t page) const {
    const float* p = at(layer, head, page);
    return {p, p + layout_.keys_floats()};
  }

 private:
  float* at(int layer, int head, int64_t page) const {
    return pages_[static_cast<size_t>(page)]->f32() +
           (int64_t{layer} * layout_.kv_heads + head) * layout_.head_floats();
  }
  KvLayout layout_;
  int64_t length_ = 0;
  std::vector<std::shared_ptr<Buffer>> pages_;
};

}  // namespace onsight::compute
