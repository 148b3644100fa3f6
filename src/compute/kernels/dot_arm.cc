#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include <cstddef>
#include <cstring>

#include "compute/kernels/dot.h"

// Clang before 16 declares dot products and matrix multiplies only where the whole program may use them.
#if !defined(__clang__) || __clang_major__ >= 16 || \
    (defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8))
#define ONSIGHT_ARM_DOT 1
#else
#define ONSIGHT_ARM_DOT 0
#endif

namespace onsight::compute {
namespace {

inline int8x16_t load(const void* p) { return vld1q_s8(static_cast<const int8_t*>(p)); }
inline int8x16_t low_nibbles(int8x16_t both) { return vandq_s8(both, vdupq_n_s8(15)); }
inline int8x16_t high_nibbles(int8x16_t both) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(both), 4)); }
inline float32x4_t load_f16(const std::byte* p) {
  return vcvt_f32_f16(vld1_f16(reinterpret_cast<const float16_t*>(p)));
}

// What every aarch64 has.
struct Neon {
  static int8x16_t quad(const int8_t* x) {  // in every lane
    int32_t out;
    std::memcpy(&out, x, sizeof out);
    return vreinterpretq_s8_s32(vdupq_n_s32(out));
  }

  // Two products of i8, −128 by −127 at most, fit into 16 bits.
  static int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x) {
    return vpadalq_s16(sum, vpaddq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vmull_high_s8(w, x)));
  }

  // kRows rows against kVectors · 4 outputs; from a quad of x to the next are `stride` bytes.
  template <int kRows, int kVectors>
  static void tile(const int8_t* x, int64_t stride, int64_t quads, const int8_t* panel, int32_t* acc) {
    int32x4_t sum[kRows][kVectors];
    for (auto& row : sum)
      for (auto& v : row) v = vdupq_n_s32(0);
    for (int64_t k = 0; k < quads; ++k, x += stride, panel += 128)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const int8x16_t w = load(panel + v * 16);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) sum[r][v] = dot(sum[r][v], w, quad(x + r * 4));
      }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) vst1q_s32(acc + r * 32 + v * 4, sum[r][v]);
  }

  // Outputs first … first + kVectors · 4 of a panel.
  template <int kRows, int kVectors>
  static void four_bit(const int8_t* x, const float* x_scale, const int32_t* x_sum, int64_t groups,
                       const std::byte* panel, int first, float* y) {
    float32x4_t out[kRows][kVectors];
    for (auto& row : out)
      for (auto& v : row) v = vdupq_n_f32(0);
    for (int64_t g = 0; g < groups;
         ++g, panel += kGroupPanelBytes, x += kGroup * kRows, x_scale += kRows, x_sum += kRows)
#pragma GCC unroll 1
      for (int v = 0; v < kVectors; ++v) {
        const int j = first + v * 4;
        int32x4_t sum[kRows];
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) sum[r] = vdupq_n_s32(-8 * x_sum[r]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const int8x16_t both = load(panel + i * 128 + j * 4), a = low_nibbles(both), b = high_nibbles(both);
#pragma GCC unroll 4
          for (int r = 0; r < kRows; ++r)
            sum[r] = dot(dot(sum[r], a, quad(x + (i * kRows + r) * 4)), b, quad(x + ((i + 4) * kRows + r) * 4));
        }
        const float32x4_t scale = load_f16(panel + 512 + j * 2);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
          out[r][v] = vfmaq_f32(out[r][v], vcvtq_f32_s32(sum[r]), vmulq_n_f32(scale, x_scale[r]));
      }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) vst1q_f32(y + r * 32 + first + v * 4, out[r][v]);
  }
};

// Few rows take the whole panel at once, more of them half of it: 16 sums stay in registers.
template <class Isa>
void any_rows(const int8_t* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  const int64_t stride = rows * 4;
  for (; rows >= 4; rows -= 4, x += 16, acc += 128)
    for (int j = 0; j < 32; j += 16) Isa::template tile<4, 4>(x, stride, quads, panel + j * 4, acc + j);
  if (rows >= 2) {
    Isa::template tile<2, 8>(x, stride, quads, panel, acc);
    rows -= 2, x += 8, acc += 64;
  }
  if (rows) Isa::template tile<1, 8>(x, stride, quads, panel, acc);
}

template <class Isa>
void signed_panel(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  any_rows<Isa>(static_cast<const int8_t*>(x), rows, quads, panel, acc);
}

template <class Isa>
void unsigned_panel(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc) {
  any_rows<Isa>(x, rows, quads, reinterpret_cast<const int8_t*>(panel), acc);
}

template <class Isa>
void four_bit(const int8_t* x, const float* x_scale, const int32_t* x_sum, int rows, int64_t groups,
              const std::byte* panel, float* y) {
  if (rows == 1) return Isa::template four_bit<1, 8>(x, x_scale, x_sum, groups, panel, 0, y);
  for (int first = 0; first < 32; first += rows == 2 ? 16 : 8)
    rows == 2   ? Isa::template four_bit<2, 4>(x, x_scale, x_sum, groups, panel, first, y)
    : rows == 3 ? Isa::template four_bit<3, 2>(x, x_scale, x_sum, groups, panel, first, y)
                : Isa::template four_bit<4, 2>(x, x_scale, x_sum, groups, panel, first, y);
}

}  // namespace
}  // namespace onsight::compute

