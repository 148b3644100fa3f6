#include "media/glance.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace onsight::media {

Glance Glance::of(const Image& image) {
  Glance out;
  out.width_ = image.width;
  out.height_ = image.height;
  std::array<uint64_t, kCells * 3> sums{};
  const auto begin = [](int cell, int size) { return static_cast<int>(int64_t{cell} * size / kCells); };
  for (int cy = 0; cy < kCells; ++cy) {
    const int y0 = begin(cy, image.height), y1 = std::max(begin(cy + 1, image.height), std::min(y0 + 1, image.height));
    sums.fill(0);
    for (int y = y0; y < y1; ++y) {
      const uint8_t* row = image.row(y);
      for (int cx = 0; cx < kCells; ++cx) {
        const int x0 = begin(cx, image.width), x1 = std::max(begin(cx + 1, image.width), x0 + 1);
        for (int x = x0; x < std::min(x1, image.width); ++x)
          for (int c = 0; c < 3; ++c) {
            const int column = cx * 3 + c;
            sums[static_cast<size_t>(column)] += row[3 * x + c];
          }
      }
    }
    for (int cx = 0; cx < kCells; ++cx) {
      const int x0 = begin(cx, image.width), x1 = std::max(begin(cx + 1, image.width), x0 + 1);
      const auto pixels = static_cast<float>((std::min(x1, image.width) - x0) * (y1 - y0));
      for (int c = 0; c < 3; ++c) {
        const int column = cx * 3 + c, cell = cy * kCells * 3 + column;
        out.means_[static_cast<size_t>(cell)] = static_cast<float>(sums[static_cast<size_t>(column)]) / pixels;
      }
    }
  }
  return out;
}

double Glance::difference(const Glance& other) const {
  if (width_ != other.width_ || height_ != other.height_) return 255;
  float largest = 0;
  for (size_t i = 0; i < means_.size(); ++i) largest = std::max(largest, std::abs(means_[i] - other.means_[i]));
  return largest;
}

}  // namespace onsight::media
