// The kernels on Highway, compiled once for each instruction set that this file allows.
#include <cmath>
#include <cstring>

#include "compute/kernels/pairs.h"
#include "compute/kernels/simd_tables.h"
#include "compute/packed_matrix.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/kernels/simd.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
// foreach_target.h includes this file once for each target, so it comes first.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "compute/kernels/vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace onsight::compute {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using hwy::float16_t;
using DF16 = hn::Rebind<float16_t, DF>;
using DU16 = hn::Rebind<uint16_t, DF>;
using DU32 = hn::Rebind<uint32_t, DF>;

// A tile keeps kTileRows × 2 accumulators in registers: 24 of 32, or 12 of 16.
#if HWY_ARCH_ARM_A64 || (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3)
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif

HWY_INLINE VF load(DF d, const float* p) { return hn::LoadU(d, p); }
HWY_INLINE VF load(DF d, const uint16_t* p) {  // bf16 is the upper half of f32
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(DU32(), hn::LoadU(DU16(), p))));
}
HWY_INLINE VF load(DF d, const float16_t* p) { return hn::PromoteTo(d, hn::LoadU(DF16(), p)); }

// acc[r][v] += sum over k of a[r, k] · b[k, v-th vector]. kAhead: of a `b` that is read once and for the first time,
// one row after the other, what is so many bytes on is asked for; the machine's own prefetching stops at the end of
// each small page.
template <int kRows, int kVectors, int64_t kAhead = 0, class T>
HWY_INLINE void accumulate(const float* HWY_RESTRICT a, int64_t a_stride, const T* HWY_RESTRICT b, int64_t b_stride,
                           int64_t depth, VF (&acc)[kRows][kVectors]) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < depth; ++k) {
    if constexpr (kAhead > 0) {
      constexpr int64_t kLine = 64;
      const int64_t bytes = kVectors * lanes * int64_t{sizeof(T)};
      for (int64_t i = kAhead; i < kAhead + bytes; i += kLine)  // a number: it may lie beyond what there is
        __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<intptr_t>(b + k * b_stride) + i));
    }
    VF bk[kVectors];
    for (int v = 0; v < kVectors; ++v) bk[v] = load(d, b + k * b_stride + v * lanes);
    for (int r = 0; r < kRows; ++r) {
      const VF ar = hn::Set(d, a[r * a_stride + k]);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(ar, bk[v], acc[r][v]);
    }
  }
}

// Few rows have too few accumulators to hide the latency of a multiply-add: kSums interleaved sums of each instead.
constexpr int kSums = 4;
constexpr int kFewTileRows = kTileRows / kSums;
template <int kRows, int kVectors, class T>
HWY_INLINE void accumulate_interleaved(const float* HWY_RESTRICT a, int64_t a_stride, const T* HWY_RESTRICT b,
                                       int64_t b_stride, int64_t depth, VF (&acc)[kRows][kVectors]) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sum[kSums][kRows][kVectors];
  for (auto& rows : sum)
    for (auto& row : rows)
      for (auto& v : row) v = hn::Zero(d);
  int64_t k = 0;
  for (; k + kSums <= depth; k += kSums)
    for (int s = 0; s < kSums; ++s) {
      VF bk[kVectors];
      for (int v = 0; v < kVectors; ++v) bk[v] = load(d, b + (k + s) * b_stride + v * lanes);
      for (int r = 0; r < kRows; ++r) {
        const VF ar = hn::Set(d, a[r * a_stride + k + s]);
        for (int v = 0; v < kVectors; ++v) sum[s][r][v] = hn::MulAdd(ar, bk[v], sum[s][r][v]);
      }
    }
  for (; k < depth; ++k)
    for (int r = 0; r < kRows; ++r) {
      const VF ar = hn::Set(d, a[r * a_stride + k]);
      for (int v = 0; v < kVectors; ++v)
        sum[0][r][v] = hn::MulAdd(ar, load(d, b + k * b_stride + v * lanes), sum[0][r][v]);
    }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v)
      acc[r][v] = hn::Add(acc[r][v], hn::Add(hn::Add(sum[0][r][v], sum[1][r][v]), hn::Add(sum[2][r][v], sum[3][r][v])));
}