#if ONSIGHT_ARM_DOT
// What stands between the two pragmas may use the instruction set, whatever the rest of the program is compiled for.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
namespace onsight::compute {
namespace {

// The dot product of four bytes a lane.
struct Dot {
  // w by the quad in one lane of x.
  static int32x4_t dot(int32x4_t sum, int8x16_t w, int8x16_t x, int lane) {
    switch (lane) {
      case 0:
        return vdotq_laneq_s32(sum, w, x, 0);
      case 1:
        return vdotq_laneq_s32(sum, w, x, 1);
      case 2:
        return vdotq_laneq_s32(sum, w, x, 2);
      default:
        return vdotq_laneq_s32(sum, w, x, 3);
    }
  }

  template <int kRows, int kVectors>
  static void tile(const int8_t* x, int64_t stride, int64_t quads, const int8_t* panel, int32_t* acc) {
    int32x4_t sum[kRows][kVectors];
    for (auto& row : sum)
      for (auto& v : row) v = vdupq_n_s32(0);
    for (int64_t k = 0; k < quads; ++k, x += stride, panel += 128) {
      const int8x16_t rows = kRows == 4 ? load(x) : kRows == 2 ? vcombine_s8(vld1_s8(x), vld1_s8(x)) : Neon::quad(x);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const int8x16_t w = load(panel + v * 16);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) sum[r][v] = dot(sum[r][v], w, rows, r);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) vst1q_s32(acc + r * 32 + v * 4, sum[r][v]);
  }

