#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "media/image.h"

// PIL's resampling, bit for bit: weights of the two axes are computed in double, made integers of 22 fractional bits,
// and applied to one axis after the other, with 8-bit pixels between. A pass whose axis keeps its size is left out.
//
// Both passes are one operation: a weighted sum of byte vectors that lie a stride
// apart. For columns the vectors are rows of the picture. For rows, kBandRows rows
// are first laid side by side, so that one vector holds a pixel of each of them.

namespace onsight::media {
namespace {

constexpr int kFractionBits = 32 - 8 - 2;
constexpr int kBandRows = 16;
constexpr int kLanes = kBandRows * 3;             // bytes in a vector of a band
constexpr int64_t kBandBytes = int64_t{1} << 18;  // a band's columns at work stay in the second-level cache

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }
double bilinear(double x) { return std::max(0.0, 1.0 - std::abs(x)); }
double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= M_PI;
  return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));  // PIL's constants are floats
}
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}
double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= M_PI;
  return std::sin(x) / x;
}
double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct Filter {
  double (*weight)(double);
  double support;
};
Filter filter_of(Resample resample) {
  switch (resample) {
    case Resample::kLanczos:
      return {lanczos, 3.0};
    case Resample::kBilinear:
      return {bilinear, 1.0};
    case Resample::kBicubic:
      return {bicubic, 2.0};
    case Resample::kHamming:
      return {hamming, 1.0};
    case Resample::kBox:
    case Resample::kNearest:
      break;
  }
  return {box, 0.5};
}

// For each output position, the input positions it is a sum of and their weights. Both ends of the spans never go back.
struct Weights {
  struct Span {
    int first, count;
    size_t weights;
  };
  std::vector<Span> spans;
  std::vector<int32_t> weights;
  int max_count = 0;
  const int32_t* at(int i) const { return weights.data() + spans[i].weights; }
};

Weights make_weights(int in_size, int out_size, Filter filter) {
  Weights result;
  result.spans.reserve(out_size);
  double scale = static_cast<double>(in_size) / out_size;
  double filter_scale = std::max(scale, 1.0), inverse = 1.0 / filter_scale, support = filter.support * filter_scale;
  std::vector<double> raw;
  for (int i = 0; i < out_size; ++i) {
    double center = (i + 0.5) * scale, sum = 0.0;
    int first = std::max(0, static_cast<int>(center - support + 0.5));
    int count = std::min(in_size, static_cast<int>(center + support + 0.5)) - first;
    raw.clear();
    for (int k = 0; k < count; ++k) {
      raw.push_back(filter.weight((k + first - center + 0.5) * inverse));
      sum += raw.back();
    }
    result.spans.push_back({first, count, result.weights.size()});
    result.max_count = std::max(result.max_count, count);
    for (double weight : raw) {
      if (sum != 0.0) weight /= sum;
      result.weights.push_back(static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kFractionBits)));
    }
  }
  return result;
}

// out[j] = rounded sum over t of weights[t] * in[t * stride + j], for j < lanes. Always inlined, so that each caller's
// instruction set is used and, with a constant number of lanes, the sums stay in registers.
[[gnu::always_inline]] inline void sum_lanes(const uint8_t* in, size_t stride, const int32_t* weights, int count,
                                             uint8_t* out, int lanes) {
  int32_t sums[kLanes];
  for (int j = 0; j < lanes; ++j) sums[j] = 1 << (kFractionBits - 1);
  for (int t = 0; t < count; ++t, in += stride) {
    int32_t weight = weights[t];
    for (int j = 0; j < lanes; ++j) sums[j] += weight * in[j];
  }
  for (int j = 0; j < lanes; ++j) out[j] = static_cast<uint8_t>(std::clamp(sums[j] >> kFractionBits, 0, 255));
}

[[gnu::always_inline]] inline void weighted_sum_inline(const uint8_t* in, size_t stride, const int32_t* weights,
                                                       int count, uint8_t* out, int64_t lanes) {
  int64_t j = 0;
  for (; j + kLanes <= lanes; j += kLanes) sum_lanes(in + j, stride, weights, count, out + j, kLanes);
  if (lanes - j == 3) {
    sum_lanes(in + j, stride, weights, count, out + j, 3);
  } else if (j < lanes) {
    sum_lanes(in + j, stride, weights, count, out + j, static_cast<int>(lanes - j));
  }
}

