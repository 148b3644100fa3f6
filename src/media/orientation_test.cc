#include "media/orientation.h"

#include <gtest/gtest.h>

#include <string>

namespace onsight::media {
namespace {

std::string exif(int orientation, int type = 3, int count = 1, bool little = true) {
  auto number = [little](uint32_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * (little ? i : bytes - 1 - i));
    return out;
  };
  std::string block = little ? std::string("II*\0", 4) : std::string("MM\0*", 4);
  block += number(8, 4) + number(2, 2);
  block += number(0x010F, 2) + number(2, 2) + number(4, 4) + std::string("abc\0", 4);  // another tag first
  block += number(0x0112, 2) + number(type, 2) + number(count, 4);
  block += type == 3 ? number(orientation, 2) + number(0, 2) : number(orientation, 4);
  return block + number(0, 4);
}

TEST(Orientation, IsFoundInEveryFormOfExif) {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    EXPECT_EQ(find_orientation(exif(orientation), {}), orientation);
    EXPECT_EQ(find_orientation(exif(orientation, 3, 1, false), {}), orientation);
    EXPECT_EQ(find_orientation(exif(orientation, 4), {}), orientation);
    EXPECT_EQ(find_orientation(std::string("Exif\0\0", 6) + exif(orientation), {}), orientation);
  }
}

TEST(Orientation, OddValuesMeanUpright) {
  EXPECT_EQ(find_orientation(exif(0), {}), 1);
  EXPECT_EQ(find_orientation(exif(9), {}), 1);
  EXPECT_EQ(find_orientation(exif(3, 1), {}), 1) << "a byte is no number to PIL";
  EXPECT_EQ(find_orientation(exif(3, 3, 2), {}), 1) << "two values are none";
  EXPECT_EQ(find_orientation({}, {}), 1);
  EXPECT_EQ(find_orientation("", ""), 1);
  EXPECT_EQ(find_orientation("nonsense, long enough", {}), 1);
}

TEST(Orientation, XmpCountsOnlyWhereExifIsSilent) {
  constexpr std::string_view kXmp = "<a tiff:Orientation='2' tiff:Orientation=\"6\"/>";
  EXPECT_EQ(find_orientation({}, kXmp), 6);
  EXPECT_EQ(find_orientation({}, "<tiff:Orientation>8</tiff:Orientation>"), 8);
  EXPECT_EQ(find_orientation(exif(1), kXmp), 1);
  EXPECT_EQ(find_orientation(exif(3, 99), kXmp), 6) << "a tag of unknown type is not there";
  EXPECT_EQ(find_orientation({}, "tiff:Orientation"), 1);
}

TEST(Orientation, CutExifIsSurvived) {
  std::string block = exif(6);
  for (size_t size = 0; size < block.size(); ++size) {
    int found = find_orientation(std::string_view(block).substr(0, size), {});
    EXPECT_TRUE(found == 1 || found == 6) << size;
  }
}

// Pixel (x, y) of the stored picture has the colour (x, y, 0).
Image numbered(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x)
      image.rgb.insert(image.rgb.end(), {static_cast<uint8_t>(x), static_cast<uint8_t>(y), 0});
  }
  return image;
}

// Where the stored pixel stands upright, by the definition of the eight values: where its row and column 0 are.
std::pair<int, int> place(int orientation, int x, int y, int width, int height) {
  switch (orientation) {
    case 2:
      return {width - 1 - x, y};
    case 3:
      return {width - 1 - x, height - 1 - y};
    case 4:
      return {x, height - 1 - y};
    case 5:
      return {y, x};
    case 6:
      return {height - 1 - y, x};
    case 7:
      return {height - 1 - y, width - 1 - x};
    case 8:
      return {y, width - 1 - x};
    default:
      return {x, y};
  }
}

TEST(Orientation, TurnsEveryPixelToItsPlace) {
  for (auto [width, height] :
       {std::pair(5, 3), std::pair(1, 1), std::pair(1, 7), std::pair(40, 70), std::pair(33, 64)}) {
    Image stored = numbered(width, height);
    for (int orientation = 1; orientation <= 8; ++orientation) {
      Image upright = make_upright(stored, orientation);
      ASSERT_EQ(upright.width, orientation < 5 ? width : height);
      ASSERT_EQ(upright.height, orientation < 5 ? height : width);
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          auto [to_x, to_y] = place(orientation, x, y, width, height);
          const uint8_t* pixel = upright.row(to_y) + to_x * 3;
          ASSERT_TRUE(pixel[0] == x && pixel[1] == y) << orientation << " at " << x << "," << y;
        }
      }
      UprightWriter writer(width, height, orientation);
      for (int y = 0; y < height; ++y) writer.append(stored.row(y));
      EXPECT_EQ(writer.finish().rgb, upright.rgb) << orientation;
    }
  }
}

}  // namespace
}  // namespace onsight::media
