// The oracle of the dot tiles.
#include <cstring>

#include "compute/dtype.h"
#include "compute/kernels/dot.h"
#include "compute/packed_matrix.h"

namespace onsight::compute {
namespace {

template <class X, class W>
void dot(const X* x, int rows, int64_t quads, const W* panel, int32_t* acc) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < kPanel; ++j) {
      int32_t sum = 0;
      for (int64_t k = 0; k < quads; ++k)
        for (int i = 0; i < kQuad; ++i)
          sum += int32_t{x[(k * rows + r) * kQuad + i]} * panel[(k * kPanel + j) * kQuad + i];
      acc[r * kPanel + j] = sum;
    }
}

void signed_panel(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  dot(static_cast<const uint8_t*>(x), rows, quads, panel, acc);
}

void unsigned_panel(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc) {
  dot(x, rows, quads, panel, acc);
}

void four_bit(const int8_t* x, const float* x_scale, const int32_t* x_sum, int rows, int64_t groups,
              const std::byte* panel, float* y) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < kPanel; ++j) {
      double total = 0;
      for (int64_t g = 0; g < groups; ++g) {
        const std::byte* group = panel + g * kGroupPanelBytes;
        int32_t sum = -8 * x_sum[g * rows + r];
        for (int k = 0; k < kGroup; ++k) {
          const int quad = k / kQuad, half = kGroup / 8;
          const auto byte = static_cast<uint8_t>(group[((quad % half) * kPanel + j) * kQuad + k % kQuad]);
          sum += (quad < half ? byte & 15 : byte >> 4) *
                 int32_t{x[((g * kGroup / kQuad + quad) * rows + r) * kQuad + k % kQuad]};
        }
        float scale;
        to_f32(DType::kF16, group + kGroup / 2 * kPanel + j * 2, &scale, 1);
        total += static_cast<double>(sum) * scale * x_scale[g * rows + r];
      }
      y[r * kPanel + j] = static_cast<float>(total);
    }
}

}  // namespace

const DotTiles kScalarDot = {"scalar", 0, 255, signed_panel, unsigned_panel, four_bit};

#if !defined(__x86_64__) && !defined(__aarch64__)
std::vector<const DotTiles*> dot_tiles() { return {&kScalarDot}; }
#endif

}  // namespace onsight::compute
