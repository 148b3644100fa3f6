// Glance: how a picture looks from afar, to tell whether another one shows anything else.
//
//   const Glance before = Glance::of(first);
//   if (Glance::of(second).difference(before) < 8) …  // noise, or nothing
#pragma once

#include <array>

#include "media/image.h"

namespace onsight::media {

class Glance {
 public:
  static Glance of(const Image& image);
  // The largest difference of a cell's mean colour, in steps of 8-bit pixels: noise averages out, and what is as large
  // as a cell does not. 255 between pictures of unlike sizes.
  double difference(const Glance& other) const;

 private:
  static constexpr int kCells = 32;  // across, and down
  int width_ = 0, height_ = 0;
  std::array<float, kCells * kCells * 3> means_{};
};

}  // namespace onsight::media
