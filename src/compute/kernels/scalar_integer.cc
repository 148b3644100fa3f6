// The oracle of integer.h: the same codes, and attention without any.
#include <algorithm>
#include <cmath>
#include <vector>

#include "compute/dtype.h"
#include "compute/kernels/integer.h"
#include "compute/kernels/kv_codes.h"
#include "compute/kernels/scalar.h"
#include "compute/packed_matrix.h"

namespace onsight::compute {
namespace {

void quantise(const float* x, int64_t stride, int rows, const float* centre, int64_t n, int offset, std::byte* codes,
              float* scale, int32_t* zero) {
  for (int r = 0; r < rows; ++r) {
    const auto value = [&](int64_t i) { return centre ? x[r * stride + i] - centre[i] : x[r * stride + i]; };
    float low = 0, high = 0;
    for (int64_t i = 0; i < n; ++i) {
      low = std::min(low, value(i));
      high = std::max(high, value(i));
    }
    const float step = high > low ? (high - low) / 255.0f : 1.0f, inverse = 1.0f / step;
    const auto at_zero = static_cast<int32_t>(std::nearbyint(-low * inverse));
    scale[r] = step;
    zero[r] = at_zero - offset;
    for (int64_t i = 0; i < (n + kQuad - 1) / kQuad * kQuad; ++i) {
      const float v = i < n ? value(i) * inverse : 0.0f;
      const int32_t code = std::clamp(static_cast<int32_t>(std::nearbyint(v)) + at_zero, 0, 255);
      codes[(i / kQuad * rows + r) * kQuad + i % kQuad] = static_cast<std::byte>(code - offset);
    }
  }
}

void quantise_fine(const float* x, int64_t stride, int rows, int64_t n, int offset, std::byte* codes, std::byte* rest,
                   float* scale, int32_t* zero) {
  for (int r = 0; r < rows; ++r) {
    float low = 0, high = 0;
    for (int64_t i = 0; i < n; ++i) {
      low = std::min(low, x[r * stride + i]);
      high = std::max(high, x[r * stride + i]);
    }
    // A step fewer than there are codes: none is cut off, wherever between two codes zero lies.
    const float step = high > low ? (high - low) / 254.0f : 1.0f, inverse = 1.0f / step;
    const auto at_zero = static_cast<int32_t>(std::ceil(-low * inverse));
    scale[r] = step;
    zero[r] = at_zero - offset;
    for (int64_t i = 0; i < (n + kQuad - 1) / kQuad * kQuad; ++i) {
      const float v = i < n ? x[r * stride + i] * (inverse * kRestUnits) : 0.0f;
      const int32_t both = std::clamp(static_cast<int32_t>(std::nearbyint(v)) + at_zero * kRestUnits + kRestUnits / 2,
                                      0, 256 * kRestUnits - 1);
      const int64_t at = (i / kQuad * rows + r) * kQuad + i % kQuad;
      codes[at] = static_cast<std::byte>(both / kRestUnits - offset);
      rest[at] = static_cast<std::byte>(both % kRestUnits);
    }
  }
}

void quantise_groups(const float* x, int64_t n, int8_t* codes, int64_t stride, float* scale, int32_t* sum, int rows) {
  for (int64_t g = 0; g * kGroup < n; ++g) {
    float largest = 0;
    for (int64_t i = g * kGroup; i < std::min(n, (g + 1) * kGroup); ++i) largest = std::max(largest, std::fabs(x[i]));
    const float step = largest > 0 ? largest / 127.0f : 1.0f, inverse = 1.0f / step;
    int32_t total = 0;
    for (int64_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      const auto code = static_cast<int8_t>(i < n ? std::nearbyint(x[i] * inverse) : 0.0f);
      codes[i / kQuad * stride + i % kQuad] = code;
      total += code;
    }
    scale[g * rows] = step;
    sum[g * rows] = total;
  }
}

void finish(const DotFinish& f) {
  for (int r = 0; r < f.rows; ++r)
    for (int j = 0; j < f.columns; ++j) {
      const int at = r * kPanel + j;
      float y;
      if (f.acc) {
        int32_t sum = f.acc[at];
        if (f.fine) sum = kFineUnits * sum + f.fine[at];
        if (f.rest) sum = kRestUnits / (f.fine ? kFineUnits : 1) * sum + f.rest[at];
        y = static_cast<float>(sum - f.x_zero[r] * f.w_sum[j]) * (f.x_scale[r] * f.w_scale[j]);
      } else {
        y = f.values[at];
      }
      y = scalar_activate(y + (f.bias ? f.bias[j] : 0.0f), f.activation);
      f.y[r * f.y_stride + j] = y + (f.residual ? f.residual[r * f.y_stride + j] : 0.0f);
    }
}

void quantise_queries(const DotTiles&, const float*, int, int, float, std::byte*, float*) {}  // the oracle takes floats

void attend_page(const DotTiles&, const AttendPage& a, const std::byte*, const float*) {
  const KvCodes page(a.head_dim);
  const auto* keys = static_cast<const std::byte*>(a.page.keys);
  const auto* values = static_cast<const std::byte*>(a.page.values);
  std::vector<float> k(a.head_dim), v(a.head_dim), scores(a.visible);
  for (int r = 0; r < a.rows; ++r) {
    float* mixed = a.mixed + r * a.mixed_stride;
    for (int i = 0; i < a.visible; ++i) {
      read_codes(keys, values, a.head_dim, i, k.data(), v.data());
      double sum = 0;
      for (int d = 0; d < a.head_dim; ++d) sum += static_cast<double>(a.q[r * a.head_dim + d]) * k[d];
      scores[i] = static_cast<float>(sum) * a.scale;
    }
    const float largest = *std::max_element(scores.begin(), scores.end());
    float total = 0;
    std::fill_n(mixed, kv_value_stride(a.head_dim), 0.0f);
    for (int i = 0; i < a.visible; ++i) {
      const float e = std::exp(scores[i] - largest);
      total += e;
      read_codes(keys, values, a.head_dim, i, k.data(), v.data());
      for (int d = 0; d < a.head_dim; ++d) mixed[d] += e * v[d];
    }
    a.largest[r * a.stride] = largest;
    a.sum[r * a.stride] = total;
  }
}

void widen_fine(const std::byte* fine, int64_t quads, int8_t* codes) {
  for (int64_t q = 0; q < quads; ++q)
    for (int i = 0; i < kPanel * kQuad; ++i) {
      const auto four = static_cast<uint8_t>(fine[q / kFineSteps * kPanel * kQuad + i]);
      const int code = four >> (2 * (q % kFineSteps)) & (kFineSteps - 1);
      codes[q * kPanel * kQuad + i] = static_cast<int8_t>(2 * code - (kFineSteps - 1));
    }
}

void widen(const std::byte* panel, int64_t groups, const float* scale, int8_t* codes, int32_t* sums) {
  constexpr int kHalf = kGroup / 8;
  std::fill(sums, sums + kPanel, 0);
  for (int64_t g = 0; g < groups; ++g, panel += kGroupPanelBytes)
    for (int j = 0; j < kPanel; ++j) {
      float group_scale;
      to_f32(DType::kF16, panel + kGroup / 2 * kPanel + j * 2, &group_scale, 1);
      const float factor = group_scale / scale[j];
      for (int k = 0; k < kGroup; ++k) {
        const int quad = k / kQuad;
        const auto both = static_cast<uint8_t>(panel[(quad % kHalf * kPanel + j) * kQuad + k % kQuad]);
        const int code = (quad < kHalf ? both & 15 : both >> 4) - 8;
        const auto wide = static_cast<int8_t>(std::nearbyint(static_cast<float>(code) * factor));
        codes[((g * 2 * kHalf + quad) * kPanel + j) * kQuad + k % kQuad] = wide;
        sums[j] += wide;
      }
    }
}

// Keeps the floats: [keys, head_dim] in the room of the codes would not fit, so the head only remembers where they are.
struct Source {
  const float *k, *v;
  int64_t stride;
};

void prepare_head(const DotTiles&, const float* k, const float* v, int64_t stride, IntHead& head, std::byte*) {
  *reinterpret_cast<Source*>(head.v_scale) = {k, v, stride};
}

void attend(const DotTiles&, const IntHead& head, const float* q, int64_t q_stride, int rows, float scale, float* out,
            int64_t out_stride, std::byte*) {
  const Source source = *reinterpret_cast<const Source*>(head.v_scale);
  std::vector<double> p(static_cast<size_t>(head.keys));
  for (int i = 0; i < rows; ++i) {
    double largest = -INFINITY, sum = 0;
    for (int64_t n = 0; n < head.keys; ++n) {
      double score = 0;
      for (int d = 0; d < head.head_dim; ++d)
        score += static_cast<double>(q[i * q_stride + d]) * source.k[n * source.stride + d];
      p[n] = score * scale;
      largest = std::max(largest, p[n]);
    }
    for (double& x : p) sum += x = std::exp(x - largest);
    for (int d = 0; d < head.head_dim; ++d) {
      double total = 0;
      for (int64_t n = 0; n < head.keys; ++n) total += p[n] * source.v[n * source.stride + d];
      out[i * out_stride + d] = static_cast<float>(total / sum);
    }
  }
}

}  // namespace

const IntKernels kScalarInt = {quantise,   quantise_fine,    quantise_groups, finish,       widen,
                               widen_fine, quantise_queries, attend_page,     prepare_head, attend};

}  // namespace onsight::compute
