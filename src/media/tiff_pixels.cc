#include "media/tiff_pixels.h"

#include <algorithm>
#include <cstring>

#include "media/decoders.h"

namespace onsight::media {
namespace {

template <class T>
T load(const uint8_t* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

// A sample as 8 bits: PIL keeps the high byte of 16.
template <class T>
uint8_t byte_of(const uint8_t* in) {
  if constexpr (sizeof(T) == 1) {
    return *in;
  } else {
    return static_cast<uint8_t>(load<T>(in) >> 8);
  }
}

void small_grey(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  int bits = layout.bits, per_byte = 8 / bits, top = (1 << bits) - 1, invert = layout.photometric == 0 ? 255 : 0;
  for (int64_t x = 0; x < width; ++x, rgb += 3) {
    int value = in[x / per_byte] >> (8 - bits - static_cast<int>(x % per_byte) * bits) & top;
    std::memset(rgb, value * (255 / top) ^ invert, 3);
  }
}

// 12 bits: two pixels in three bytes.
void grey_12(const TiffLayout&, const uint8_t* in, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, rgb += 3) {
    const uint8_t* at = in + x / 2 * 3;
    uint32_t value = x % 2 == 0 ? at[0] << 4 | at[1] >> 4 : (at[1] & 15) << 8 | at[2];
    std::memset(rgb, clip_16_bits(value), 3);
  }
}

// Wider numbers are clipped to 0..255, as PIL's modes I and F are; it never inverts them.
template <class T>
void wide_grey(const TiffLayout&, const uint8_t* in, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, rgb += 3) {
    T value = load<T>(in + x * static_cast<int64_t>(sizeof(T)));
    std::memset(rgb, value >= T{255} ? 255 : value > T{0} ? static_cast<uint8_t>(value) : 0, 3);
  }
}

void grey_and_extra(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, in += layout.samples, rgb += 3) std::memset(rgb, in[0], 3);
}

template <class T>
void true_color(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, in += layout.samples * sizeof(T)) {
    for (int c = 0; c < 3; ++c) *rgb++ = byte_of<T>(in + c * sizeof(T));
  }
}

template <class T>
void premultiplied_color(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, in += layout.samples * sizeof(T)) {
    int alpha = byte_of<T>(in + 3 * sizeof(T));
    for (int c = 0; c < 3; ++c) {
      int value = byte_of<T>(in + c * sizeof(T));
      *rgb++ = static_cast<uint8_t>(alpha == 0 ? 0 : std::min(255, value * 255 / alpha));
    }
  }
}

void palette(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  int bits = layout.bits, per_byte = 8 / bits, top = (1 << bits) - 1;
  for (int64_t x = 0; x < width; ++x, rgb += 3) {
    int64_t sample = x * layout.samples;
    int index = in[sample / per_byte] >> (8 - bits - static_cast<int>(sample % per_byte) * bits) & top;
    std::memcpy(rgb, layout.colors[index].data(), 3);
  }
}

template <class T>
void cmyk(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  for (int64_t x = 0; x < width; ++x, in += layout.samples * sizeof(T), rgb += 3) {
    uint8_t ink[4];
    for (int c = 0; c < 4; ++c) ink[c] = byte_of<T>(in + c * sizeof(T));
    cmyk_to_rgb(ink, rgb, 1);
  }
}

// Full-range YCbCr with PIL's tables of 6 fractional bits.
void ycbcr(const TiffLayout& layout, const uint8_t* in, int64_t width, uint8_t* rgb) {
  struct Tables {
    int16_t red[256], green_b[256], green_r[256], blue[256];
    Tables() {
      for (int i = 0; i < 256; ++i) {
        auto fixed = [i](double factor) { return static_cast<int16_t>(factor * 64 * (i - 128) + 0.5); };
        red[i] = fixed(1.402);
        green_b[i] = fixed(-0.34414);
        green_r[i] = fixed(-0.71414);
        blue[i] = fixed(1.772);
      }
    }
  };
  static const Tables tables;
  for (int64_t x = 0; x < width; ++x, in += layout.samples, rgb += 3) {
    int y = in[0], cb = in[1], cr = in[2];
    rgb[0] = static_cast<uint8_t>(std::clamp(y + (tables.red[cr] >> 6), 0, 255));
    rgb[1] = static_cast<uint8_t>(std::clamp(y + ((tables.green_b[cb] + tables.green_r[cr]) >> 6), 0, 255));
    rgb[2] = static_cast<uint8_t>(std::clamp(y + (tables.blue[cb] >> 6), 0, 255));
  }
}

std::optional<TiffRowReader> find_grey_reader(const TiffLayout& layout) {
  int format = layout.sample_format, bits = layout.bits;
  if (layout.samples > 1) {
    if (layout.photometric == 1 && bits == 8) return grey_and_extra;
    return {};
  }
  if (bits == 1 || bits == 2 || bits == 4 || bits == 8) return small_grey;
  if (bits == 12 && format == 1) return grey_12;
  if (bits == 16 && format == 1) return wide_grey<uint16_t>;
  if (bits == 16 && format == 2) return wide_grey<int16_t>;
  if (bits == 32 && (format == 1 || format == 2)) return wide_grey<int32_t>;  // PIL has no unsigned mode of 32 bits
  if (bits == 32 && format == 3) return wide_grey<float>;
  return {};
}

}  // namespace

std::optional<TiffRowReader> find_row_reader(const TiffLayout& layout) {
  bool bytes = layout.bits == 8, words = layout.bits == 16;
  switch (layout.photometric) {
    case 0:
    case 1:
      return find_grey_reader(layout);
    case 2:
      if (layout.samples < 3 || !(bytes || words)) return {};
      if (layout.premultiplied && layout.samples >= 4) {
        return bytes ? premultiplied_color<uint8_t> : premultiplied_color<uint16_t>;
      }
      return bytes ? true_color<uint8_t> : true_color<uint16_t>;
    case 3:
      if (layout.bits > 8 || 8 % layout.bits != 0 || (layout.samples > 1 && !bytes)) return {};
      return palette;
    case 5:
      if (layout.samples < 4 || !(bytes || words)) return {};
      return bytes ? cmyk<uint8_t> : cmyk<uint16_t>;
    case 6:
      if (bytes && layout.samples == 1) return grey_and_extra;
      if (bytes && layout.samples == 3) return ycbcr;
      return {};
    default:
      return {};
  }
}

}  // namespace onsight::media
