// Pictures: outside bytes -> exact 8-bit RGB pixels, and PIL's resampling.
//
//   TRY(Image image, decode_image(bytes, "photo.jpg"));            // JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF
//   Image small = resize(image, 512, 384, Resample::kLanczos);     // equal to PIL.Image.resize, bit for bit
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::media {

// 8-bit RGB, interleaved [height, width, 3], no padding between rows.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;
  const uint8_t* row(int y) const { return rgb.data() + static_cast<size_t>(y) * width * 3; }
  uint8_t* row(int y) { return rgb.data() + static_cast<size_t>(y) * width * 3; }
};

// PIL's filter ids, as preprocessor_config.json's "resample" holds them.
enum class Resample { kNearest = 0, kLanczos = 1, kBilinear = 2, kBicubic = 3, kBox = 4, kHamming = 5 };

struct DecodeLimits {
  // A larger picture is refused before its pixels are allocated (PIL's decompression-bomb bound).
  int64_t max_pixels = 179'000'000;
};

// Refuses what no picture begins with. The first 4096 bytes are enough, so that nobody reads the rest in vain.
Status check_format(std::string_view bytes, std::string_view name);

// Decodes the first frame, applies the EXIF orientation and converts to RGB exactly
// as transformers.image_utils.load_image does (PIL.ImageOps.exif_transpose, then
// convert("RGB")). `name` is used in error messages.
Result<Image> decode_image(std::string_view bytes, std::string_view name, const DecodeLimits& limits = {});

// PIL.Image.resize((width, height), filter) on 8-bit pixels: two passes with rounding between, in PIL's fixed point and
// in the order that PIL takes them since version 13. width and height are at least 1.
Image resize(const Image& source, int width, int height, Resample filter);

}  // namespace onsight::media
