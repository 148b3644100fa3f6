// Rows of TIFF samples -> RGB, for every kind of pixel that PIL reads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace onsight::media {

// What a TIFF directory says about its pixels.
struct TiffLayout {
  uint16_t photometric = 0;  // 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr
  uint16_t bits = 1, samples = 1;
  uint16_t sample_format = 1;  // 1 unsigned, 2 signed, 3 floating point
  uint16_t extra_samples = 0;
  bool premultiplied = false;  // the first extra sample is alpha that the colours were multiplied by
  std::array<std::array<uint8_t, 3>, 256> colors{};  // of a palette
};

// A way to turn a row of `width` pixels, their samples interleaved and in the machine's byte order, into RGB.
using TiffRowReader = void (*)(const TiffLayout&, const uint8_t* in, int64_t width, uint8_t* rgb);
// None if PIL does not read such pixels either.
std::optional<TiffRowReader> find_row_reader(const TiffLayout& layout);

}  // namespace onsight::media
