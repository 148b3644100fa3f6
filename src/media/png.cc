#include <png.h>

#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "media/decoders.h"
#include "media/orientation.h"

// libpng reports errors by a jump. Each function below that
// sets the jump's target holds nothing that needs a destructor.

namespace onsight::media {
namespace {

struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view rest;
  size_t most_bytes = 0;  // that libpng may ask for at once; a chunk may claim any length
  std::jmp_buf jump;
  char message[128] = "";

  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  PngReader& reader = *static_cast<PngReader*>(png_get_error_ptr(png));
  std::strncpy(reader.message, message, sizeof(reader.message) - 1);
  std::longjmp(reader.jump, 1);
}
void on_warning(png_structp, png_const_charp) {}

void* allocate(png_structp png, png_alloc_size_t bytes) {
  return bytes <= static_cast<PngReader*>(png_get_mem_ptr(png))->most_bytes ? std::malloc(bytes) : nullptr;
}
void release(png_structp, void* bytes) { std::free(bytes); }

void read_bytes(png_structp png, png_bytep out, size_t count) {
  PngReader& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
  if (reader.rest.size() < count) png_error(png, "it ends early");
  std::memcpy(out, reader.rest.data(), count);
  reader.rest.remove_prefix(count);
}

bool read_header(PngReader& reader) {
  reader.most_bytes = reader.rest.size() + (1 << 20);
  if (setjmp(reader.jump)) return false;
  reader.png =
      png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning, &reader, allocate, release);
  if (!reader.png) return false;
  reader.info = png_create_info_struct(reader.png);
  if (!reader.info) return false;
  png_set_read_fn(reader.png, &reader, read_bytes);
  png_set_user_limits(reader.png, INT32_MAX, INT32_MAX);  // check_size() decides
  png_set_chunk_malloc_max(reader.png, 16 << 20);
  png_set_benign_errors(reader.png, 1);
  png_set_check_for_invalid_index(reader.png, 0);
  png_set_option(reader.png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
  png_read_info(reader.png, reader.info);
  return true;
}

// Asks for one byte a sample, indices for palettes and no alpha;
// 16-bit grey stays as it is. Returns the passes, 0 on error.
int prepare(PngReader& reader) {
  if (setjmp(reader.jump)) return 0;
  int type = png_get_color_type(reader.png, reader.info), bits = png_get_bit_depth(reader.png, reader.info);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_packing(reader.png);
  if (type == PNG_COLOR_TYPE_GRAY && bits < 8) png_set_expand_gray_1_2_4_to_8(reader.png);
  if (type != PNG_COLOR_TYPE_GRAY && bits == 16) png_set_strip_16(reader.png);
  png_set_strip_alpha(reader.png);
  int passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return passes;
}

bool read_row(PngReader& reader, uint8_t* row) {
  if (setjmp(reader.jump)) return false;
  png_read_row(reader.png, row, nullptr);
  return true;
}

// What follows the pixels may hold the orientation; damage there does not spoil the picture.
void read_end(PngReader& reader) {
  if (setjmp(reader.jump)) return;
  png_read_end(reader.png, reader.info);
}

// ImageMagick's way to keep EXIF in text: a blank line, the kind, the length, then lines of hexadecimal digits.
std::string exif_from_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (char c : text) {
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<char>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

int png_orientation(PngReader& reader) {
  std::optional<std::string> exif;
  std::optional<std::string_view> xmp;
  png_uint_32 exif_size = 0;
  png_bytep exif_bytes = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &exif_size, &exif_bytes)) {
    exif.emplace(reinterpret_cast<const char*>(exif_bytes), exif_size);
  }
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(reader.png, reader.info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    std::string_view key = texts[i].key ? texts[i].key : "";
    if (!texts[i].text) continue;
    bool international = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    std::string_view text(texts[i].text, international ? texts[i].itxt_length : texts[i].text_length);
    if (key == "XML:com.adobe.xmp") xmp = text;
    if (key == "Raw profile type exif" && !exif) exif = exif_from_profile(text);
  }
  return find_orientation(exif ? std::optional<std::string_view>(*exif) : std::nullopt, xmp);
}

}  // namespace

Result<Image> decode_png(const Source& source) {
  PngReader reader{.rest = source.bytes};
  if (!read_header(reader)) return corrupt(source, "PNG", reader.message);
  int64_t width = png_get_image_width(reader.png, reader.info), height = png_get_image_height(reader.png, reader.info);
  TRY_STATUS(check_size(source, width, height));
  reader.most_bytes += static_cast<size_t>(width) * 16;  // a row of 16-bit RGBA and some room
  bool palette = png_get_color_type(reader.png, reader.info) == PNG_COLOR_TYPE_PALETTE;
  uint8_t colors[256][3] = {};
  if (palette) {
    png_colorp entries = nullptr;
    int count = 0;
    png_get_PLTE(reader.png, reader.info, &entries, &count);
    for (int i = 0; i < std::min(count, 256); ++i) {
      colors[i][0] = entries[i].red;
      colors[i][1] = entries[i].green;
      colors[i][2] = entries[i].blue;
    }
  }
  int passes = prepare(reader);
  if (passes == 0) return corrupt(source, "PNG", reader.message);
  int channels = png_get_channels(reader.png, reader.info);
  bool wide = png_get_bit_depth(reader.png, reader.info) == 16;
  size_t row_bytes = png_get_rowbytes(reader.png, reader.info);

  Image image = growing_image(width, height);
  std::vector<uint8_t> rgb(static_cast<size_t>(width) * 3);
  auto append = [&](const uint8_t* row) {
    if (channels == 3) return append_row(image, row);
    if (palette) {
      for (int64_t x = 0; x < width; ++x) std::memcpy(&rgb[x * 3], colors[row[x]], 3);
    } else if (wide) {
      for (int64_t x = 0; x < width; ++x) {
        std::memset(&rgb[x * 3], clip_16_bits(row[x * 2] << 8 | row[x * 2 + 1]), 3);
      }
    } else {
      pixels_to_rgb(row, channels, rgb.data(), width);
    }
    append_row(image, rgb.data());
  };
  if (passes == 1) {
    std::vector<uint8_t> row(row_bytes);
    for (int64_t y = 0; y < height; ++y) {
      if (!read_row(reader, row.data())) return corrupt(source, "PNG", reader.message);
      append(row.data());
    }
  } else {
    std::vector<uint8_t> rows(row_bytes * height);
    for (int pass = 0; pass < passes; ++pass) {
      for (int64_t y = 0; y < height; ++y) {
        if (!read_row(reader, &rows[row_bytes * y])) return corrupt(source, "PNG", reader.message);
      }
    }
    if (channels == 3) {
      image.rgb = std::move(rows);
    } else {
      for (int64_t y = 0; y < height; ++y) append(&rows[row_bytes * y]);
    }
  }
  read_end(reader);
  return make_upright(std::move(image), png_orientation(reader));
}

}  // namespace onsight::media