template <int kRows, int kVectors>
HWY_INLINE void clear(VF (&acc)[kRows][kVectors]) {
  const DF d;
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(d);
}

// Calls body.template operator()<rows>() for a number of rows known only at run time.
template <int kRows, class Body>
HWY_INLINE void with_rows(int rows, const Body& body) {
  if (rows == kRows) {
    body.template operator()<kRows>();
  } else if constexpr (kRows > 1) {
    with_rows<kRows - 1>(rows, body);
  }
}

template <int kRows, bool kInterleaved, class T>
void gemm_rows(const GemmTile& t, int64_t row) {
  const DF d;
  constexpr int kVectors = 2;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const float* x = t.x + row * t.x_stride;
  for (int column = 0; column < t.columns; column += kVectors * lanes) {
    VF acc[kRows][kVectors];
    clear(acc);
    const T* b = static_cast<const T*>(t.panel) + column;
    if constexpr (kInterleaved) {
      accumulate_interleaved<kRows, kVectors>(x, t.x_stride, b, kPanel, t.depth, acc);
    } else {
      accumulate<kRows, kVectors>(x, t.x_stride, b, kPanel, t.depth, acc);
    }
    for (int v = 0; v < kVectors; ++v) {
      const int at = column + v * lanes;
      const int valid = t.columns - at < lanes ? t.columns - at : lanes;
      if (valid <= 0) break;
      HWY_ALIGN float edge[hn::MaxLanes(DF())] = {};
      const bool whole = valid == lanes;
      VF bias = hn::Zero(d);
      if (t.bias) {
        if (!whole) std::memcpy(edge, t.bias + at, static_cast<size_t>(valid) * sizeof(float));
        bias = hn::LoadU(d, whole ? t.bias + at : edge);
      }
      for (int r = 0; r < kRows; ++r) {
        const int64_t out = (row + r) * t.y_stride + at;
        VF y = activate(d, hn::Add(acc[r][v], bias), t.activation);
        if (whole) {
          if (t.residual) y = hn::Add(y, hn::LoadU(d, t.residual + out));
          hn::StoreU(y, d, t.y + out);
        } else {
          if (t.residual) {
            std::memcpy(edge, t.residual + out, static_cast<size_t>(valid) * sizeof(float));
            y = hn::Add(y, hn::Load(d, edge));
          }
          hn::Store(y, d, edge);
          std::memcpy(t.y + out, edge, static_cast<size_t>(valid) * sizeof(float));
        }
      }
    }
  }
}

template <class T>
void gemm(const GemmTile& t) {
  int64_t row = 0;
  if (t.rows <= kExactRows) {  // each row is summed as if it were alone
    for (; row + kFewTileRows <= t.rows; row += kFewTileRows) gemm_rows<kFewTileRows, true, T>(t, row);
    with_rows<kFewTileRows>(static_cast<int>(t.rows - row), [&]<int kRows>() { gemm_rows<kRows, true, T>(t, row); });
    return;
  }
  for (; row + kTileRows <= t.rows; row += kTileRows) gemm_rows<kTileRows, false, T>(t, row);
  with_rows<kTileRows>(static_cast<int>(t.rows - row), [&]<int kRows>() { gemm_rows<kRows, kRows == 1, T>(t, row); });
}

// Scores of kRows queries against `pages` pages of keys; s has one row of `keys` floats a query.
template <int kRows, class T>
void score_rows(const AttendBlock& b, int row, int64_t pages, float* s, int64_t keys) {
  const DF d;
  constexpr int kVectors = 2;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const VF scale = hn::Set(d, b.scale);
  for (int64_t p = 0; p < pages; ++p) {
    for (int column = 0; column < kKvPage; column += kVectors * lanes) {
      VF acc[kRows][kVectors];
      clear(acc);
      accumulate<kRows, kVectors>(b.q + row * b.q_stride, b.q_stride, static_cast<const T*>(b.pages[p].keys) + column,
                                  kKvPage, b.head_dim, acc);
      for (int r = 0; r < kRows; ++r)
        for (int v = 0; v < kVectors; ++v)
          hn::StoreU(hn::Mul(acc[r][v], scale), d, s + (row + r) * keys + p * kKvPage + column + v * lanes);
    }
  }
}