  template <int kRows, int kVectors>
  static void four_bit(const int8_t* x, const float* x_scale, const int32_t* x_sum, int64_t groups,
                       const std::byte* panel, int first, float* y) {
    float32x4_t out[kRows][kVectors];
    for (auto& row : out)
      for (auto& v : row) v = vdupq_n_f32(0);
    for (int64_t g = 0; g < groups;
         ++g, panel += kGroupPanelBytes, x += kGroup * kRows, x_scale += kRows, x_sum += kRows) {
      int8x16_t quads[2 * kRows];  // [8][kRows], four to a register
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kRows; ++i) quads[i] = load(x + i * 16);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const int j = first + v * 4;
        int32x4_t sum[kRows];
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) sum[r] = vdupq_n_s32(-8 * x_sum[r]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const int8x16_t both = load(panel + i * 128 + j * 4), a = low_nibbles(both), b = high_nibbles(both);
#pragma GCC unroll 4
          for (int r = 0; r < kRows; ++r) {
            const int at_a = i * kRows + r, at_b = at_a + 4 * kRows;
            sum[r] = dot(dot(sum[r], a, quads[at_a / 4], at_a % 4), b, quads[at_b / 4], at_b % 4);
          }
        }
        const float32x4_t scale = load_f16(panel + 512 + j * 2);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
          out[r][v] = vfmaq_f32(out[r][v], vcvtq_f32_s32(sum[r]), vmulq_n_f32(scale, x_scale[r]));
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) vst1q_f32(y + r * 32 + first + v * 4, out[r][v]);
  }
};

}  // namespace
}  // namespace onsight::compute
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif
namespace onsight::compute {
namespace {
namespace i8mm {

// One instruction multiplies two outputs by two rows over eight inputs, so two quads are zipped: 32 products for the 16
// of a dot, at one zip for four of them where there are eight rows.
template <bool kSigned>
inline int32x4_t multiply(int32x4_t sum, int8x16_t outputs, int8x16_t rows) {
  return kSigned ? vmmlaq_s32(sum, outputs, rows) : vusmmlaq_s32(sum, vreinterpretq_u8_s8(outputs), rows);
}

struct Pairs {
  int8x16_t low, high;
};

// [a0 b0 a1 b1] and [a2 b2 a3 b3]
inline Pairs zip(int8x16_t a, int8x16_t b) {
  const int32x4_t x = vreinterpretq_s32_s8(a), y = vreinterpretq_s32_s8(b);
  return {vreinterpretq_s8_s32(vzip1q_s32(x, y)), vreinterpretq_s8_s32(vzip2q_s32(x, y))};
}

// The quads of kRows rows, four to a register; lanes of a register beyond the last row hold anything.
template <int kRows>
inline void load_rows(const int8_t* x, int8x16_t (&rows)[(kRows + 3) / 4]) {
  constexpr int kLast = kRows % 4;
#pragma GCC unroll 2
  for (int i = 0; i < kRows / 4; ++i) rows[i] = load(x + i * 16);
  const int8_t* last = x + (kRows - kLast) * 4;
  if constexpr (kLast == 1) rows[kRows / 4] = Neon::quad(last);
  if constexpr (kLast == 2) rows[kRows / 4] = vcombine_s8(vld1_s8(last), vld1_s8(last));
  if constexpr (kLast == 3) rows[kRows / 4] = vcombine_s8(vld1_s8(last), vget_low_s8(Neon::quad(last + 8)));
}

// kRows rows against kOutputs outputs, of which each has a place for pairs of rows.
template <int kRows, int kOutputs, bool kSigned>
void tile(const int8_t* x, int64_t quads, const int8_t* panel, int32_t* acc) {
  constexpr int kPairs = (kRows + 1) / 2, kVectors = kOutputs / 4, kRegisters = (kRows + 3) / 4;
  int32x4_t sum[kPairs][kVectors][2];
  for (auto& pair : sum)
    for (auto& vector : pair) vector[0] = vector[1] = vdupq_n_s32(0);
  const auto step = [&]<bool kTwo>() {
    const int8x16_t none = vdupq_n_s8(0);
    int8x16_t a[kRegisters], b[kRegisters];
    load_rows<kRows>(x, a);
    if constexpr (kTwo) load_rows<kRows>(x + kRows * 4, b);
    int8x16_t rows[2 * kRegisters];
#pragma GCC unroll 2
    for (int i = 0; i < kRegisters; ++i) {
      const Pairs pairs = zip(a[i], kTwo ? b[i] : none);
      rows[2 * i] = pairs.low;
      rows[2 * i + 1] = pairs.high;
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Pairs outputs = zip(load(panel + v * 16), kTwo ? load(panel + 128 + v * 16) : none);
#pragma GCC unroll 4
      for (int p = 0; p < kPairs; ++p) {
        sum[p][v][0] = multiply<kSigned>(sum[p][v][0], outputs.low, rows[p]);
        sum[p][v][1] = multiply<kSigned>(sum[p][v][1], outputs.high, rows[p]);
      }
    }
  };
  for (; quads >= 2; quads -= 2, x += kRows * 8, panel += 256) step.template operator()<true>();
  if (quads) step.template operator()<false>();
#pragma GCC unroll 4
  for (int p = 0; p < kPairs; ++p)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {  // [output][row] to [row][output]
      vst1q_s32(acc + p * 64 + v * 4, vuzp1q_s32(sum[p][v][0], sum[p][v][1]));
      if (2 * p + 1 < kRows) vst1q_s32(acc + p * 64 + 32 + v * 4, vuzp2q_s32(sum[p][v][0], sum[p][v][1]));
    }
}

template <bool kSigned, int kRows = kDotRows>
void any_rows(const int8_t* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  if (rows == kRows) {
    constexpr int kOutputs = kRows > 4 ? 8 : kRows > 2 ? 16 : 32;
    for (int j = 0; j < 32; j += kOutputs) tile<kRows, kOutputs, kSigned>(x, quads, panel + j * 4, acc + j);
  } else if constexpr (kRows > 1) {
    any_rows<kSigned, kRows - 1>(x, rows, quads, panel, acc);
  }
}

// Up to three rows, the zips cost more than they save.
void signed_panel(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  if (rows <= 3) return compute::any_rows<Dot>(static_cast<const int8_t*>(x), rows, quads, panel, acc);
  any_rows<true>(static_cast<const int8_t*>(x), rows, quads, panel, acc);
}

void unsigned_panel(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc) {
  any_rows<false>(x, rows, quads, reinterpret_cast<const int8_t*>(panel), acc);
}

}  // namespace i8mm
}  // namespace
}  // namespace onsight::compute
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

namespace onsight::compute {

#if ONSIGHT_ARM_DOT
namespace {

bool has_dot() {
#if defined(__linux__)
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  return ::getauxval(AT_HWCAP) & kDotProduct;
#else
  return true;
#endif
}

bool has_i8mm() {
#if defined(__linux__)
  constexpr unsigned long kMatrixMultiply = 1ul << 13;  // HWCAP2_I8MM
  return has_dot() && ::getauxval(AT_HWCAP2) & kMatrixMultiply;
#elif defined(__ARM_FEATURE_MATMUL_INT8)
  return true;
#else
  return false;
#endif
}

}  // namespace
#endif

std::vector<const DotTiles*> dot_tiles() {
  static const DotTiles kNeon = {"NEON", 128, 127, signed_panel<Neon>, unsigned_panel<Neon>, four_bit<Neon>};
  std::vector<const DotTiles*> out = {&kScalarDot, &kNeon};
#if ONSIGHT_ARM_DOT
  static const DotTiles kDot = {"DOT", 128, 127, signed_panel<Dot>, unsigned_panel<Dot>, four_bit<Dot>};
  static const DotTiles kI8mm = {"I8MM", 128, 255, i8mm::signed_panel, i8mm::unsigned_panel, four_bit<Dot>};
  if (has_dot()) out.push_back(&kDot);
  if (has_i8mm()) out.push_back(&kI8mm);
#endif
  return out;
}

}  // namespace onsight::compute
#endif
