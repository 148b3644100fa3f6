#include "media/pixels.h"

#include <fmt/ranges.h>

#include <cstring>

namespace onsight::media {

Result<Image> copy_pixels(const Pixels& pixels, std::string_view where) {
  const std::vector<int64_t>& shape = pixels.shape;
  const int64_t channels = shape.size() == 2 ? 1 : shape.size() == 3 ? shape[2] : 0;
  if (channels != 1 && channels != 3 && channels != 4)
    return bad_input(
        "{}: expected pixels [height, width, 3], [height, width, 4], [height, width, 1] or [height, width], "
        "found [{}]",
        where, fmt::join(shape, ", "));
  const bool grey = channels == 1;
  const int64_t height = shape[0], width = shape[1], most = DecodeLimits{}.max_pixels;
  if (height < 1 || width < 1)
    return bad_input("{}: expected at least one pixel, found [{}]", where, fmt::join(shape, ", "));
  if (height > most / width) return bad_input("{}: {} x {} pixels, expected at most {}", where, width, height, most);

  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.rgb.resize(static_cast<size_t>(height * width * 3));
  const int64_t next_row = pixels.strides[0], next_pixel = pixels.strides[1];
  const int64_t next_channel = grey ? 0 : pixels.strides[2];
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* from = pixels.data + y * next_row;
    uint8_t* to = image.row(static_cast<int>(y));
    if (!grey && next_channel == 1 && next_pixel == 3) {
      std::memcpy(to, from, static_cast<size_t>(width) * 3);
      continue;
    }
    for (int64_t x = 0; x < width; ++x, from += next_pixel)
      for (int64_t c = 0; c < 3; ++c) *to++ = from[c * next_channel];
  }
  return image;
}

}  // namespace onsight::media
