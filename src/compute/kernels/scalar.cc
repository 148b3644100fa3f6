// The oracle: plain loops in double where it costs nothing to be more exact.
#include "compute/kernels/scalar.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "compute/kernels/integer.h"
#include "compute/packed_matrix.h"

namespace onsight::compute {

float scalar_activate(float x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return 0.5f * x * (1.0f + std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case Activation::kGelu:
      return 0.5f * x * (1.0f + std::erf(x * 0.7071067811865476f));
    case Activation::kSilu:
      return x / (1.0f + std::exp(-x));
  }
  return x;
}

namespace {

float widen(float x) { return x; }
float widen(uint16_t x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

template <class T>
void gemm(const GemmTile& t) {
  const T* panel = static_cast<const T*>(t.panel);
  for (int64_t i = 0; i < t.rows; ++i) {
    for (int j = 0; j < t.columns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < t.depth; ++k)
        sum += static_cast<double>(t.x[i * t.x_stride + k]) * widen(panel[k * kPanel + j]);
      if (t.bias) sum += t.bias[j];
      float y = scalar_activate(static_cast<float>(sum), t.activation);
      if (t.residual) y += t.residual[i * t.y_stride + j];
      t.y[i * t.y_stride + j] = y;
    }
  }
}

float element(DType kv, const void* page, int64_t i) {
  float out = 0;
  to_f32(kv, static_cast<const std::byte*>(page) + bytes_of(kv, i), &out, 1);
  return out;
}

void attend(const AttendBlock& b) {
  const int64_t value_stride = kv_value_stride(b.head_dim);
  for (int i = 0; i < b.rows; ++i) {
    float* p = b.scratch;
    const float* q = b.q + i * b.q_stride;
    double largest = -INFINITY;
    for (int n = 0; n < b.visible[i]; ++n) {
      double score = 0;
      for (int d = 0; d < b.head_dim; ++d)
        score += static_cast<double>(q[d]) * element(b.kv, b.pages[n / kKvPage].keys, d * kKvPage + n % kKvPage);
      p[n] = static_cast<float>(score * b.scale);
      largest = std::max<double>(largest, p[n]);
    }
    double sum = 0;
    for (int n = 0; n < b.visible[i]; ++n) sum += p[n] = static_cast<float>(std::exp(p[n] - largest));
    for (int d = 0; d < b.head_dim; ++d) {
      double out = 0;
      for (int n = 0; n < b.visible[i]; ++n)
        out += static_cast<double>(p[n]) * element(b.kv, b.pages[n / kKvPage].values, n % kKvPage * value_stride + d);
      b.out[i * b.out_stride + d] = static_cast<float>(out / sum);
    }
  }
}

void attend_page(const AttendPage& a) {
  const int64_t value_stride = kv_value_stride(a.head_dim);
  for (int i = 0; i < a.rows; ++i) {
    double p[kKvPage], largest = -INFINITY, sum = 0;
    for (int n = 0; n < a.visible; ++n) {
      p[n] = 0;
      for (int d = 0; d < a.head_dim; ++d)
        p[n] += static_cast<double>(a.q[i * a.head_dim + d]) * element(a.kv, a.page.keys, d * kKvPage + n);
      p[n] *= a.scale;
      largest = std::max(largest, p[n]);
    }
    for (int n = 0; n < a.visible; ++n) sum += p[n] = std::exp(p[n] - largest);
    a.largest[i * a.stride] = static_cast<float>(largest);
    a.sum[i * a.stride] = static_cast<float>(sum);
    for (int64_t d = 0; d < value_stride; ++d) {
      double out = 0;
      for (int n = 0; n < a.visible; ++n) out += p[n] * element(a.kv, a.page.values, n * value_stride + d);
      a.mixed[i * a.mixed_stride + d] = static_cast<float>(out);
    }
  }
}

void merge_pages(float* largest, const float* sum, const float* mixed, int64_t pages, int64_t head_dim, float* out) {
  const double most = *std::max_element(largest, largest + pages);
  double total = 0;
  for (int64_t p = 0; p < pages; ++p) total += std::exp(largest[p] - most) * sum[p];
  for (int64_t d = 0; d < head_dim; ++d) {
    double value = 0;
    for (int64_t p = 0; p < pages; ++p) value += std::exp(largest[p] - most) * mixed[p * kv_value_stride(head_dim) + d];
    out[d] = static_cast<float>(value / total);
  }
}

void put(DType kv, void* page, int64_t i, float x) {
  if (kv == DType::kF16) {
    static_cast<uint16_t*>(page)[i] = to_f16(x);
  } else {
    static_cast<float*>(page)[i] = x;
  }
}

void put_kv(const float* k, const float* v, int64_t head_dim, DType kv, int position, void* keys, void* values) {
  const int64_t value_stride = kv_value_stride(head_dim);
  for (int64_t d = 0; d < head_dim; ++d) put(kv, keys, d * kKvPage + position, k[d]);
  for (int64_t d = 0; d < value_stride; ++d) put(kv, values, position * value_stride + d, d < head_dim ? v[d] : 0);
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y) {
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < n; ++i) mean += x[i];
  mean /= static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  double scale = 1.0 / std::sqrt(variance / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>((x[i] - mean) * scale * weight[i] + bias[i]);
}

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  double square = 0;
  for (int64_t i = 0; i < n; ++i) square += static_cast<double>(x[i]) * x[i];
  double scale = 1.0 / std::sqrt(square / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * scale * weight[i]);
}

void rope(const float* x, const float* cos, const float* sin, int64_t half, float* y) {
  for (int64_t i = 0; i < half; ++i) {
    float a = x[i], b = x[i + half];
    y[i] = a * cos[i] - b * sin[i];
    y[i + half] = b * cos[i] + a * sin[i];
  }
}

void swiglu(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = scalar_activate(gate[i], Activation::kSilu) * up[i];
}

void add(const float* a, const float* b, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

}  // namespace

void scalar_rotate(float* x, int64_t n) {
  const int64_t step = n / kRotated;
  for (int64_t half = 1; half < kRotated; half *= 2)
    for (int64_t i = 0; i < kRotated; ++i) {
      if (i & half) continue;
      float *a = x + i * step, *b = x + (i + half) * step;
      for (int64_t j = 0; j < step; ++j) {
        const float u = a[j], v = b[j];
        a[j] = u + v;
        b[j] = u - v;
      }
    }
  for (int64_t i = 0; i < n; ++i) x[i] *= 1.0f / 8;  // the root of kRotated
}

const KernelTable kScalarKernels = {"scalar",    gemm<float>, gemm<uint16_t>, attend,      attend_page,
                                    merge_pages, put_kv,      layer_norm,     rms_norm,    rope,
                                    swiglu,      add,         scalar_rotate,  &kScalarInt, &kScalarDot};

}  // namespace onsight::compute