template <int kRows, int kVectors, class T>
void mix_columns(const AttendBlock& b, const float* p, int64_t keys, int total, int64_t value_stride, int64_t column,
                 float* out) {
  const DF d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  VF acc[kRows][kVectors];
  clear(acc);
  for (int n = 0; n < total; n += kKvPage) {
    const int64_t count =
        total - n < kKvPage ? total - n : kKvPage;  // rows of values beyond the last key are never read
    accumulate<kRows, kVectors>(p + n, keys, static_cast<const T*>(b.pages[n / kKvPage].values) + column, value_stride,
                                count, acc);
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[r][v], d, out + r * value_stride + column + v * lanes);
}

struct Exponentials {
  float largest, sum;
};

// Scores p[keys], whole vectors, of which the first `visible` count, to exp(score − largest), the others to nothing.
HWY_INLINE Exponentials exponentials(float* p, int64_t visible, int64_t keys) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t n = visible; n < keys; ++n) p[n] = -INFINITY;
  VF largest = hn::LoadU(d, p);
  for (int64_t n = lanes; n < keys; n += lanes) largest = hn::Max(largest, hn::LoadU(d, p + n));
  largest = hn::MaxOfLanes(d, largest);
  VF sum = hn::Zero(d);
  for (int64_t n = 0; n < keys; n += lanes) {
    const VF e = hn::Exp(d, hn::Max(hn::Sub(hn::LoadU(d, p + n), largest), hn::Set(d, -200.0f)));
    hn::StoreU(e, d, p + n);
    sum = hn::Add(sum, e);
  }
  return {hn::GetLane(largest), hn::GetLane(hn::SumOfLanes(d, sum))};
}

template <class T>
void attend_in(const AttendBlock& b) {
  const DF d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int total = 0;
  for (int r = 0; r < b.rows; ++r) total = total > b.visible[r] ? total : b.visible[r];
  const int64_t pages = (total + kKvPage - 1) / kKvPage, keys = pages * kKvPage;
  const int64_t value_stride = kv_value_stride(b.head_dim);
  float* s = b.scratch;
  float* mixed = b.scratch + kAttendRows * keys;
  float inverse[kAttendRows];

  int row = 0;
  for (; row + kTileRows <= b.rows; row += kTileRows) score_rows<kTileRows, T>(b, row, pages, s, keys);
  with_rows<kTileRows>(b.rows - row, [&]<int kRows>() { score_rows<kRows, T>(b, row, pages, s, keys); });

  for (int r = 0; r < b.rows; ++r) {
    inverse[r] = 1.0f / exponentials(s + r * keys, b.visible[r], keys).sum;
  }

  row = 0;
  const auto mix = [&]<int kRows>() {
    int64_t column = 0;
    float* out = mixed + row * value_stride;
    const float* p = s + row * keys;
    for (; column + 2 * lanes <= value_stride; column += 2 * lanes)
      mix_columns<kRows, 2, T>(b, p, keys, total, value_stride, column, out);
    for (; column < value_stride; column += lanes)
      mix_columns<kRows, 1, T>(b, p, keys, total, value_stride, column, out);
  };
  for (; row + kTileRows <= b.rows; row += kTileRows) mix.template operator()<kTileRows>();
  with_rows<kTileRows>(b.rows - row, mix);
  for (int r = 0; r < b.rows; ++r)
    for (int64_t i = 0; i < b.head_dim; ++i) b.out[r * b.out_stride + i] = mixed[r * value_stride + i] * inverse[r];
}

void attend(const AttendBlock& b) { b.kv == DType::kF16 ? attend_in<float16_t>(b) : attend_in<float>(b); }

using VU32 = hn::Vec<DU32>;

