// Inside the room: where in a TIFF its pages are described.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::media {

// A file that is read where it is needed. `read` returns how many bytes there were.
struct TiffBytes {
  std::function<size_t(uint64_t offset, void* out, size_t size)> read;
  uint64_t size = 0;
};
TiffBytes tiff_in_memory(std::string_view bytes);

struct TiffPages {
  std::vector<uint64_t> directories;  // offsets, one a page
  bool loops = false;                 // behind the last stands one that was there before
};

// Follows the chain of directories as far as it can be read; of what is no TIFF, no pages.
Result<TiffPages> find_tiff_pages(const TiffBytes& file, std::string_view name);

}  // namespace onsight::media