using WeightedSum = void (*)(const uint8_t*, size_t, const int32_t*, int, uint8_t*, int64_t);

void weighted_sum_portable(const uint8_t* in, size_t stride, const int32_t* weights, int count, uint8_t* out,
                           int64_t lanes) {
  weighted_sum_inline(in, stride, weights, count, out, lanes);
}

#if defined(__x86_64__)
// The same code for processors of 2013 and later; integers, so that every set gives the same bytes.
[[gnu::target("avx2")]] void weighted_sum_avx2(const uint8_t* in, size_t stride, const int32_t* weights, int count,
                                               uint8_t* out, int64_t lanes) {
  weighted_sum_inline(in, stride, weights, count, out, lanes);
}
WeightedSum choose_weighted_sum() { return __builtin_cpu_supports("avx2") ? weighted_sum_avx2 : weighted_sum_portable; }
#else
WeightedSum choose_weighted_sum() { return weighted_sum_portable; }
#endif

const WeightedSum weighted_sum = choose_weighted_sum();

// Rows of pixels that follow each other in memory.
struct Rows {
  const uint8_t* first;
  size_t stride;
  const uint8_t* at(int i) const { return first + stride * i; }
};

// Lays `count` rows side by side: band[x][row] for the pixels [from, from + width) of each.
void gather_band(Rows rows, int count, int from, int width, uint8_t* band) {
  for (int i = 0; i < kBandRows; ++i) {
    const uint8_t* in =
        rows.at(std::min(i, count - 1)) + static_cast<size_t>(from) * 3;  // a short band repeats its last
    uint8_t* out = band + i * 3;
    for (int x = 0; x < width; ++x, in += 3, out += kLanes) {
      out[0] = in[0];
      out[1] = in[1];
      out[2] = in[2];
    }
  }
}

class RowPass {
 public:
  RowPass(int out_width, const Weights& weights) : width_(out_width), weights_(weights) {
    banded_ = int64_t{weights.max_count} * kLanes <= kBandBytes;
    if (banded_) band_.resize(kBandBytes);
  }

  // Resamples `count` rows, at most kBandRows, and writes them to `out`, one after the other.
  void run(Rows rows, int count, uint8_t* out) {
    size_t out_stride = static_cast<size_t>(width_) * 3;
    if (!banded_) {
      for (int i = 0; i < count; ++i) {
        for (int x = 0; x < width_; ++x) {
          const Weights::Span& span = weights_.spans[x];
          weighted_sum(rows.at(i) + size_t{3} * span.first, 3, weights_.at(x), span.count,
                       out + i * out_stride + size_t{3} * x, 3);
        }
      }
      return;
    }
    for (int x = 0; x < width_;) {
      int from = weights_.spans[x].first, end = x, last = from;
      while (end < width_) {  // as many output columns as the band holds input columns for
        int needed = weights_.spans[end].first + weights_.spans[end].count;
        if (int64_t{needed - from} * kLanes > kBandBytes) break;
        last = std::max(last, needed);
        ++end;
      }
      gather_band(rows, count, from, last - from, band_.data());
      for (; x < end; ++x) {
        const Weights::Span& span = weights_.spans[x];
        uint8_t column[kLanes];
        weighted_sum(band_.data() + static_cast<size_t>(span.first - from) * kLanes, kLanes, weights_.at(x), span.count,
                     column, kLanes);
        for (int i = 0; i < count; ++i) std::memcpy(out + i * out_stride + size_t{3} * x, column + i * 3, 3);
      }
    }
  }

 private:
  int width_;
  const Weights& weights_;
  bool banded_;
  std::vector<uint8_t> band_;
};

size_t row_bytes(const Image& image) { return static_cast<size_t>(image.width) * 3; }

// One row of the pass along columns; `rows` starts at source row `first_row`.
void sum_rows(Rows rows, int first_row, const Weights& down, int y, size_t bytes, uint8_t* out) {
  const Weights::Span& span = down.spans[y];
  weighted_sum(rows.at(span.first - first_row), rows.stride, down.at(y), span.count, out, static_cast<int64_t>(bytes));
}