// The nearest bf16, ties to even, in the upper half of a lane; what the lower half holds is left over.
HWY_INLINE VU32 near_bf16(VF x) {
  const DU32 d;
  const VU32 bits = hn::BitCast(d, x);
  return hn::Add(bits, hn::Add(hn::Set(d, 0x7fff), hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1))));
}

void round_bf16(const float* x, int64_t n, uint16_t* out) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::TruncateTo(DU16(), hn::ShiftRight<16>(near_bf16(hn::LoadU(d, x + i)))), DU16(), out + i);
  for (; i < n; ++i) out[i] = to_bf16(x[i]);
}

template <class T>
void interleave_in(const T* a, const T* b, int64_t n, uint16_t* out) {
  const DF d;
  const DU32 du;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    const VU32 low = hn::ShiftRight<16>(near_bf16(load(d, a + i)));
    const VU32 high = b ? hn::And(near_bf16(load(d, b + i)), hn::Set(du, 0xffff0000u)) : hn::Zero(du);
    hn::StoreU(hn::Or(high, low), du, reinterpret_cast<uint32_t*>(out + 2 * i));
  }
}

void interleave(DType dtype, const void* a, const void* b, int64_t n, uint16_t* out) {
  const auto in = [&]<class T>(const T*) { interleave_in(static_cast<const T*>(a), static_cast<const T*>(b), n, out); };
  if (dtype == DType::kF16) return in(static_cast<const float16_t*>(nullptr));
  if (dtype == DType::kBF16) return in(static_cast<const uint16_t*>(nullptr));
  in(static_cast<const float*>(nullptr));
}

void attend_pairs(const PairTiles& tiles, const PairBlock& b) {
  int64_t total = 0;
  for (int r = 0; r < b.rows; ++r) total = total > b.visible[r] ? total : b.visible[r];
  const int64_t keys = pair_filled(total, kPairColumns), width = pair_value_stride(b.head_dim);
  const int64_t key_pairs = (b.head_dim + 1) / 2, page = key_pairs * kKvPage * 2;
  float *s = b.scratch, *mixed = s + kPairRows * keys;
  auto* p = reinterpret_cast<uint16_t*>(mixed + kPairRows * width);
  uint16_t* q = p + kPairRows * keys;
  float inverse[kPairRows];

  for (int r = 0; r < b.rows; ++r) {
    for (int64_t i = 0; i < b.head_dim; ++i) mixed[i] = b.q[r * b.q_stride + i] * b.scale;
    round_bf16(mixed, b.head_dim, q + r * width);
    for (int64_t i = b.head_dim; i < width; ++i) q[r * width + i] = 0;
  }
  for (int64_t key = 0; key < keys; key += kPairColumns)
    tiles.tile({.x = q,
                .x_stride = width,
                .rows = b.rows,
                .pairs = key_pairs,
                .panel = b.head.keys + key / kKvPage * page + key % kKvPage * 2,
                .panel_stride = 2 * kKvPage,
                .y = s + key,
                .y_stride = keys,
                .add = false});
  for (int r = 0; r < b.rows; ++r) {
    inverse[r] = 1.0f / exponentials(s + r * keys, b.visible[r], keys).sum;
    round_bf16(s + r * keys, keys, p + r * keys);
  }
  for (int64_t column = 0; column < width; column += kPairColumns)
    tiles.tile({.x = p,
                .x_stride = keys,
                .rows = b.rows,
                .pairs = (total + 1) / 2,
                .panel = b.head.values + 2 * column,
                .panel_stride = 2 * width,
                .y = mixed + column,
                .y_stride = width,
                .add = false});
  for (int r = 0; r < b.rows; ++r)
    for (int64_t i = 0; i < b.head_dim; ++i) b.out[r * b.out_stride + i] = mixed[r * width + i] * inverse[r];
}

// A page is read once from its beginning to its end, four vectors side by side.
constexpr int kPageVectors = 4;
constexpr int64_t kPageAhead = 4096;
constexpr int kPageRows = kTileRows / 2;

