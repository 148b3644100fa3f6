#include "media/yuv.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

namespace onsight::media {
namespace {

// libyuv's constants on x86, where a coefficient of blue has to stay below 129; elsewhere a blue may differ by one.
struct Coefficients {
  int y_gain, y_bias;  // of luma as 16 bits, in 1/65536 of 1/64
  int blue_u, green_u, green_v, red_v;
};

std::optional<Coefficients> find_coefficients(const YuvPlanes& yuv) {
  int matrix = yuv.matrix;
  if (matrix == 0 && !yuv.has_chroma) matrix = 6;
  if (matrix == 12) {  // derived from the primaries
    matrix = yuv.primaries == 1 || yuv.primaries == 2   ? 1
             : yuv.primaries == 5 || yuv.primaries == 6 ? 6
                                                        : yuv.primaries;
  }
  switch (matrix) {
    case 1:
      return yuv.full_range ? Coefficients{16320, 32, 119, 12, 30, 101} : Coefficients{18997, -1160, 128, 14, 34, 115};
    case 2:
    case 5:
    case 6:
      return yuv.full_range ? Coefficients{16320, 32, 113, 22, 46, 90} : Coefficients{18997, -1160, 128, 25, 52, 102};
    case 9:
      return yuv.full_range ? Coefficients{16320, 32, 120, 11, 37, 94} : Coefficients{19003, -1160, 128, 12, 42, 107};
    default:
      return {};
  }
}

uint8_t clip(int value) { return static_cast<uint8_t>(std::clamp(value, 0, 255)); }

// Luma is given as 16 bits, chroma as 8.
void to_rgb(const Coefficients& c, uint32_t y, int u, int v, uint8_t* rgb) {
  int luma = static_cast<int>(y * static_cast<uint32_t>(c.y_gain) >> 16) + c.y_bias;
  u -= 128;
  v -= 128;
  rgb[0] = clip((luma + v * c.red_v) >> 6);
  rgb[1] = clip((luma - u * c.green_u - v * c.green_v) >> 6);
  rgb[2] = clip((luma + u * c.blue_u) >> 6);
}

// One row of a chroma plane at full resolution. Samples lie between pixels, so that a pixel takes 3/4 of its own and
// 1/4 of the neighbour's, in both directions; at the borders there is no neighbour. PIL's library has none at the last
// column of an odd width either, but has one at the last row of an odd height.
class ChromaRow {
 public:
  ChromaRow(const YuvPlanes& yuv, int plane, int drop_bits)
      : yuv_(yuv), plane_(plane), drop_bits_(drop_bits), row_(yuv.width) {}

  const std::vector<uint16_t>& at(int y) {
    int own = y >> yuv_.shift_y, other = own;
    if (yuv_.shift_y == 1 && y > 0) {
      bool last_of_pairs = y == yuv_.height - 1 && y % 2 == 1;
      other = last_of_pairs ? own : own + (y % 2 == 1 ? 1 : -1);
    }
    bool blend_rows = other != own;
    for (int x = 0; x < yuv_.width; ++x) {
      if (yuv_.shift_x == 0) {
        row_[x] = static_cast<uint16_t>(sample(x, own));
        continue;
      }
      int near = x >> 1, next = near + (x % 2 == 1 ? 1 : -1);
      bool blend_columns = x > 0 && x < yuv_.width - 1;
      uint32_t value = sample(near, own);
      if (blend_columns && blend_rows) {
        value = (9 * value + 3 * sample(next, own) + 3 * sample(near, other) + sample(next, other) + 8) >> 4;
      } else if (blend_columns) {
        value = (3 * value + sample(next, own) + 2) >> 2;
      } else if (blend_rows) {
        value = (3 * value + sample(near, other) + 2) >> 2;
      }
      row_[x] = static_cast<uint16_t>(value);
    }
    return row_;
  }

