// Pixels of another program's array, with whatever strides it has, as a picture.
//
//   TRY(Image image, copy_pixels({.data = first, .shape = {480, 640, 3}, .strides = {1920, 3, 1}}, "images"));
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "media/image.h"

namespace onsight::media {

struct Pixels {
  const uint8_t* data = nullptr;
  std::vector<int64_t> shape, strides;  // strides: in bytes
};

// [H, W] and [H, W, 1] are grey, [H, W, 3] is RGB, [H, W, 4] the same and one that is left out. `where` names the array
// in errors.
Result<Image> copy_pixels(const Pixels& pixels, std::string_view where);

}  // namespace onsight::media