template <int kRows, class T>
void attend_page_rows(const AttendPage& a, int row) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), value_stride = kv_value_stride(a.head_dim);
  const float* q = a.q + int64_t{row} * a.head_dim;
  HWY_ALIGN float s[kRows * kKvPage];
  const VF scale = hn::Set(d, a.scale);
  for (int64_t column = 0; column < a.visible; column += kPageVectors * lanes) {
    VF acc[kRows][kPageVectors];
    clear(acc);
    accumulate<kRows, kPageVectors, kPageAhead>(q, a.head_dim, static_cast<const T*>(a.page.keys) + column, kKvPage,
                                                a.head_dim, acc);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPageVectors; ++v)
        hn::StoreU(hn::Mul(acc[r][v], scale), d, s + r * kKvPage + column + v * lanes);
  }
  for (int r = 0; r < kRows; ++r) {
    const Exponentials e = exponentials(s + r * kKvPage, a.visible, kKvPage);
    a.largest[(row + r) * a.stride] = e.largest;
    a.sum[(row + r) * a.stride] = e.sum;
  }
  const auto mix = [&]<int kVectors>(int64_t column) {
    VF acc[kRows][kVectors];
    clear(acc);
    accumulate<kRows, kVectors, kPageAhead>(s, kKvPage, static_cast<const T*>(a.page.values) + column, value_stride,
                                            a.visible, acc);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v)
        hn::StoreU(acc[r][v], d, a.mixed + (row + r) * a.mixed_stride + column + v * lanes);
  };
  int64_t column = 0;
  for (; column + kPageVectors * lanes <= value_stride; column += kPageVectors * lanes)
    mix.template operator()<kPageVectors>(column);
  for (; column < value_stride; column += lanes) mix.template operator()<1>(column);
}

template <class T>
void attend_page_in(const AttendPage& a) {
  int row = 0;
  for (; row + kPageRows <= a.rows; row += kPageRows) attend_page_rows<kPageRows, T>(a, row);
  with_rows<kPageRows>(a.rows - row, [&]<int kRows>() { attend_page_rows<kRows, T>(a, row); });
}

void attend_page(const AttendPage& a) { a.kv == DType::kF16 ? attend_page_in<float16_t>(a) : attend_page_in<float>(a); }

void merge_pages(float* largest, const float* sum, const float* mixed, int64_t pages, int64_t head_dim, float* out) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), value_stride = kv_value_stride(head_dim);
  float most = largest[0], total = 0;
  for (int64_t p = 1; p < pages; ++p) most = largest[p] > most ? largest[p] : most;
  for (int64_t p = 0; p < pages; p += lanes) {
    HWY_ALIGN float share[hn::MaxLanes(DF())] = {};
    const int64_t n = pages - p < lanes ? pages - p : lanes;
    std::memcpy(share, largest + p, static_cast<size_t>(n) * sizeof(float));
    const VF below = hn::Sub(hn::Load(d, share), hn::Set(d, most));
    hn::Store(hn::Exp(d, hn::Max(below, hn::Set(d, -200.0f))), d, share);
    std::memcpy(largest + p, share, static_cast<size_t>(n) * sizeof(float));
    for (int64_t i = 0; i < n; ++i) total += share[i] * sum[p + i];
  }
  const VF inverse = hn::Set(d, 1.0f / total);
  for (int64_t column = 0; column < head_dim; column += lanes) {
    VF acc = hn::Zero(d);
    for (int64_t p = 0; p < pages; ++p)
      acc = hn::MulAdd(hn::Set(d, largest[p]), hn::LoadU(d, mixed + p * value_stride + column), acc);
    acc = hn::Mul(acc, inverse);
    if (column + lanes <= head_dim) {
      hn::StoreU(acc, d, out + column);
    } else {
      HWY_ALIGN float edge[hn::MaxLanes(DF())];
      hn::Store(acc, d, edge);
      std::memcpy(out + column, edge, static_cast<size_t>(head_dim - column) * sizeof(float));
    }
  }
}

