#include "media/glance.h"

#include <gtest/gtest.h>

#include <random>

namespace onsight::media {
namespace {

Image noisy(int width, int height, unsigned seed, int amplitude) {
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3, 128)};
  std::mt19937 random(seed);
  for (uint8_t& value : out.rgb)
    value =
        static_cast<uint8_t>(128 + static_cast<int>(random() % static_cast<unsigned>(2 * amplitude + 1)) - amplitude);
  return out;
}

TEST(Glance, NoiseIsNoChangeAndAThingIs) {
  const Image before = noisy(640, 480, 1, 12);
  Image after = noisy(640, 480, 2, 12);
  EXPECT_LT(Glance::of(after).difference(Glance::of(before)), 4);
  EXPECT_EQ(Glance::of(before).difference(Glance::of(before)), 0);
  for (int y = 100; y < 130; ++y)  // a thing of a twentieth of the width
    for (int x = 300; x < 332; ++x) after.row(y)[3 * x] = 255;
  EXPECT_GT(Glance::of(after).difference(Glance::of(before)), 30);
}

TEST(Glance, AnySize) {
  for (const auto& [width, height] : {std::pair(1, 1), {1, 100}, {31, 33}, {32, 32}, {33, 7}}) {
    const Image image = noisy(width, height, 3, 0);
    EXPECT_EQ(Glance::of(image).difference(Glance::of(image)), 0);
    Image other = image;
    other.rgb.back() = 255;  // the last pixel belongs to a cell
    EXPECT_GT(Glance::of(other).difference(Glance::of(image)), 0) << width << "x" << height;
  }
  EXPECT_EQ(Glance::of(noisy(4, 8, 1, 0)).difference(Glance::of(noisy(8, 4, 1, 0))), 255);
}

}  // namespace
}  // namespace onsight::media
