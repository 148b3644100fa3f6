// Tensor: a view of numbers with a shape; it never owns. Buffer: owns 64-byte aligned memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "base/check.h"
#include "base/memory.h"
#include "compute/dtype.h"

namespace onsight::compute {

constexpr int kMaxRank = 5;

// Row-major extents, outermost first, at most kMaxRank of them.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) {
    for (int64_t e : extents) push_back(e);
  }
  void push_back(int64_t extent) {
    ONSIGHT_CHECK(rank_ < kMaxRank);
    extents_[rank_++] = extent;
  }
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[i < 0 ? i + rank_ : i]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extents_[i];
    return n;
  }
  bool operator==(const Shape& other) const { return rank_ == other.rank_ && extents_ == other.extents_; }
  std::string to_string() const {  // "[2, 3]"
    std::string out = "[";
    for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string(extents_[i]);
    return out + "]";
  }

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;

  int64_t bytes() const { return bytes_of(dtype, shape.elements()); }
  std::span<const float> f32() const {
    ONSIGHT_CHECK(dtype == DType::kF32);
    return {reinterpret_cast<const float*>(data), static_cast<size_t>(shape.elements())};
  }
};

template <class T>
Tensor view(DType dtype, Shape shape, const T* data) {
  return {dtype, shape, reinterpret_cast<const std::byte*>(data)};
}

// Owns `bytes` of memory aligned to 64 bytes, not initialised; large ones ask for huge pages, which weights are read a
// fifth faster from. Allocation failure throws std::bad_alloc, caught at the edge of a room.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    void* memory = nullptr;
    if (::posix_memalign(&memory, bytes >= kHugePage ? kHugePage : 64, (bytes + 63) / 64 * 64) != 0)
      throw std::bad_alloc();
    data_.reset(static_cast<std::byte*>(memory));
    prefer_huge_pages({data_.get(), bytes});
  }
  std::byte* data() const { return data_.get(); }
  float* f32() const { return reinterpret_cast<float*>(data_.get()); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t bytes_ = 0;
};

}  // namespace onsight::compute