template <class T>
HWY_INLINE void put_values(const float* x, int64_t n, int64_t filled, T* out) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float edge[hn::MaxLanes(DF())] = {};
  for (int64_t i = 0; i < filled; i += lanes) {
    const float* from = x + i;
    if (i + lanes > n) {
      for (int64_t j = 0; j < lanes; ++j) edge[j] = i + j < n ? x[i + j] : 0;
      from = edge;
    }
    if constexpr (sizeof(T) == 4) {
      hn::StoreU(hn::LoadU(d, from), d, out + i);
    } else {
#if HWY_TARGET == HWY_SSE4  // has no such instruction, and Highway's own steps do not round
      for (int64_t j = 0; j < lanes; ++j) {
        const uint16_t half = to_f16(from[j]);
        std::memcpy(out + i + j, &half, sizeof half);
      }
#else
      const VF largest = hn::Set(d, 65504.0f);
      const VF v = hn::Min(hn::Max(hn::LoadU(d, from), hn::Neg(largest)), largest);
      hn::StoreU(hn::DemoteTo(DF16(), v), DF16(), out + i);
#endif
    }
  }
}

template <class T>
void put_kv_in(const float* k, const float* v, int64_t head_dim, int position, T* keys, T* values) {
  const int64_t value_stride = kv_value_stride(head_dim);
  put_values(v, head_dim, value_stride, values + position * value_stride);
  HWY_ALIGN T part[kHeadAlign];
  for (int64_t i = 0; i < head_dim; i += kHeadAlign) {
    const int64_t n = head_dim - i < kHeadAlign ? head_dim - i : kHeadAlign;
    put_values(k + i, n, kHeadAlign, part);
    for (int64_t j = 0; j < n; ++j) keys[(i + j) * kKvPage + position] = part[j];
  }
}

void put_kv(const float* k, const float* v, int64_t head_dim, DType kv, int position, void* keys, void* values) {
  if (kv == DType::kF16)
    return put_kv_in(k, v, head_dim, position, static_cast<float16_t*>(keys), static_cast<float16_t*>(values));
  put_kv_in(k, v, head_dim, position, static_cast<float*>(keys), static_cast<float*>(values));
}

// Applies `body` to whole vectors of [0, n), and to one last part through a padded buffer.
template <class Body>
HWY_INLINE void elementwise(int64_t n, const float* a, const float* b, float* y, const Body& body) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(body(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  if (i == n) return;
  HWY_ALIGN float ea[hn::MaxLanes(DF())] = {};
  HWY_ALIGN float eb[hn::MaxLanes(DF())] = {};
  const size_t bytes = static_cast<size_t>(n - i) * sizeof(float);
  std::memcpy(ea, a + i, bytes);
  std::memcpy(eb, b + i, bytes);
  hn::Store(body(hn::Load(d, ea), hn::Load(d, eb)), d, ea);
  std::memcpy(y + i, ea, bytes);
}

// Sum over i of body(x[i]) with several partial sums, so that long rows lose no precision.
template <class Body>
HWY_INLINE float sum_of(const float* x, int64_t n, const Body& body) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF s0 = hn::Zero(d), s1 = s0;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 = hn::Add(s0, body(hn::LoadU(d, x + i)));
    s1 = hn::Add(s1, body(hn::LoadU(d, x + i + lanes)));
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += hn::GetLane(body(hn::Set(d, x[i])));
  return sum;
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y) {
  const DF d;
  const float mean = sum_of(x, n, [](VF v) { return v; }) / static_cast<float>(n);
  const VF m = hn::Set(d, mean);
  const float variance = sum_of(x, n,
                                [m](VF v) {
                                  const VF c = hn::Sub(v, m);
                                  return hn::Mul(c, c);
                                }) /
                         static_cast<float>(n);
  const VF scale = hn::Set(d, 1.0f / std::sqrt(variance + eps));
  elementwise(n, x, weight, y, [&](VF v, VF w) { return hn::Mul(hn::Mul(hn::Sub(v, m), scale), w); });
  elementwise(n, y, bias, y, [&](VF v, VF b) { return hn::Add(v, b); });
}

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const DF d;
  const float square = sum_of(x, n, [](VF v) { return hn::Mul(v, v); }) / static_cast<float>(n);
  const VF scale = hn::Set(d, 1.0f / std::sqrt(square + eps));
  elementwise(n, x, weight, y, [&](VF v, VF w) { return hn::Mul(hn::Mul(v, scale), w); });
}

