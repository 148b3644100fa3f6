#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include <cstddef>
#include <cstring>

#include "compute/kernels/dot.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
namespace onsight::compute {
namespace {

// Up to four rows against half a panel: a quad of each row lies in one lane of a register.
template <int kRows>
void half_tile(const int8_t* x, int64_t x_stride, int64_t quads, const int8_t* panel, int32_t* acc) {
  int32x4_t sum[kRows][4];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[r][v] = vdupq_n_s32(0);
  for (int64_t k = 0; k < quads; ++k, x += x_stride, panel += 128) {
    int8_t lanes[16] = {};
    std::memcpy(lanes, x, kRows * 4);
    const int8x16_t rows = vld1q_s8(lanes);
    const int8x16_t w[4] = {vld1q_s8(panel), vld1q_s8(panel + 16), vld1q_s8(panel + 32), vld1q_s8(panel + 48)};
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      sum[0][v] = vdotq_laneq_s32(sum[0][v], w[v], rows, 0);
      if constexpr (kRows > 1) sum[1][v] = vdotq_laneq_s32(sum[1][v], w[v], rows, 1);
      if constexpr (kRows > 2) sum[2][v] = vdotq_laneq_s32(sum[2][v], w[v], rows, 2);
      if constexpr (kRows > 3) sum[3][v] = vdotq_laneq_s32(sum[3][v], w[v], rows, 3);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < 4; ++v) vst1q_s32(acc + r * 32 + v * 4, sum[r][v]);
}

void any_rows(const int8_t* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  for (int r = 0; r < rows; r += 4)
    for (int half = 0; half < 2; ++half) {
      const int8_t *from = x + r * 4, *w = panel + half * 64;
      int32_t* to = acc + r * 32 + half * 16;
      switch (rows - r) {
        case 1:
          half_tile<1>(from, rows * 4, quads, w, to);
          break;
        case 2:
          half_tile<2>(from, rows * 4, quads, w, to);
          break;
        case 3:
          half_tile<3>(from, rows * 4, quads, w, to);
          break;
        default:
          half_tile<4>(from, rows * 4, quads, w, to);
      }
    }
}

void signed_panel(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  any_rows(static_cast<const int8_t*>(x), rows, quads, panel, acc);
}

void unsigned_panel(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc) {
  any_rows(x, rows, quads, reinterpret_cast<const int8_t*>(panel), acc);
}

void four_bit(const int8_t* x, const float* x_scale, const int32_t*, int rows, int64_t groups, const std::byte* panel,
              float* y) {
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < 8; ++v) {
      float32x4_t total = vdupq_n_f32(0);
      for (int64_t g = 0; g < groups; ++g) {
        const std::byte* group = panel + g * kGroupPanelBytes;
        int32x4_t sum = vdupq_n_s32(0);
        for (int i = 0; i < 4; ++i) {
          const uint8x16_t both = vld1q_u8(reinterpret_cast<const uint8_t*>(group) + i * 128 + v * 16);
          const int8x16_t low = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))), vdupq_n_s8(8));
          const int8x16_t high = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), vdupq_n_s8(8));
          int32_t a, b;
          std::memcpy(&a, x + ((g * 8 + i) * rows + r) * 4, 4);
          std::memcpy(&b, x + ((g * 8 + i + 4) * rows + r) * 4, 4);
          sum = vdotq_s32(sum, low, vreinterpretq_s8_s32(vdupq_n_s32(a)));
          sum = vdotq_s32(sum, high, vreinterpretq_s8_s32(vdupq_n_s32(b)));
        }
        const float32x4_t scale = vcvt_f32_f16(vld1_f16(reinterpret_cast<const float16_t*>(group + 512 + v * 8)));
        total = vfmaq_f32(total, vcvtq_f32_s32(sum), vmulq_n_f32(scale, x_scale[g * rows + r]));
      }
      vst1q_f32(y + r * 32 + v * 4, total);
    }
}

}  // namespace
}  // namespace onsight::compute
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace onsight::compute {

std::vector<const DotTiles*> dot_tiles() {
  static const DotTiles kDot = {"DOT", 128, 127, signed_panel, unsigned_panel, four_bit};
  std::vector<const DotTiles*> out = {&kScalarDot};
#if defined(__linux__)
  constexpr unsigned long kHasDot = 1ul << 20;  // HWCAP_ASIMDDP
  if (getauxval(AT_HWCAP) & kHasDot) out.push_back(&kDot);
#else
  out.push_back(&kDot);
#endif
  return out;
}

}  // namespace onsight::compute
#endif
