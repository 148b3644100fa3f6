#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

#include "media/decoders.h"

namespace onsight::media {
namespace {

using ImageDecoder = Result<Image> (*)(const Source&);

bool has_at(std::string_view bytes, size_t offset, std::string_view what) {
  return bytes.size() >= offset && bytes.substr(offset).starts_with(what);
}

// HEIC and AVIF are both ISO media files; the brands in the
// first box say which still-picture formats a file claims to be.
bool is_heif(std::string_view bytes) {
  if (!has_at(bytes, 4, "ftyp")) return false;
  uint64_t box = 0;
  for (int i = 0; i < 4; ++i) box = box << 8 | static_cast<uint8_t>(bytes[i]);
  std::string_view brands = bytes.substr(8, std::min<uint64_t>(box, 4096) < 8 ? 0 : std::min<uint64_t>(box, 4096) - 8);
  for (size_t at = 0; at + 4 <= brands.size();
       at += at == 0 ? 8 : 4) {  // after the first brand stands a version number
    std::string_view brand = brands.substr(at, 4);
    for (std::string_view known : {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis"}) {
      if (brand == known) return true;
    }
  }
  return false;
}

ImageDecoder find_decoder(std::string_view bytes) {
  if (bytes.starts_with("\xff\xd8\xff")) return decode_jpeg;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return decode_png;
  if (bytes.starts_with("RIFF") && has_at(bytes, 8, "WEBP")) return decode_webp;
  if (bytes.starts_with("GIF87a") || bytes.starts_with("GIF89a")) return decode_gif;
  if (bytes.starts_with("BM")) return decode_bmp;
  if (bytes.starts_with(std::string_view("II*\0", 4)) || bytes.starts_with(std::string_view("MM\0*", 4)) ||
      bytes.starts_with(std::string_view("II+\0", 4)) || bytes.starts_with(std::string_view("MM\0+", 4))) {
    return decode_tiff;
  }
  if (is_heif(bytes)) return decode_heif;
  return nullptr;
}

}  // namespace

Status check_size(const Source& source, int64_t width, int64_t height) {
  if (width < 1 || height < 1) {
    return bad_input("{}: {}x{} pixels, expected at least 1x1", source.name, width, height);
  }
  if (height > source.max_pixels / width) {
    return bad_input("{}: {}x{} pixels, expected at most {}", source.name, width, height, source.max_pixels);
  }
  if (width > INT32_MAX || height > INT32_MAX) {
    return bad_input("{}: {}x{} pixels, expected sides of at most {}", source.name, width, height, INT32_MAX);
  }
  return {};
}

tl::unexpected<Error> corrupt(const Source& source, std::string_view format, std::string_view detail) {
  if (detail.empty()) return bad_input("{}: truncated or corrupt {}, expected a whole file", source.name, format);
  while (detail.ends_with('.') || detail.ends_with('\n')) detail.remove_suffix(1);
  std::string line(detail);
  std::replace(line.begin(), line.end(), '\n', ' ');  // libtiff says some things in two
  return bad_input("{}: truncated or corrupt {} ({}), expected a whole file", source.name, format, line);
}

Image blank_image(int64_t width, int64_t height) {
  Image image{static_cast<int>(width), static_cast<int>(height), {}};
  image.rgb.resize(static_cast<size_t>(width) * height * 3);
  return image;
}

Image growing_image(int64_t width, int64_t height) {
  Image image{static_cast<int>(width), static_cast<int>(height), {}};
  image.rgb.reserve(static_cast<size_t>(width) * height * 3);
  return image;
}

void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int64_t pixels) {
  for (int64_t i = 0; i < pixels; ++i, cmyk += 4, rgb += 3) {
    int white = 255 - cmyk[3];
    for (int c = 0; c < 3; ++c) {
      int product = cmyk[c] * white + 128;  // with the next line: product / 255, rounded
      int ink = ((product >> 8) + product) >> 8;
      rgb[c] = static_cast<uint8_t>(std::clamp(white - ink, 0, 255));
    }
  }
}

void pixels_to_rgb(const uint8_t* in, int channels, uint8_t* rgb, int64_t pixels) {
  int second = channels < 3 ? 0 : 1, third = channels < 3 ? 0 : 2;
  for (int64_t i = 0; i < pixels; ++i, in += channels, rgb += 3) {
    rgb[0] = in[0];
    rgb[1] = in[second];
    rgb[2] = in[third];
  }
}

Status check_format(std::string_view bytes, std::string_view name) {
  if (bytes.empty()) return bad_input("{}: no bytes, expected a picture", name);
  if (find_decoder(bytes)) return {};
  return bad_input("{}: unknown picture format, expected JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF", name);
}

Result<Image> decode_image(std::string_view bytes, std::string_view name, const DecodeLimits& limits) {
  TRY_STATUS(check_format(bytes, name));
  try {
    return find_decoder(bytes)(Source{bytes, name, limits.max_pixels});
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: the picture does not fit in memory, expected a smaller one", name);
  } catch (const std::length_error&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: the picture does not fit in memory, expected a smaller one", name);
  }
}

}  // namespace onsight::media
