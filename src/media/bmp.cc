#include <array>
#include <cstring>

#include "media/decoders.h"

// Windows bitmaps, in the variants that PIL reads: headers of
// OS/2 1 to Windows 5, 1 to 32 bits, RLE, the usual bit fields.

namespace onsight::media {
namespace {

enum : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

uint32_t number(std::string_view bytes, size_t offset, int count) {
  uint32_t value = 0;
  for (int i = count; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[offset + i]);
  return value;
}

struct Header {
  int64_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0, compression = kRaw;
  uint8_t colors[256][3] = {};
  uint32_t masks[4] = {};  // red, green, blue, alpha
  size_t pixels = 0;       // offset of the first row
};

Result<Header> read_header(const Source& source) {
  std::string_view bytes = source.bytes;
  if (bytes.size() < 18) return corrupt(source, "BMP", "");
  uint32_t size = number(bytes, 14, 4);
  bool known = size == 12 || size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124;
  if (!known)
    return bad_input("{}: BMP header of {} bytes, expected 12, 40, 52, 56, 64, 108 or 124", source.name, size);
  size_t end = 14 + size_t{size};
  if (bytes.size() < end) return corrupt(source, "BMP", "");
  Header header;
  uint32_t color_count = 0, color_bytes = 4;
  if (size == 12) {
    header.width = number(bytes, 18, 2);
    header.height = number(bytes, 20, 2);
    header.bits = number(bytes, 24, 2);
    color_bytes = 3;
  } else {
    header.width = number(bytes, 18, 4);
    uint32_t height = number(bytes, 22, 4);
    header.top_down = height >> 24 == 0xFF;
    header.height = header.top_down ? (int64_t{1} << 32) - height : height;
    header.bits = number(bytes, 28, 2);
    header.compression = number(bytes, 30, 4);
    color_count = number(bytes, 46, 4);
  }
  if (header.bits != 1 && header.bits != 4 && header.bits != 8 && header.bits != 16 && header.bits != 24 &&
      header.bits != 32) {
    return bad_input("{}: BMP of {} bits a pixel, expected 1, 4, 8, 16, 24 or 32", source.name, header.bits);
  }
  if (header.compression == kBitFields) {
    int masks = size >= 56 ? 4 : 3;
    if (size == 40) {
      if (bytes.size() < end + 12) return corrupt(source, "BMP", "");
      end += 12;  // a header of 40 bytes has the masks behind it, longer ones hold them
    }
    for (int i = 0; i < masks; ++i) header.masks[i] = number(bytes, 54 + size_t{4} * i, 4);
  }
  header.pixels = number(bytes, 10, 4);
  if (header.bits <= 8) {
    if (color_count == 0) color_count = 1U << header.bits;
    if (color_count > 256) return bad_input("{}: BMP of {} colours, expected at most 256", source.name, color_count);
    size_t colors_end = end + size_t{color_bytes} * color_count;
    if (bytes.size() < colors_end) return corrupt(source, "BMP", "");
    for (uint32_t i = 0; i < color_count; ++i) {
      for (int c = 0; c < 3; ++c)
        header.colors[i][c] = static_cast<uint8_t>(bytes[end + size_t{color_bytes} * i + 2 - c]);
    }
    // Some writers let the pixels start at the colours, or nowhere.
    if (header.pixels == 0 || header.pixels == 14 + size_t{size}) header.pixels = colors_end;
  } else if (header.pixels == 0) {
    header.pixels = end;
  }
  return header;
}

// How to take red, green and blue out of a pixel of 16, 24 or 32 bits.
struct Fields {
  int shifts[3];
  uint32_t maxima[3];
};

Result<Fields> find_fields(const Source& source, const Header& header) {
  constexpr Fields kBgr = {{16, 8, 0}, {255, 255, 255}}, kBgr15 = {{10, 5, 0}, {31, 31, 31}};
  if (header.compression == kRaw) return header.bits == 16 ? kBgr15 : kBgr;
  struct Layout {
    uint32_t bits;
    std::array<uint32_t, 4> masks;
    Fields fields;
  };
  static constexpr Layout kLayouts[] = {
      {32, {0xFF0000, 0xFF00, 0xFF, 0}, kBgr},
      {32, {0xFF0000, 0xFF00, 0xFF, 0xFF000000}, kBgr},
      {32, {0, 0, 0, 0}, kBgr},
      {32, {0xFF000000, 0xFF0000, 0xFF00, 0}, {{24, 16, 8}, {255, 255, 255}}},
      {32, {0xFF000000, 0xFF0000, 0xFF00, 0xFF}, {{24, 16, 8}, {255, 255, 255}}},
      {32, {0xFF000000, 0xFF00, 0xFF, 0}, {{24, 8, 0}, {255, 255, 255}}},
      {32, {0xFF000000, 0xFF00, 0xFF, 0xFF0000}, {{24, 8, 0}, {255, 255, 255}}},
      {32, {0xFF, 0xFF00, 0xFF0000, 0xFF000000}, {{0, 8, 16}, {255, 255, 255}}},
      {24, {0xFF0000, 0xFF00, 0xFF, 0}, kBgr},
      {16, {0xF800, 0x7E0, 0x1F, 0}, {{11, 5, 0}, {31, 63, 31}}},
      {16, {0x7C00, 0x3E0, 0x1F, 0}, kBgr15},
  };
  for (const Layout& layout : kLayouts) {
    bool same = layout.bits == header.bits;
    for (int i = 0; i < (header.bits == 32 ? 4 : 3); ++i) same = same && layout.masks[i] == header.masks[i];
    if (same) return layout.fields;
  }
  return bad_input("{}: BMP bit fields {:x} {:x} {:x} {:x} of {} bits, expected a usual order of channels", source.name,
                   header.masks[0], header.masks[1], header.masks[2], header.masks[3], header.bits);
}

void read_indexed_row(const uint8_t* in, const Header& header, uint8_t* out) {
  int bits = static_cast<int>(header.bits), per_byte = 8 / bits, mask = (1 << bits) - 1;
  for (int64_t x = 0; x < header.width; ++x, out += 3) {
    int shift = 8 - bits - static_cast<int>(x % per_byte) * bits;
    std::memcpy(out, header.colors[in[x / per_byte] >> shift & mask], 3);
  }
}

void read_field_row(const uint8_t* in, const Header& header, const Fields& fields, uint8_t* out) {
  int bytes = static_cast<int>(header.bits / 8);
  if (bytes > 2) {
    for (int64_t x = 0; x < header.width; ++x, in += bytes) {
      for (int shift : fields.shifts) *out++ = in[shift / 8];
    }
    return;
  }
  for (int64_t x = 0; x < header.width; ++x, in += 2) {
    uint32_t pixel = in[0] | in[1] << 8;
    for (int c = 0; c < 3; ++c) {
      *out++ = static_cast<uint8_t>((pixel >> fields.shifts[c] & fields.maxima[c]) * 255 / fields.maxima[c]);
    }
  }
}

Result<Image> read_rows(const Source& source, const Header& header) {
  uint64_t stride = (static_cast<uint64_t>(header.width) * header.bits + 31) / 32 * 4;
  // The padding of the last row may be missing.
  uint64_t needed = stride * (header.height - 1) + (static_cast<uint64_t>(header.width) * header.bits + 7) / 8;
  if (header.pixels > source.size() || source.size() - header.pixels < needed) return corrupt(source, "BMP", "");
  Fields fields{};
  if (header.bits > 8) {
    TRY(fields, find_fields(source, header));
  }
  Image image = blank_image(header.width, header.height);
  for (int64_t y = 0; y < header.height; ++y) {
    const uint8_t* in = source.data() + header.pixels + stride * y;
    uint8_t* out = image.row(static_cast<int>(header.top_down ? y : header.height - 1 - y));
    if (header.bits <= 8) {
      read_indexed_row(in, header, out);
    } else {
      read_field_row(in, header, fields, out);
    }
  }
  return image;
}

// Run lengths, read as PIL reads them: pixels follow each other
// through the rows, and what a jump passes over has index 0.
Result<std::vector<uint8_t>> read_runs(const Source& source, const Header& header) {
  size_t total = static_cast<size_t>(header.width) * header.height, width = static_cast<size_t>(header.width), x = 0;
  bool nibbles = header.compression == kRle4;
  std::vector<uint8_t> indices;
  size_t at = header.pixels;
  auto byte = [&](size_t i) { return static_cast<uint8_t>(source.bytes[i]); };
  while (indices.size() < total && at + 2 <= source.size()) {
    size_t count = byte(at), value = byte(at + 1);
    at += 2;
    if (count > 0) {
      if (x + count > width) count = x < width ? width - x : 0;
      for (size_t i = 0; i < count; ++i) {
        indices.push_back(static_cast<uint8_t>(!nibbles ? value : i % 2 == 0 ? value >> 4 : value & 15));
      }
      x += count;
    } else if (value == 0) {
      indices.resize((indices.size() + width - 1) / width * width);
      x = 0;
    } else if (value == 1) {
      break;
    } else if (value == 2) {
      if (at + 2 > source.size()) break;
      indices.resize(indices.size() + std::min(total - indices.size(), byte(at) + byte(at + 1) * width));
      at += 2;
      x = indices.size() % width;
    } else {
      size_t pixels = std::min(total - indices.size(), value), bytes = nibbles ? (pixels + 1) / 2 : pixels;
      if (at + bytes > source.size()) break;
      for (size_t i = 0; i < pixels; ++i) {
        indices.push_back(static_cast<uint8_t>(!nibbles     ? byte(at + i)
                                               : i % 2 == 0 ? byte(at + i / 2) >> 4
                                                            : byte(at + i / 2) & 15));
      }
      at += bytes;
      x += value;
      at += at % 2;  // runs start at even offsets of the file
    }
  }
  if (indices.size() < total) return corrupt(source, "BMP", "");
  return indices;
}

Result<Image> read_run_rows(const Source& source, const Header& header) {
  if (header.bits > 8) return bad_input("{}: BMP run lengths of {} bits, expected 4 or 8", source.name, header.bits);
  TRY(std::vector<uint8_t> indices, read_runs(source, header));
  Image image = blank_image(header.width, header.height);
  for (int64_t y = 0; y < header.height; ++y) {
    uint8_t* out = image.row(static_cast<int>(header.top_down ? y : header.height - 1 - y));
    for (int64_t x = 0; x < header.width; ++x)
      std::memcpy(out + x * 3, header.colors[indices[y * header.width + x]], 3);
  }
  return image;
}

}  // namespace

Result<Image> decode_bmp(const Source& source) {
  TRY(Header header, read_header(source));
  TRY_STATUS(check_size(source, header.width, header.height));
  switch (header.compression) {
    case kRaw:
      return read_rows(source, header);
    case kBitFields:
      if (header.bits > 8) return read_rows(source, header);
      return bad_input("{}: BMP bit fields of {} bits, expected 16, 24 or 32", source.name, header.bits);
    case kRle8:
    case kRle4:
      return read_run_rows(source, header);
    default:
      return bad_input("{}: BMP compression {}, expected none, run lengths or bit fields", source.name,
                       header.compression);
  }
}

}  // namespace onsight::media