// Along rows, then along columns, with only the rows between them that the next output row still needs.
void resample_rows_first(const Image& source, Image& out, const Weights& across, const Weights& down) {
  RowPass pass(out.width, across);
  size_t bytes = row_bytes(out);
  int64_t held = std::min<int64_t>(2 * (int64_t{down.max_count} + kBandRows), source.height);
  std::vector<uint8_t> window(static_cast<size_t>(held) * bytes);
  int begin = 0, end = 0;  // the window holds resampled rows [begin, end)
  for (int y = 0; y < out.height; ++y) {
    const Weights::Span& span = down.spans[y];
    while (end < span.first + span.count) {
      int step = std::min(kBandRows, source.height - end);
      if (end + step - begin > held) {
        int keep = std::min(span.first, end);
        std::memmove(window.data(), window.data() + (keep - begin) * bytes, (end - keep) * bytes);
        begin = keep;
      }
      pass.run({source.row(end), row_bytes(source)}, step, window.data() + (end - begin) * bytes);
      end += step;
    }
    sum_rows({window.data(), bytes}, begin, down, y, bytes, out.row(y));
  }
}

void resample_columns_first(const Image& source, Image& out, const Weights& across, const Weights& down) {
  constexpr size_t kMostBytes = 64 << 20;
  RowPass pass(out.width, across);
  size_t bytes = row_bytes(source);
  int band_rows = static_cast<int>(std::clamp<size_t>(kMostBytes / bytes, 1, kBandRows));
  std::vector<uint8_t> band(bytes * band_rows);
  for (int y = 0; y < out.height; y += band_rows) {
    int rows = std::min(band_rows, out.height - y);
    for (int i = 0; i < rows; ++i) sum_rows({source.row(0), bytes}, 0, down, y + i, bytes, &band[bytes * i]);
    pass.run({band.data(), bytes}, rows, out.row(y));
  }
}

void resample(const Image& source, Image& out, Filter filter) {
  Weights across, down;
  int64_t less_width = int64_t{source.width} - out.width, less_height = int64_t{source.height} - out.height;
  if (less_width != 0) across = make_weights(source.width, out.width, filter);
  if (less_height != 0) down = make_weights(source.height, out.height, filter);
  if (less_width == 0) {
    for (int y = 0; y < out.height; ++y)
      sum_rows({source.row(0), row_bytes(source)}, 0, down, y, row_bytes(out), out.row(y));
  } else if (less_height == 0) {
    RowPass pass(out.width, across);
    for (int y = 0; y < out.height; y += kBandRows) {
      pass.run({source.row(y), row_bytes(source)}, std::min(kBandRows, out.height - y), out.row(y));
    }
  } else if (less_height > 0 && less_height > less_width * 2) {
    resample_columns_first(source, out, across,
                           down);  // PIL's choice since version 13; the rounding between passes shows it
  } else {
    resample_rows_first(source, out, across, down);
  }
}

// Positions are summed up, not multiplied: PIL does so, and the rounding shows at some sizes.
std::vector<int> nearest_positions(int in_size, int out_size) {
  std::vector<int> positions(out_size);
  double step = static_cast<double>(in_size) / out_size, at = step * 0.5;
  for (int& position : positions) {
    position = std::min(static_cast<int>(at), in_size - 1);
    at += step;
  }
  return positions;
}

void resample_nearest(const Image& source, Image& out) {
  std::vector<int> columns = nearest_positions(source.width, out.width),
                   rows = nearest_positions(source.height, out.height);
  for (int y = 0; y < out.height; ++y) {
    const uint8_t* in = source.row(rows[y]);
    uint8_t* to = out.row(y);
    for (int column : columns) {
      std::memcpy(to, in + static_cast<size_t>(column) * 3, 3);
      to += 3;
    }
  }
}

}  // namespace

Image resize(const Image& source, int width, int height, Resample filter) {
  ONSIGHT_CHECK(width >= 1 && height >= 1 && source.width >= 1 && source.height >= 1);
  if (width == source.width && height == source.height) return source;
  Image out{width, height, {}};
  out.rgb.resize(static_cast<size_t>(width) * height * 3);
  if (filter == Resample::kNearest) {
    resample_nearest(source, out);
  } else {
    resample(source, out, filter_of(filter));
  }
  return out;
}

}  // namespace onsight::media
