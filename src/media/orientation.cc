#include "media/orientation.h"

#include <algorithm>
#include <cstring>

#include "media/decoders.h"

namespace onsight::media {
namespace {

constexpr int kOrientationTag = 0x0112;
constexpr int64_t kTurnedRows = 32;  // 32 pixels of a column are 96 bytes: whole cache lines when rows become columns

uint32_t read_number(std::string_view bytes, size_t offset, int count, bool little_endian) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) {
    int from = little_endian ? count - 1 - i : i;
    value = value << 8 | static_cast<uint8_t>(bytes[offset + from]);
  }
  return value;
}

// The tag's value in the first directory of a TIFF structure; none if the tag is not there, 0 if it is no number.
std::optional<uint32_t> orientation_in_tiff(std::string_view tiff) {
  if (tiff.size() < 8) return {};
  bool little = tiff.starts_with("II");
  if (!little && !tiff.starts_with("MM")) return {};
  size_t directory = read_number(tiff, 4, 4, little);
  if (directory + 2 > tiff.size()) return {};
  size_t entries = read_number(tiff, directory, 2, little);
  for (size_t i = 0; i < entries; ++i) {
    size_t at = directory + 2 + i * 12;
    if (at + 12 > tiff.size()) break;
    if (read_number(tiff, at, 2, little) != kOrientationTag) continue;
    uint32_t type = read_number(tiff, at + 2, 2, little), count = read_number(tiff, at + 4, 4, little);
    if (count == 0 || type == 0 || type > 13) continue;
    if (count > 1) return 0;
    if (type == 3 || type == 8) return read_number(tiff, at + 8, 2, little);
    if (type == 4 || type == 9 || type == 13) return read_number(tiff, at + 8, 4, little);
    if (type == 6) return static_cast<uint8_t>(tiff[at + 8]);
    return 0;
  }
  return {};
}

std::optional<uint32_t> orientation_in_xmp(std::string_view xmp) {
  constexpr std::string_view kKey = "tiff:Orientation";
  for (size_t at = xmp.find(kKey); at != xmp.npos; at = xmp.find(kKey, at + 1)) {
    std::string_view rest = xmp.substr(at + kKey.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with(">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return {};
}

bool is_quarter_turn(int orientation) { return orientation >= 5; }
// In an upright picture made by a quarter turn: stored row y becomes a column, and stored column x a row.
bool row_becomes_column_from_right(int orientation) { return orientation == 6 || orientation == 7; }
bool column_becomes_row_from_bottom(int orientation) { return orientation == 7 || orientation == 8; }

// Writes stored rows [first, first + rows) of a picture `width` wide into the columns where they stand upright.
void write_as_columns(const uint8_t* stored, int64_t width, int64_t first, int64_t rows, int64_t height,
                      int orientation, Image& upright) {
  bool from_right = row_becomes_column_from_right(orientation),
       from_bottom = column_becomes_row_from_bottom(orientation);
  int64_t left = from_right ? height - first - rows : first;
  for (int64_t x = 0; x < width; ++x) {
    uint8_t* out = upright.row(static_cast<int>(from_bottom ? width - 1 - x : x)) + left * 3;
    for (int64_t i = 0; i < rows; ++i) {
      const uint8_t* pixel = stored + ((from_right ? rows - 1 - i : i) * width + x) * 3;
      out[0] = pixel[0];
      out[1] = pixel[1];
      out[2] = pixel[2];
      out += 3;
    }
  }
}

void mirror_row(uint8_t* row, int64_t width) {
  for (int64_t a = 0, b = width - 1; a < b; ++a, --b) std::swap_ranges(row + a * 3, row + a * 3 + 3, row + b * 3);
}

}  // namespace

int find_orientation(std::optional<std::string_view> exif, std::optional<std::string_view> xmp) {
  std::optional<uint32_t> found;
  if (exif) {
    constexpr std::string_view kPrefix("Exif\0\0", 6);
    for (int i = 0; i < 2 && exif->starts_with(kPrefix); ++i) exif->remove_prefix(kPrefix.size());
    found = orientation_in_tiff(*exif);
  }
  if (!found && xmp) found = orientation_in_xmp(*xmp);
  return found && *found >= 1 && *found <= 8 ? static_cast<int>(*found) : 1;
}

Image make_upright(Image image, int orientation) {
  if (is_quarter_turn(orientation)) {
    Image upright = blank_image(image.height, image.width);
    for (int y = 0; y < image.height; y += kTurnedRows) {
      int64_t rows = std::min<int64_t>(kTurnedRows, image.height - y);
      write_as_columns(image.row(y), image.width, y, rows, image.height, orientation, upright);
    }
    return upright;
  }
  if (orientation == 2 || orientation == 3) {
    for (int y = 0; y < image.height; ++y) mirror_row(image.row(y), image.width);
  }
  if (orientation == 3 || orientation == 4) {
    for (int a = 0, b = image.height - 1; a < b; ++a, --b) {
      std::swap_ranges(image.row(a), image.row(a) + static_cast<size_t>(image.width) * 3, image.row(b));
    }
  }
  return image;
}

UprightWriter::UprightWriter(int64_t width, int64_t height, int orientation)
    : width_(width), height_(height), orientation_(orientation) {
  if (is_quarter_turn(orientation)) {
    band_.reserve(static_cast<size_t>(width * 3 * std::min(kTurnedRows, height)));
    image_ = blank_image(height, width);
  } else {
    image_ = growing_image(width, height);
  }
}

void UprightWriter::append(const uint8_t* rgb) {
  if (!is_quarter_turn(orientation_)) return append_row(image_, rgb);
  band_.insert(band_.end(), rgb, rgb + width_ * 3);
  if (static_cast<int64_t>(band_.size()) == width_ * 3 * kTurnedRows) flush();
}

void UprightWriter::flush() {
  int64_t rows = static_cast<int64_t>(band_.size()) / (width_ * 3);
  write_as_columns(band_.data(), width_, written_, rows, height_, orientation_, image_);
  written_ += rows;
  band_.clear();
}

Image UprightWriter::finish() {
  if (!is_quarter_turn(orientation_)) return make_upright(std::move(image_), orientation_);
  flush();
  return std::move(image_);
}

}  // namespace onsight::media
