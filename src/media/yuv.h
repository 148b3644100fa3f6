// YCbCr planes of HEIC and AVIF -> RGB, with the arithmetic of the libraries behind PIL, whose rounding differs.
#pragma once

#include <cstdint>

#include "media/image.h"

namespace onsight::media {

// Planes of 8-bit samples, or of 16-bit words that hold `bits` bits. Chroma planes are missing from a grey picture.
struct YuvPlanes {
  int width = 0, height = 0;
  int bits = 8;
  int shift_x = 0, shift_y = 0;  // 1 where chroma has half the resolution
  bool has_chroma = true, has_alpha = false;
  bool chroma_is_repeated =
      false;  // its planes have the size of luma's all the same, each sample standing up to four times
  bool full_range = true;
  int matrix = 2, primaries = 2;  // as ITU-T H.273 numbers them; 2 is unspecified
  const uint8_t* planes[3] = {};
  int strides[3] = {};  // bytes

  uint32_t at(int plane, int x, int y) const;  // a sample
};

// As libavif with libyuv does for PIL: chroma in between is interpolated; 6 fractional bits. False, and nothing
// written, where libavif would take another way. `image` has the planes' size.
bool avif_to_rgb(const YuvPlanes& yuv, Image& image);
// As libheif 1.17 and later do for pillow-heif: the nearest chroma sample; 8 fractional bits. False for what they
// convert in floating point, which older versions do in the same way.
bool heic_to_rgb(const YuvPlanes& yuv, Image& image);

}  // namespace onsight::media
