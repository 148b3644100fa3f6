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

void attend(const AttendBlock& b) {
  int64_t value_stride = (b.head_dim + kHeadAlign - 1) / kHeadAlign * kHeadAlign;
  for (int i = 0; i < b.rows; ++i) {
    float* p = b.scratch;
    const float* q = b.q + i * b.q_stride;
    double largest = -INFINITY;
    for (int n = 0; n < b.visible[i]; ++n) {
      double score = 0;
      const float* keys = b.pages[n / kKvPage].keys + n % kKvPage;
      for (int d = 0; d < b.head_dim; ++d) score += static_cast<double>(q[d]) * keys[d * kKvPage];
      p[n] = static_cast<float>(score * b.scale);
      largest = std::max<double>(largest, p[n]);
    }
    double sum = 0;
    for (int n = 0; n < b.visible[i]; ++n) sum += p[n] = static_cast<float>(std::exp(p[n] - largest));
    for (int d = 0; d < b.head_dim; ++d) {
      double out = 0;
      for (int n = 0; n < b.visible[i]; ++n)
        out += static_cast<double>(p[n]) * b.pages[n / kKvPage].values[n % kKvPage * value_stride + d];
      b.out[i * b.out_stride + d] = static_cast<float>(out / sum);
    }
  }
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

const KernelTable kScalarKernels = {"scalar", gemm<float>, gemm<uint16_t>, attend,     layer_norm, rms_norm, rope,
                                    swiglu,   add,         &kScalarInt,    &kScalarDot};

}  // namespace onsight::compute
