// Which way up a picture stands, and turning it.
#pragma once

#include <optional>
#include <string_view>

#include "media/image.h"

namespace onsight::media {

// The EXIF orientation 1..8 that PIL.ImageOps.exif_transpose would act on: the one
// in the EXIF block (with or without its "Exif\0\0" prefix) if it holds that tag
// at all, otherwise tiff:Orientation of the XMP text. Anything unreadable is 1.
int find_orientation(std::optional<std::string_view> exif, std::optional<std::string_view> xmp);

// Turns and mirrors a picture stored with this orientation
// upright. Mirrors in place; a quarter turn takes a second copy.
Image make_upright(Image image, int orientation);

// Takes rows from top to bottom as stored and puts them where they stand upright, without a second picture.
class UprightWriter {
 public:
  UprightWriter(int64_t width, int64_t height, int orientation);
  void append(const uint8_t* rgb);  // width pixels
  Image finish();

 private:
  void flush();
  int64_t width_, height_;  // as stored
  int orientation_;
  int64_t written_ = 0;        // stored rows already in image_
  std::vector<uint8_t> band_;  // rows that wait for enough neighbours to be written as columns
  Image image_;
};

}  // namespace onsight::media