 private:
  uint32_t sample(int x, int y) const { return yuv_.at(plane_, x, y) >> drop_bits_; }
  const YuvPlanes& yuv_;
  int plane_, drop_bits_;
  std::vector<uint16_t> row_;
};

// Grey without alpha and green-blue-red planes go through floating point in libavif.
uint8_t scaled(const YuvPlanes& yuv, uint32_t value) {
  float low = 0, span = static_cast<float>((1 << yuv.bits) - 1);
  if (!yuv.full_range) {
    low = static_cast<float>(16 << (yuv.bits - 8));
    span = static_cast<float>(219 << (yuv.bits - 8));
  }
  float unit = std::clamp((static_cast<float>(value) - low) / span, 0.0f, 1.0f);
  return static_cast<uint8_t>(0.5f + unit * 255.0f);
}

void grey_to_rgb(const YuvPlanes& yuv, Image& image) {
  for (int y = 0; y < yuv.height; ++y) {
    uint8_t* out = image.row(y);
    for (int x = 0; x < yuv.width; ++x) std::memset(out + size_t{3} * x, scaled(yuv, yuv.at(0, x, y)), 3);
  }
}

void planes_to_rgb(const YuvPlanes& yuv, Image& image) {
  for (int y = 0; y < yuv.height; ++y) {
    uint8_t* out = image.row(y);
    for (int x = 0; x < yuv.width; ++x, out += 3) {
      for (int c = 0; c < 3; ++c) out[(c + 1) % 3] = scaled(yuv, yuv.at(c, x, y));
    }
  }
}

}  // namespace

uint32_t YuvPlanes::at(int plane, int x, int y) const {
  if (plane > 0 && chroma_is_repeated) {
    x <<= shift_x;
    y <<= shift_y;
  }
  const uint8_t* row = planes[plane] + static_cast<size_t>(y) * strides[plane];
  if (bits == 8) return row[x];
  uint16_t value;
  std::memcpy(&value, row + size_t{2} * x, 2);
  return std::min<uint32_t>(value, (1U << bits) - 1);
}

bool avif_to_rgb(const YuvPlanes& yuv, Image& image) {
  if (!yuv.has_chroma && !yuv.has_alpha) return grey_to_rgb(yuv, image), true;
  if (yuv.matrix == 0 && yuv.has_chroma && yuv.shift_x == 0 && yuv.shift_y == 0) return planes_to_rgb(yuv, image), true;
  std::optional<Coefficients> coefficients = find_coefficients(yuv);
  if (!coefficients || (yuv.shift_y == 1 && yuv.shift_x == 0)) return false;
  // Deep pictures lose their low bits first, unless they have 10
  // bits and alpha: so the libraries' functions happen to be.
  bool deep = yuv.bits == 10 && yuv.has_alpha && yuv.has_chroma;
  int drop_bits = deep ? 0 : yuv.bits - 8;
  ChromaRow chroma_u(yuv, 1, drop_bits), chroma_v(yuv, 2, drop_bits);
  for (int y = 0; y < yuv.height; ++y) {
    const std::vector<uint16_t>*u = nullptr, *v = nullptr;
    if (yuv.has_chroma) {
      u = &chroma_u.at(y);
      v = &chroma_v.at(y);
    }
    uint8_t* out = image.row(y);
    for (int x = 0; x < yuv.width; ++x, out += 3) {
      uint32_t luma = yuv.at(0, x, y) >> drop_bits;
      luma = deep ? luma << 6 | luma >> 4 : luma * 0x0101;
      int shift = deep ? 2 : 0;
      to_rgb(*coefficients, luma, u ? (*u)[x] >> shift : 128, v ? (*v)[x] >> shift : 128, out);
    }
  }
  return true;
}

bool heic_to_rgb(const YuvPlanes& yuv, Image& image) {
  if (yuv.bits != 8 || !yuv.full_range || !yuv.has_chroma || yuv.shift_x != 1 || yuv.shift_y != 1) return false;
  double red = 0, blue = 0;  // luma's shares of red and blue
  switch (yuv.matrix) {
    case 1:
      red = 0.2126, blue = 0.0722;
      break;
    case 2:
    case 5:
    case 6:
      red = 0.299, blue = 0.114;
      break;
    case 9:
      red = 0.2627, blue = 0.0593;
      break;
    default:
      return false;
  }
  double green = 1 - red - blue;
  auto fixed = [](double factor) { return static_cast<int>(std::lround(256 * factor)); };
  int red_v = fixed(2 * (1 - red)), blue_u = fixed(2 * (1 - blue));
  int green_u = fixed(-2 * blue * (1 - blue) / green), green_v = fixed(-2 * red * (1 - red) / green);
  for (int y = 0; y < yuv.height; ++y) {
    uint8_t* out = image.row(y);
    for (int x = 0; x < yuv.width; ++x, out += 3) {
      int luma = static_cast<int>(yuv.at(0, x, y));
      int u = static_cast<int>(yuv.at(1, x / 2, y / 2)) - 128, v = static_cast<int>(yuv.at(2, x / 2, y / 2)) - 128;
      out[0] = clip(luma + ((red_v * v + 128) >> 8));
      out[1] = clip(luma + ((green_u * u + green_v * v + 128) >> 8));
      out[2] = clip(luma + ((blue_u * u + 128) >> 8));
    }
  }
  return true;
}

}  // namespace onsight::media
