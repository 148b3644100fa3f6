// What the boxes of a HEIC or AVIF file say about one of its items and libheif (up to 1.16) does not tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace onsight::media {

// A rotation or mirroring, given as the EXIF orientation that undoes it, or a crop to a rectangle.
struct HeifChange {
  int turn = 0;  // 0: a crop
  double width = 0, height = 0;
  double off_center_x = 0, off_center_y = 0;  // from the picture's centre to the rectangle's
};

struct HeifProperties {
  std::vector<HeifChange> changes;  // in the order in which they apply
  bool is_coded = false;            // a picture of its own, not put together from others
  int shift_x = 0, shift_y = 0;     // of a coded picture: 1 where chroma has half the resolution
  bool has_chroma = true;
  // How to make RGB of it, numbered as in ITU-T H.273.
  bool has_matrix = false;
  int primaries = 2, matrix = 2;
  bool full_range = true;
  std::vector<size_t>
      matrix_offsets;  // where the file names a matrix (2 bytes) and the range (1 byte), for any of its items
};

// None if the boxes cannot be followed.
std::optional<HeifProperties> read_heif_properties(std::string_view bytes, uint32_t item);

}  // namespace onsight::media
