#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <cstring>

#include "compute/kernels/dot.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 finds its own _mm512_undefined_ps()
#endif

// What stands between the two pragmas may use the instruction set, whatever the rest of the program is compiled for.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace onsight::compute {
namespace {
namespace avx2 {

inline int32_t quad(const void* x) {
  int32_t out;
  std::memcpy(&out, x, sizeof out);
  return out;
}

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// Four products of u8 and i8 a lane; exact while two neighbours sum to less than 2^15.
inline __m256i dot(__m256i acc, __m256i u, __m256i s) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1)));
}

template <int kRows, bool kSigned>
void tile(const int8_t* x, int64_t quads, const int8_t* panel, int32_t* acc) {
  __m256i sum[kRows][4];
  for (auto& row : sum)
    for (auto& v : row) v = _mm256_setzero_si256();
  for (int64_t k = 0; k < quads; ++k, x += kRows * 4, panel += 128) {
    __m256i w[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) w[v] = load(panel + 32 * v);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m256i xr = _mm256_set1_epi32(quad(x + 4 * r));
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v)
        sum[r][v] =
            kSigned ? dot(sum[r][v], _mm256_abs_epi8(xr), _mm256_sign_epi8(w[v], xr)) : dot(sum[r][v], w[v], xr);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + r * 32 + v * 8), sum[r][v]);
}

// Rows of one tile interleave, so two of them at a time are copied apart.
template <bool kSigned>
void any_rows(const int8_t* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  if (rows == 1) return tile<1, kSigned>(x, quads, panel, acc);
  if (rows == 2) return tile<2, kSigned>(x, quads, panel, acc);
  constexpr int64_t kBlock = 256;
  alignas(32) int8_t part[kBlock * 8];
  int32_t sum[64];
  for (int r = 0; r < rows; r += 2) {
    const int n = rows - r < 2 ? 1 : 2;
    for (int64_t k0 = 0; k0 < quads; k0 += kBlock) {
      const int64_t n_quads = quads - k0 < kBlock ? quads - k0 : kBlock;
      for (int64_t k = 0; k < n_quads; ++k)
        std::memcpy(part + k * n * 4, x + ((k0 + k) * rows + r) * 4, static_cast<size_t>(n) * 4);
      n == 2 ? tile<2, kSigned>(part, n_quads, panel + k0 * 128, sum)
             : tile<1, kSigned>(part, n_quads, panel + k0 * 128, sum);
      for (int i = 0; i < n * 32; ++i) acc[r * 32 + i] = (k0 ? acc[r * 32 + i] : 0) + sum[i];
    }
  }
}

void signed_panel(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  any_rows<true>(static_cast<const int8_t*>(x), rows, quads, panel, acc);
}

void unsigned_panel(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc) {
  any_rows<false>(x, rows, quads, reinterpret_cast<const int8_t*>(panel), acc);
}

template <int kRows>
void four_bit_rows(const int8_t* x, const float* x_scale, const int32_t* x_sum, int64_t groups, const std::byte* panel,
                   float* y) {
  const __m256i low = _mm256_set1_epi8(15);
  __m256 out[kRows][4];
  for (auto& row : out)
    for (auto& v : row) v = _mm256_setzero_ps();
  for (int64_t g = 0; g < groups; ++g, panel += kGroupPanelBytes, x += kGroup * kRows, x_scale += kRows, x_sum += kRows)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      __m256i sum[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r] = _mm256_set1_epi32(-8 * x_sum[r]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i both = load(panel + i * 128 + v * 32);
        const __m256i a = _mm256_and_si256(both, low), b = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          sum[r] = dot(sum[r], a, _mm256_set1_epi32(quad(x + (i * kRows + r) * 4)));
          sum[r] = dot(sum[r], b, _mm256_set1_epi32(quad(x + ((i + 4) * kRows + r) * 4)));
        }
      }
      const __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(panel + 512 + v * 16)));
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        out[r][v] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r]), _mm256_mul_ps(scale, _mm256_set1_ps(x_scale[r])), out[r][v]);
    }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm256_storeu_ps(y + r * 32 + v * 8, out[r][v]);
}

