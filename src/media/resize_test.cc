#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "media/image.h"

namespace onsight::media {
namespace {

// The same picture as noise() of tests/data/media/make.py.
Image noise(int width, int height) {
  Image image{width, height, {}};
  uint32_t x = static_cast<uint32_t>(width) * 65536 + static_cast<uint32_t>(height);
  for (int i = 0; i < width * height * 3; ++i) {
    x = x * 1664525 + 1013904223;
    image.rgb.push_back(static_cast<uint8_t>(x >> 24));
  }
  return image;
}

uint64_t hash_of(const Image& image) {
  uint64_t hash = 0xCBF29CE484222325;
  for (uint8_t byte : image.rgb) hash = (hash ^ byte) * 0x100000001B3;
  return hash;
}

TEST(Resize, EqualsPil) {
  std::ifstream goldens(ONSIGHT_SOURCE_DIR "/tests/data/media/resizes.txt");
  int width, height, to_width, to_height, filter, count = 0;
  std::string hash;
  while (goldens >> width >> height >> to_width >> to_height >> filter >> hash) {
    Image image = resize(noise(width, height), to_width, to_height, static_cast<Resample>(filter));
    EXPECT_EQ(image.width, to_width);
    EXPECT_EQ(image.height, to_height);
    EXPECT_EQ(hash_of(image), std::stoull(hash, nullptr, 16))
        << width << "x" << height << " to " << to_width << "x" << to_height << " by filter " << filter;
    ++count;
  }
  EXPECT_EQ(count, 96);
}

TEST(Resize, OneColorStaysThatColor) {
  Image image{150, 90, std::vector<uint8_t>(150 * 90 * 3, 200)};
  for (int filter = 0; filter < 6; ++filter) {
    for (auto [width, height] : {std::pair(11, 400), std::pair(400, 11), std::pair(151, 89), std::pair(1, 1)}) {
      Image out = resize(image, width, height, static_cast<Resample>(filter));
      EXPECT_EQ(out.rgb, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3, 200));
    }
  }
}

TEST(Resize, LongThinPicturesNeedLittleMemory) {
  // A window of rows is held between the passes, not the whole picture: 2048 pixels of 2,000,000 rows would be 12 GB.
  Image tall{1, 2'000'000, std::vector<uint8_t>(size_t{2'000'000} * 3, 7)};
  EXPECT_EQ(resize(tall, 2048, 3'000'000 / 1000, Resample::kLanczos).rgb.front(), 7);
  Image wide{2'000'000, 1, std::vector<uint8_t>(size_t{2'000'000} * 3, 9)};
  EXPECT_EQ(resize(wide, 3, 2, Resample::kLanczos).rgb.back(), 9);
}

}  // namespace
}  // namespace onsight::media
