#include "media/tiff_pages.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace onsight::media {
namespace {

constexpr size_t kMaxDirectories = 65'536;

// The numbers of a TIFF, in its byte order and with its width of offsets.
class TiffNumbers {
 public:
  explicit TiffNumbers(const TiffBytes& file) : file_(file) {
    char start[4] = {};
    if (file.read(0, start, 4) != 4) return;
    const std::string_view magic(start, 4);
    little_ = magic.starts_with("II");
    big_ = magic == std::string_view("II+\0", 4) || magic == std::string_view("MM\0+", 4);
    known_ = big_ || magic == std::string_view("II*\0", 4) || magic == std::string_view("MM\0*", 4);
  }

  bool is_tiff() const { return known_; }
  // False if the file ends before.
  bool read(uint64_t offset, int bytes, uint64_t& value) const {
    uint8_t raw[8];
    if (file_.read(offset, raw, static_cast<size_t>(bytes)) != static_cast<size_t>(bytes)) return false;
    value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | raw[little_ ? bytes - 1 - i : i];
    return true;
  }
  bool read_first(uint64_t& directory) const { return read(big_ ? 8 : 4, offset_bytes(), directory); }
  // Where the directory behind this one begins; 0: there is none.
  bool read_next(uint64_t directory, uint64_t& next) const {
    uint64_t entries = 0;
    // No more than libtiff reads of one.
    if (!read(directory, count_bytes(), entries) || entries > 65'535) return false;
    return read(directory + count_bytes() + entries * (big_ ? 20 : 12), offset_bytes(), next);
  }
  // Tags ascend, and those that say what kind of picture this is are the lowest.
  bool is_page(uint64_t directory) const {
    uint64_t entries = 0, tag = 0, type = 0, value = 0;
    const uint64_t entry = directory + count_bytes();
    if (!read(directory, count_bytes(), entries) || entries == 0 || !read(entry, 2, tag) || !read(entry + 2, 2, type) ||
        !read(entry + (big_ ? 12 : 8), type == 3 ? 2 : 4, value)) {
      return true;  // broken, which its decoder says
    }
    constexpr uint64_t kNewSubfileType = 254, kSubfileType = 255;
    if (tag == kNewSubfileType) return (value & 5) == 0;  // bit 0: a smaller copy, bit 2: a mask
    return tag != kSubfileType || value != 2;             // 2: a smaller copy
  }

 private:
  int offset_bytes() const { return big_ ? 8 : 4; }
  int count_bytes() const { return big_ ? 8 : 2; }

  const TiffBytes& file_;
  bool known_ = false, little_ = false, big_ = false;
};

}  // namespace

TiffBytes tiff_in_memory(std::string_view bytes) {
  const auto read = [bytes](uint64_t offset, void* out, size_t size) -> size_t {
    if (offset >= bytes.size()) return 0;
    const size_t there = std::min<uint64_t>(size, bytes.size() - offset);
    std::memcpy(out, bytes.data() + offset, there);
    return there;
  };
  return {.read = read, .size = bytes.size()};
}

Result<TiffPages> find_tiff_pages(const TiffBytes& file, std::string_view name) {
  const TiffNumbers numbers(file);
  TiffPages pages;
  uint64_t directory = 0;
  if (!numbers.is_tiff() || !numbers.read_first(directory)) return pages;
  std::unordered_set<uint64_t> seen;
  while (directory != 0) {
    if (!seen.insert(directory).second) {
      pages.loops = true;
      break;
    }
    if (seen.size() > kMaxDirectories)
      return bad_input("{}: a TIFF of more than {} directories, expected at most as many", name, kMaxDirectories);
    if (pages.directories.empty() || numbers.is_page(directory)) pages.directories.push_back(directory);
    if (!numbers.read_next(directory, directory)) break;
  }
  return pages;
}

}  // namespace onsight::media