void rope(const float* x, const float* cos, const float* sin, int64_t half, float* y) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const VF a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + half);
    const VF c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, y + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, y + i + half);
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    y[i] = a * cos[i] - b * sin[i];
    y[i + half] = b * cos[i] + a * sin[i];
  }
}

void swiglu(const float* gate, const float* up, int64_t n, float* y) {
  elementwise(n, gate, up, y, [](VF g, VF u) { return hn::Mul(silu(DF(), g), u); });
}

void add(const float* a, const float* b, int64_t n, float* y) {
  elementwise(n, a, b, y, [](VF u, VF v) { return hn::Add(u, v); });
}

// Three of the transform's six rounds at a time, on eight parts of a block that stay in registers.
template <class D>
HWY_INLINE void turn_eight(D d, float* x, int64_t step, int64_t n, hn::VFromD<D> factor) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j + lanes <= n; j += lanes) {
    hn::VFromD<D> a[8];
    for (int i = 0; i < 8; ++i) a[i] = hn::LoadU(d, x + i * step + j);
    for (int half = 1; half < 8; half *= 2)
      for (int i = 0; i < 8; ++i) {
        if (i & half) continue;
        const auto u = a[i], v = a[i + half];
        a[i] = hn::Add(u, v);
        a[i + half] = hn::Sub(u, v);
      }
    for (int i = 0; i < 8; ++i) hn::StoreU(hn::Mul(a[i], factor), d, x + i * step + j);
  }
}

// In vectors as wide as what is left allows: a part of 1536 numbers over 64 is one and a half.
template <int kMostLanes>
HWY_INLINE void turn_columns(float* x, int64_t step, int64_t n, float factor) {
  const hn::CappedTag<float, kMostLanes> d;
  const int64_t whole = n - n % static_cast<int64_t>(hn::Lanes(d));
  turn_eight(d, x, step, whole, hn::Set(d, factor));
  if constexpr (kMostLanes > 1) turn_columns<kMostLanes / 2>(x + whole, step, n - whole, factor);
}

void rotate(float* x, int64_t n) {
  const int64_t step = n / kRotated;
  for (int i = 0; i < 8; ++i) turn_columns<16>(x + i * 8 * step, step, step, 1.0f);
  for (int i = 0; i < 8; ++i) turn_columns<16>(x + i * step, 8 * step, step, 1.0f / 8);
}

KernelTable table() {
  return {hwy::TargetName(HWY_TARGET),
          gemm<float>,
          gemm<uint16_t>,
          attend,
          attend_page,
          merge_pages,
          put_kv,
          layer_norm,
          rms_norm,
          rope,
          swiglu,
          add,
          rotate,
          nullptr,
          nullptr,
          nullptr,
          interleave,
          round_bf16,
          attend_pairs};
}

}  // namespace HWY_NAMESPACE
}  // namespace onsight::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onsight::compute {

std::vector<SimdTable> simd_kernels() {
  std::vector<SimdTable> tables;
  [[maybe_unused]] const int64_t supported = hwy::SupportedTargets();
#if HWY_TARGETS & HWY_SSE4
  if (supported & HWY_SSE4) tables.push_back({HWY_SSE4, N_SSE4::table()});
#endif
#if HWY_TARGETS & HWY_AVX2
  if (supported & HWY_AVX2) tables.push_back({HWY_AVX2, N_AVX2::table()});
#endif
#if HWY_TARGETS & HWY_AVX3
  if (supported & HWY_AVX3) tables.push_back({HWY_AVX3, N_AVX3::table()});
#endif
#if HWY_TARGETS & HWY_NEON
  // Every aarch64 has NEON. Highway asks for AES too, which no kernel uses and the Raspberry Pi 4 lacks.
  if (HWY_ARCH_ARM_A64 || (supported & HWY_NEON)) tables.push_back({HWY_NEON, N_NEON::table()});
#endif
  return tables;
}

}  // namespace onsight::compute
#endif