void four_bit(const int8_t* x, const float* x_scale, const int32_t* x_sum, int rows, int64_t groups,
              const std::byte* panel, float* y) {
  switch (rows) {
    case 1:
      return four_bit_rows<1>(x, x_scale, x_sum, groups, panel, y);
    case 2:
      return four_bit_rows<2>(x, x_scale, x_sum, groups, panel, y);
    case 3:
      return four_bit_rows<3>(x, x_scale, x_sum, groups, panel, y);
    default:
      return four_bit_rows<4>(x, x_scale, x_sum, groups, panel, y);
  }
}

}  // namespace avx2
}  // namespace
}  // namespace onsight::compute
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#endif
namespace onsight::compute {
namespace {
namespace vnni {

inline __m512i broadcast_quad(const void* x) {
  int32_t out;
  std::memcpy(&out, x, sizeof out);
  return _mm512_set1_epi32(out);
}

template <int kTurns, int kRows>
__attribute__((always_inline)) inline void store_sums(__m512i (&sum)[kTurns][kRows][2], int32_t* acc) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 2; ++v) {
#pragma GCC unroll 4
      for (int t = 1; t < kTurns; ++t) sum[0][r][v] = _mm512_add_epi32(sum[0][r][v], sum[t][r][v]);
      _mm512_storeu_si512(acc + r * 32 + v * 16, sum[0][r][v]);
    }
}

// Few rows have too few sums to hide the latency of a dot: then quads take turns between several.
template <int kRows, bool kSigned>
void tile(const std::byte* x, int64_t quads, const std::byte* panel, int32_t* acc) {
  constexpr int kTurns = kRows == 1 ? 4 : kRows <= 4 ? 2 : 1;
  __m512i sum[kTurns][kRows][2];
  for (auto& turn : sum)
    for (auto& row : turn) row[0] = row[1] = _mm512_setzero_si512();
  const auto step = [&](int turn) __attribute__((always_inline)) {
    const __m512i w0 = _mm512_loadu_si512(panel), w1 = _mm512_loadu_si512(panel + 64);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512i xr = broadcast_quad(x + 4 * r);
      sum[turn][r][0] =
          kSigned ? _mm512_dpbusd_epi32(sum[turn][r][0], xr, w0) : _mm512_dpbusd_epi32(sum[turn][r][0], w0, xr);
      sum[turn][r][1] =
          kSigned ? _mm512_dpbusd_epi32(sum[turn][r][1], xr, w1) : _mm512_dpbusd_epi32(sum[turn][r][1], w1, xr);
    }
    x += 4 * kRows;
    panel += 128;
  };
  int64_t k = 0;
  for (; k + kTurns <= quads; k += kTurns)
#pragma GCC unroll 4
    for (int t = 0; t < kTurns; ++t) step(t);
  for (; k < quads; ++k) step(0);
  store_sums(sum, acc);
}

template <bool kSigned, int kRows = kDotRows>
void any_rows(const std::byte* x, int rows, int64_t quads, const std::byte* panel, int32_t* acc) {
  if (rows == kRows) {
    tile<kRows, kSigned>(x, quads, panel, acc);
  } else if constexpr (kRows > 1) {
    any_rows<kSigned, kRows - 1>(x, rows, quads, panel, acc);
  }
}

void signed_panel(const void* x, int rows, int64_t quads, const int8_t* panel, int32_t* acc) {
  any_rows<true>(static_cast<const std::byte*>(x), rows, quads, reinterpret_cast<const std::byte*>(panel), acc);
}

void unsigned_panel(const int8_t* x, int rows, int64_t quads, const uint8_t* panel, int32_t* acc) {
  any_rows<false>(reinterpret_cast<const std::byte*>(x), rows, quads, reinterpret_cast<const std::byte*>(panel), acc);
}

