#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "compute/kernels/pairs.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 finds its own _mm512_undefined_ps()
#endif

// What stands between the two pragmas may use the instruction set, whatever the rest of the program is compiled for.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#endif
namespace onsight::compute {
namespace {
namespace avx512_bf16 {

// The type of the instruction's operands is a mere name for 64 bytes.
__attribute__((always_inline)) inline __m512bh as_pairs(__m512i v) {
  __m512bh out;
  std::memcpy(&out, &v, sizeof out);
  return out;
}

__attribute__((always_inline)) inline __m512bh broadcast_pair(const uint16_t* x) {
  int32_t pair;
  std::memcpy(&pair, x, sizeof pair);
  return as_pairs(_mm512_set1_epi32(pair));
}

template <int kRows>
void pair_rows(const PairTile& t) {
  __m512 sum[kRows][2];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    float* y = t.y + r * t.y_stride;
    sum[r][0] = t.add ? _mm512_loadu_ps(y) : _mm512_setzero_ps();
    sum[r][1] = t.add ? _mm512_loadu_ps(y + 16) : _mm512_setzero_ps();
  }
  const uint16_t *x = t.x, *panel = t.panel;
  for (int64_t p = 0; p < t.pairs; ++p, x += 2, panel += t.panel_stride) {
    const __m512bh w0 = as_pairs(_mm512_loadu_si512(panel)), w1 = as_pairs(_mm512_loadu_si512(panel + 32));
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512bh xr = broadcast_pair(x + r * t.x_stride);
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], xr, w0);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], xr, w1);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(t.y + r * t.y_stride, sum[r][0]);
    _mm512_storeu_ps(t.y + r * t.y_stride + 16, sum[r][1]);
  }
}

template <int kRows = kPairRows>
void any_pair_rows(const PairTile& t) {
  if (t.rows == kRows) {
    pair_rows<kRows>(t);
  } else if constexpr (kRows > 1) {
    any_pair_rows<kRows - 1>(t);
  }
}

}  // namespace avx512_bf16
}  // namespace
}  // namespace onsight::compute
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace onsight::compute {

const PairTiles* pair_tiles() {
  static const PairTiles kTiles = {"BF16", avx512_bf16::any_pair_rows<>};
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") ? &kTiles : nullptr;
}

}  // namespace onsight::compute
#endif