template <int kRows>
void fine_tile(const std::byte* x, int64_t quads, const std::byte* fine, int32_t* acc) {
  constexpr int kTurns = kRows == 1 ? 4 : kRows <= 4 ? 2 : 1;
  const __m512i low = _mm512_set1_epi8(kFineSteps - 1);
  const __m512i values = _mm512_set1_epi32(0x0301fffd);  // 2 · fine − 3, by the byte
  __m512i sum[kTurns][kRows][2];
  for (auto& turn : sum)
    for (auto& row : turn) row[0] = row[1] = _mm512_setzero_si512();
  for (int64_t k = 0; k < quads; k += kFineSteps, fine += 128) {
    __m512i four0 = _mm512_loadu_si512(fine), four1 = _mm512_loadu_si512(fine + 64);
    const int64_t n = quads - k;
#pragma GCC unroll 4
    for (int t = 0; t < kFineSteps; ++t) {
      if (t >= n) break;
      const __m512i w0 = _mm512_shuffle_epi8(values, _mm512_and_si512(four0, low));
      const __m512i w1 = _mm512_shuffle_epi8(values, _mm512_and_si512(four1, low));
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512i xr = broadcast_quad(x + 4 * r);
        sum[t % kTurns][r][0] = _mm512_dpbusd_epi32(sum[t % kTurns][r][0], xr, w0);
        sum[t % kTurns][r][1] = _mm512_dpbusd_epi32(sum[t % kTurns][r][1], xr, w1);
      }
      four0 = _mm512_srli_epi16(four0, 2);
      four1 = _mm512_srli_epi16(four1, 2);
      x += 4 * kRows;
    }
  }
  store_sums(sum, acc);
}

template <int kRows = kDotRows>
void any_fine_rows(const std::byte* x, int rows, int64_t quads, const std::byte* fine, int32_t* acc) {
  if (rows == kRows) {
    fine_tile<kRows>(x, quads, fine, acc);
  } else if constexpr (kRows > 1) {
    any_fine_rows<kRows - 1>(x, rows, quads, fine, acc);
  }
}

void fine_panel(const void* x, int rows, int64_t quads, const std::byte* fine, int32_t* acc) {
  any_fine_rows(static_cast<const std::byte*>(x), rows, quads, fine, acc);
}

template <int kRows>
void four_bit_rows(const int8_t* x, const float* x_scale, const int32_t* x_sum, int64_t groups, const std::byte* panel,
                   float* y) {
  const __m512i low = _mm512_set1_epi8(15);
  __m512 out[kRows][2];
  for (auto& row : out) row[0] = row[1] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups;
       ++g, panel += kGroupPanelBytes, x += kGroup * kRows, x_scale += kRows, x_sum += kRows) {
#pragma GCC unroll 4
    for (int v = 0; v < 2; ++v) {
      __m512i even[kRows], odd[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        even[r] = _mm512_set1_epi32(-8 * x_sum[r]);
        odd[r] = _mm512_setzero_si512();
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i both = _mm512_loadu_si512(panel + i * 128 + v * 64);
        const __m512i a = _mm512_and_si512(both, low), b = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          even[r] = _mm512_dpbusd_epi32(even[r], a, broadcast_quad(x + (i * kRows + r) * 4));
          odd[r] = _mm512_dpbusd_epi32(odd[r], b, broadcast_quad(x + ((i + 4) * kRows + r) * 4));
        }
      }
      const __m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + 512 + v * 32)));
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
        out[r][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(even[r], odd[r])),
                                    _mm512_mul_ps(scale, _mm512_set1_ps(x_scale[r])), out[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < 2; ++v) _mm512_storeu_ps(y + r * 32 + v * 16, out[r][v]);
}

void four_bit(const int8_t* x, const float* x_scale, const int32_t* x_sum, int rows, int64_t groups,
              const std::byte* panel, float* y) {
  switch (rows) {
    case 1:
      return four_bit_rows<1>(x, x_scale, x_sum, groups, panel, y);
    case 2:
      return four_bit_rows<2>(x, x_scale, x_sum, groups, panel, y);
    case 3:
      return four_bit_rows<3>(x, x_scale, x_sum, groups, panel, y);
    default:
      return four_bit_rows<4>(x, x_scale, x_sum, groups, panel, y);
  }
}

}  // namespace vnni
}  // namespace
}  // namespace onsight::compute
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace onsight::compute {

std::vector<const DotTiles*> dot_tiles() {
  // Two products of maddubs must not pass 2^15: i8 by i8 as |x| · sign(w, x) always fits, an unsigned panel to 127.
  static const DotTiles kAvx2 = {"AVX2", 128, 127, avx2::signed_panel, avx2::unsigned_panel, avx2::four_bit};
  static const DotTiles kVnni = {"VNNI",          0, 255, vnni::signed_panel, vnni::unsigned_panel, vnni::four_bit,
                                 vnni::fine_panel};
  std::vector<const DotTiles*> out = {&kScalarDot};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out.push_back(&kAvx2);
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vnni"))
    out.push_back(&kVnni);
  return out;
}

}  // namespace onsight::compute
#endif
