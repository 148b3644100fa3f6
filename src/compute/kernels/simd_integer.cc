// The kernels of integer.h on Highway.
#include <algorithm>
#include <cstring>

#include "compute/dtype.h"
#include "compute/kernels/kv_codes.h"
#include "compute/kernels/simd_tables.h"
#include "compute/packed_matrix.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/kernels/simd_integer.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "compute/kernels/vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace onsight::compute {
namespace HWY_NAMESPACE {

// What is added before rounding a probability turns with the keys, so that a long tail of small ones keeps its
// weight.
struct Turns {
  HWY_ALIGN float at[256];
  constexpr Turns() : at() {
    for (int i = 0; i < 256; ++i) {
      const double x = 0.5 + i * 0.6180339887498949;
      at[i] = static_cast<float>(0.9999 * (x - static_cast<double>(static_cast<int64_t>(x))) - 0.5);
    }
  }
};
constexpr Turns kTurns;

constexpr int64_t kBlockKeys = 256;  // scores of a block and its probabilities stay in the first caches

// Up to a vector of floats from the end of a row.
HWY_INLINE VF load_part(DF d, const float* x, int64_t n) {
  HWY_ALIGN float part[hn::MaxLanes(DF())] = {};
  std::memcpy(part, x, static_cast<size_t>(n) * sizeof(float));
  return hn::Load(d, part);
}

// i32 lanes of 0…255 (or −128…127) to dwords of four neighbours each, written `stride` apart.
HWY_INLINE void store_quads(VI32 v, std::byte* out, int64_t stride, int64_t quads) {
  const DI32 d;
  const hn::Rebind<uint8_t, DI32> d8;
  const auto wrapped = hn::And(v, hn::Set(d, 255));
  HWY_ALIGN uint8_t bytes[hn::MaxLanes(DI32())];
  hn::Store(hn::U8FromU32(hn::BitCast(hn::RebindToUnsigned<DI32>(), wrapped)), d8, bytes);
  for (int64_t q = 0; q < quads; ++q) std::memcpy(out + q * stride, bytes + q * kQuad, kQuad);
}

// Added to a float below 2^22, leaves its nearest integer in the lowest bits.
constexpr float kRounder = 12582912.0f;

// top · 2^x for x up to 60; relative error 1e-4, far below the step of the codes.
HWY_INLINE VF scaled_exp2(DF d, VF x, float top) {
  const auto of_fraction = [&](VF f) {  // top · 2^f for f between −1/2 and 1/2
    VF p = hn::MulAdd(f, hn::Set(d, 0.0555041f * top), hn::Set(d, 0.2402265f * top));
    p = hn::MulAdd(f, p, hn::Set(d, 0.6931472f * top));
    return hn::MulAdd(f, p, hn::Set(d, top));
  };
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return VF{
      _mm512_scalef_ps(of_fraction(VF{_mm512_reduce_ps(x.raw, kNearest)}).raw, _mm512_roundscale_ps(x.raw, kNearest))};
#else
  const DI32 di;
  const VF rounder = hn::Set(d, kRounder), bounded = hn::Max(x, hn::Set(d, -60.0f));
  const VF whole = hn::Add(bounded, rounder);
  const VF p = of_fraction(hn::Sub(bounded, hn::Sub(whole, rounder)));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p),
                                hn::ShiftLeft<23>(hn::BitCast(di, whole))));  // the rounder's bits leave at the top
#endif
}

#if HWY_TARGET != HWY_SCALAR  // whose vectors have one number
// Four rows of four numbers of 32 bits as columns.
template <class D, class V>
HWY_INLINE void transpose_four(D d, V a, V b, V c, V e, V (&out)[4]) {
  const V ac = hn::InterleaveLower(d, a, c), be = hn::InterleaveLower(d, b, e);
  const V ac2 = hn::InterleaveUpper(d, a, c), be2 = hn::InterleaveUpper(d, b, e);
  out[0] = hn::InterleaveLower(d, ac, be);
  out[1] = hn::InterleaveUpper(d, ac, be);
  out[2] = hn::InterleaveLower(d, ac2, be2);
  out[3] = hn::InterleaveUpper(d, ac2, be2);
}
#endif

constexpr int64_t kColumns = 16;  // of a tile that become codes together: a 128-bit vector of each row

// Codes of a tile and, where kFine, what they leave.
template <bool kCentred, bool kFine>
void quantise_tile(const float* x, int64_t stride, int rows, const float* centre, int64_t n, int offset,
                   std::byte* codes, std::byte* rest, float* scale, int32_t* zero) {
  const DF d;
  const DI32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto load = [&](int r, int64_t i) {
    const float* at = x + r * stride + i;
    const VF v = i + lanes <= n ? hn::LoadU(d, at) : load_part(d, at, n - i);
    if (!kCentred) return v;
    return hn::Sub(v, i + lanes <= n ? hn::LoadU(d, centre + i) : load_part(d, centre + i, n - i));
  };
  constexpr int kUnits = kFine ? kRestUnits : 1;
  float factors[kDotRows];
  int32_t shifts[kDotRows];
  for (int r = 0; r < rows; ++r) {
    VF low = hn::Zero(d), high = hn::Zero(d);
    for (int64_t i = 0; i < n; i += lanes) {
      const VF v = load(r, i);
      low = hn::Min(low, v);
      high = hn::Max(high, v);
    }
    const float least = hn::GetLane(hn::MinOfLanes(d, low)), most = hn::GetLane(hn::MaxOfLanes(d, high));
    // Fine codes: a step fewer than there are codes, so that none is cut off wherever between two codes zero lies.
    const float step = most > least ? (most - least) / (kFine ? 254.0f : 255.0f) : 1.0f, inverse = 1.0f / step;
    const auto at_zero = static_cast<int32_t>(kFine ? std::ceil(-least * inverse) : std::nearbyint(-least * inverse));
    scale[r] = step;
    zero[r] = at_zero - offset;
    factors[r] = inverse * kUnits;
    shifts[r] = at_zero * kUnits + kUnits / 2;  // of 1 nothing
  }
  const hn::Rebind<uint8_t, DI32> d8;
  const auto off = hn::Set(d8, static_cast<uint8_t>(offset));
  // The codes of some values, less the offset. Only the largest may pass its bound, by rounding.
  const auto encode = [&](VF v, int r, uint8_t* to, uint8_t* left) {
    VI32 c = hn::Add(hn::NearestInt(hn::Mul(v, hn::Set(d, factors[r]))), hn::Set(di, shifts[r]));
    if constexpr (kFine) {
      c = hn::Max(c, hn::Zero(di));
      hn::StoreU(hn::DemoteTo(d8, hn::And(c, hn::Set(di, kRestUnits - 1))), d8, left);
      c = hn::ShiftRight<4>(c);
    }
    hn::StoreU(hn::Sub(hn::DemoteTo(d8, c), off), d8, to);
  };
  HWY_ALIGN uint8_t part[1 + kFine][kDotRows][kColumns];
  std::byte* const outs[] = {codes, rest};
  int64_t done = 0;
  if (rows == 1) {  // its quads lie side by side
    for (; done + kColumns <= n; done += kColumns)
      for (int64_t j = 0; j < kColumns; j += lanes)
        encode(load(0, done + j), 0, reinterpret_cast<uint8_t*>(codes) + done + j,
               reinterpret_cast<uint8_t*>(rest) + done + j);
  }
  for (int64_t i = done; i < n; i += kColumns) {
    for (int r = 0; r < rows; ++r)
      for (int64_t j = 0; j < kColumns && i + j < n; j += lanes)
        encode(load(r, i + j), r, part[0][r] + j, part[kFine][r] + j);
    const int64_t quads = std::min<int64_t>(kColumns / kQuad, (n - i + kQuad - 1) / kQuad);
    for (int which = 0; which <= kFine; ++which) {
      const auto& from = part[which];
      std::byte* to = outs[which] + i * rows;
      int r = 0;
#if HWY_TARGET != HWY_SCALAR
      const hn::Full128<uint32_t> du;
      for (; quads == 4 && r + 4 <= rows; r += 4) {
        const auto row = [&](int k) { return hn::Load(du, reinterpret_cast<const uint32_t*>(from[r + k])); };
        hn::Vec<decltype(du)> out[4];
        transpose_four(du, row(0), row(1), row(2), row(3), out);
        for (int q = 0; q < 4; ++q) hn::StoreU(out[q], du, reinterpret_cast<uint32_t*>(to + (q * rows + r) * kQuad));
      }
#endif
      for (; r < rows; ++r)
        for (int64_t q = 0; q < quads; ++q) std::memcpy(to + (q * rows + r) * kQuad, from[r] + q * kQuad, kQuad);
    }
  }
}

void quantise(const float* x, int64_t stride, int rows, const float* centre, int64_t n, int offset, std::byte* codes,
              float* scale, int32_t* zero) {
  centre ? quantise_tile<true, false>(x, stride, rows, centre, n, offset, codes, nullptr, scale, zero)
         : quantise_tile<false, false>(x, stride, rows, centre, n, offset, codes, nullptr, scale, zero);
}

void quantise_fine(const float* x, int64_t stride, int rows, int64_t n, int offset, std::byte* codes, std::byte* rest,
                   float* scale, int32_t* zero) {
  quantise_tile<false, true>(x, stride, rows, nullptr, n, offset, codes, rest, scale, zero);
}

void quantise_groups(const float* x, int64_t n, int8_t* codes, int64_t stride, float* scale, int32_t* sum, int rows) {
  const DF d;
  const DI32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float part[kGroup];
  for (int64_t g = 0; g * kGroup < n; ++g) {
    const int64_t count = std::min<int64_t>(kGroup, n - g * kGroup);
    std::memcpy(part, x + g * kGroup, static_cast<size_t>(count) * sizeof(float));
    std::fill(part + count, part + kGroup, 0.0f);
    VF most = hn::Zero(d);
    for (int64_t i = 0; i < kGroup; i += lanes) most = hn::Max(most, hn::Abs(hn::Load(d, part + i)));
    const float largest = hn::GetLane(hn::MaxOfLanes(d, most));
    const float step = largest > 0 ? largest / 127.0f : 1.0f;
    const VF factor = hn::Set(d, 1.0f / step);
    VI32 total = hn::Zero(di);
    for (int64_t i = 0; i < kGroup; i += lanes) {
      const VI32 c = hn::NearestInt(hn::Mul(hn::Load(d, part + i), factor));
      total = hn::Add(total, c);
      store_quads(c, reinterpret_cast<std::byte*>(codes) + (g * kGroup + i) / kQuad * stride, stride, lanes / kQuad);
    }
    scale[g * rows] = step;
    sum[g * rows] = hn::GetLane(hn::SumOfLanes(di, total));
  }
}

// Activations of layers in codes: within 1e-4 of the exact ones, a tenth of the step of a code.
HWY_INLINE VF near_gelu(DF d, VF x) {
  const VF square = hn::Mul(x, x);
  constexpr float k = -2 * 0.7978845608028654f * 1.44269504f;
  const VF power = hn::Mul(x, hn::MulAdd(hn::Set(d, k * 0.044715f), square, hn::Set(d, k)));
  const VF e = scaled_exp2(d, hn::Min(power, hn::Set(d, 60.0f)), 1.0f);
  const VF below = hn::Add(hn::Set(d, 1.0f), e);
  const VF guess = hn::ApproximateReciprocal(below);
  return hn::Mul(hn::Mul(x, guess), hn::NegMulAdd(below, guess, hn::Set(d, 2.0f)));
}

static_assert(kFineUnits == 1 << 3 && kRestUnits == 1 << 4 && kRestUnits == kFineUnits << 1);

template <bool kWhole, Activation kActivation>
void finish_columns(const DotFinish& f, int j, int valid) {
  const DF d;
  const DI32 di;
  const VF bias = f.bias ? (kWhole ? hn::LoadU(d, f.bias + j) : load_part(d, f.bias + j, valid)) : hn::Zero(d);
  const VF w_scale = f.acc ? hn::LoadU(d, f.w_scale + j) : hn::Zero(d);
  const VF w_sum = f.acc ? hn::Mul(w_scale, hn::ConvertTo(d, hn::LoadU(di, f.w_sum + j))) : hn::Zero(d);
  for (int r = 0; r < f.rows; ++r) {
    VF y;
    if (f.acc) {
      const VF shift = hn::NegMulAdd(hn::Set(d, f.x_scale[r] * static_cast<float>(f.x_zero[r])), w_sum, bias);
      VI32 sum = hn::LoadU(di, f.acc + r * kPanel + j);
      if (f.fine) sum = hn::Add(hn::ShiftLeft<3>(sum), hn::LoadU(di, f.fine + r * kPanel + j));
      if (f.rest)
        sum = hn::Add(f.fine ? hn::ShiftLeft<1>(sum) : hn::ShiftLeft<4>(sum), hn::LoadU(di, f.rest + r * kPanel + j));
      y = hn::MulAdd(hn::ConvertTo(d, sum), hn::Mul(hn::Set(d, f.x_scale[r]), w_scale), shift);
    } else {
      y = hn::Add(hn::LoadU(d, f.values + r * kPanel + j), bias);
    }
    y = kActivation == Activation::kGeluTanh ? near_gelu(d, y) : activate(d, y, kActivation);
    float* out = f.y + r * f.y_stride + j;
    const float* residual = f.residual ? f.residual + r * f.y_stride + j : nullptr;
    if (kWhole) {
      if (residual) y = hn::Add(y, hn::LoadU(d, residual));
      hn::StoreU(y, d, out);
    } else {
      if (residual) y = hn::Add(y, load_part(d, residual, valid));
      HWY_ALIGN float part[hn::MaxLanes(DF())];
      hn::Store(y, d, part);
      std::memcpy(out, part, static_cast<size_t>(valid) * sizeof(float));
    }
  }
}

template <Activation kActivation>
void finish_with(const DotFinish& f) {
  const int lanes = static_cast<int>(hn::Lanes(DF()));
  for (int j = 0; j < f.columns; j += lanes)
    j + lanes <= f.columns ? finish_columns<true, kActivation>(f, j, lanes)
                           : finish_columns<false, kActivation>(f, j, f.columns - j);
}

void finish(const DotFinish& f) {
  switch (f.activation) {
    case Activation::kNone:
      return finish_with<Activation::kNone>(f);
    case Activation::kGeluTanh:
      return finish_with<Activation::kGeluTanh>(f);
    case Activation::kGelu:
      return finish_with<Activation::kGelu>(f);
    case Activation::kSilu:
      return finish_with<Activation::kSilu>(f);
  }
}

void widen(const std::byte* panel, int64_t groups, const float* scale, int8_t* codes, int32_t* sums) {
  const DF d;
  const DI32 di;
  constexpr int kHalf = kGroup / 8;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const VI32 low = hn::Set(di, 15), eight = hn::Set(di, 8), byte = hn::Set(di, 255);
  for (int j = 0; j < kPanel; j += lanes) {
    VI32 total = hn::Zero(di);
    for (int64_t g = 0; g < groups; ++g) {
      const std::byte* group = panel + g * kGroupPanelBytes;
      HWY_ALIGN float group_scale[hn::MaxLanes(DF())];
      to_f32(DType::kF16, group + kGroup / 2 * kPanel + j * 2, group_scale, lanes);
      const VF factor = hn::Div(hn::Load(d, group_scale), hn::LoadU(d, scale + j));
      for (int quad = 0; quad < 2 * kHalf; ++quad) {
        VI32 both = hn::LoadU(di, reinterpret_cast<const int32_t*>(group + (quad % kHalf * kPanel + j) * kQuad));
        if (quad >= kHalf) both = hn::ShiftRight<4>(both);
        const auto wide = [&](VI32 nibble) {
          const VI32 c = hn::NearestInt(hn::Mul(hn::ConvertTo(d, hn::Sub(hn::And(nibble, low), eight)), factor));
          total = hn::Add(total, c);
          return hn::And(c, byte);
        };
        const VI32 a = wide(both), b = wide(hn::ShiftRight<8>(both)), c = wide(hn::ShiftRight<16>(both)),
                   e = wide(hn::ShiftRight<24>(both));
        const VI32 packed = hn::Or(hn::Or(a, hn::ShiftLeft<8>(b)), hn::Or(hn::ShiftLeft<16>(c), hn::ShiftLeft<24>(e)));
        hn::StoreU(packed, di, reinterpret_cast<int32_t*>(codes + ((g * 2 * kHalf + quad) * kPanel + j) * kQuad));
      }
    }
    hn::StoreU(total, di, sums + j);
  }
}

// Four codes at a time, in the bytes of a lane: 2 · fine − 3 is 2 · fine + 125 with its highest bit turned over, and no
// byte carries.
void widen_fine(const std::byte* fine, int64_t quads, int8_t* codes) {
  const DI32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(di));
  const VI32 low = hn::Set(di, 0x03030303), shift = hn::Set(di, 0x7d7d7d7d), sign = hn::Set(di, INT32_MIN | 0x808080);
  for (int64_t q = 0; q < quads; q += kFineSteps)
    for (int64_t j = 0; j < kPanel; j += lanes) {
      VI32 four = hn::LoadU(di, reinterpret_cast<const int32_t*>(fine + (q / kFineSteps * kPanel + j) * kQuad));
      for (int64_t t = 0; t < std::min<int64_t>(kFineSteps, quads - q); ++t) {
        const VI32 code = hn::And(four, low);
        hn::StoreU(hn::Xor(hn::Add(hn::Add(code, code), shift), sign), di,
                   reinterpret_cast<int32_t*>(codes + ((q + t) * kPanel + j) * kQuad));
        four = hn::ShiftRight<2>(four);
      }
    }
}

// Rows of a head side by side, each filled up with zeros to `padded` floats.
float* compact(const float* x, int64_t stride, int64_t n, int head_dim, int64_t padded, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(out + i * padded, x + i * stride, static_cast<size_t>(head_dim) * sizeof(float));
    std::fill(out + i * padded + head_dim, out + (i + 1) * padded, 0.0f);
  }
  return out;
}

// Rows of a head less their mean, each filled up with zeros to `padded` floats; mean [padded].
void centre(const float* x, int64_t stride, int64_t n, int head_dim, int64_t padded, float* mean, float* out) {
  const DF d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (head_dim != padded) {
    x = compact(x, stride, n, head_dim, padded, out);
    stride = padded;
  }
  std::fill(mean, mean + padded, 0.0f);
  for (int64_t i = 0; i < n; ++i)  // rows lie far apart: each is read once from its beginning to its end
    for (int64_t c = 0; c < padded; c += lanes)
      hn::Store(hn::Add(hn::Load(d, mean + c), hn::LoadU(d, x + i * stride + c)), d, mean + c);
  const VF share = hn::Set(d, 1.0f / static_cast<float>(n));
  for (int64_t c = 0; c < padded; c += lanes) hn::Store(hn::Mul(hn::Load(d, mean + c), share), d, mean + c);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < padded; c += lanes)
      hn::Store(hn::Sub(hn::LoadU(d, x + i * stride + c), hn::Load(d, mean + c)), d, out + i * padded + c);
}

template <class T>
T* aligned(std::byte*& at, int64_t count) {
  at = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(at) + 63) / 64 * 64);
  T* out = reinterpret_cast<T*>(at);
  at += static_cast<size_t>(count) * sizeof(T);
  return out;
}

void prepare_head(const DotTiles& dot, const float* k, const float* v, int64_t stride, IntHead& head,
                  std::byte* scratch) {
  const DF d;
  const DI32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t n = head.keys, quads = head.head_dim / kQuad, padded = (head.head_dim + 15) / 16 * 16;
  float* mean = aligned<float>(scratch, padded);
  float* x = aligned<float>(scratch, (n + 3) * padded);

  centre(k, stride, n, head.head_dim, padded, mean, x);
  VF most = hn::Zero(d);
  for (int64_t i = 0; i < n * padded; i += lanes) most = hn::Max(most, hn::Abs(hn::Load(d, x + i)));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, most));
  head.k_scale = largest > 0 ? largest / 127.0f : 1.0f;
  const VF factor = hn::Set(d, 1.0f / head.k_scale);
  const VI32 shift = hn::Set(di, 128 - dot.x_offset);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t tile = i / kDotRows, rows = std::min<int64_t>(kDotRows, n - tile * kDotRows);
    std::byte* out = head.k + tile * kDotRows * head.head_dim + i % kDotRows * kQuad;
    for (int64_t c = 0; c < head.head_dim; c += lanes)
      store_quads(hn::Add(hn::NearestInt(hn::Mul(hn::Load(d, x + i * padded + c), factor)), shift),
                  out + c / kQuad * rows * kQuad, rows * kQuad, std::min(lanes / kQuad, quads - c / kQuad));
  }

  centre(v, stride, n, head.head_dim, padded, mean, x);
  std::memcpy(head.v_mean, mean, static_cast<size_t>(head.head_dim) * sizeof(float));
  const int64_t key_quads = (n + kQuad - 1) / kQuad;
  std::fill(x + n * padded, x + key_quads * kQuad * padded, 0.0f);
  for (int64_t c = 0; c < padded; c += lanes) {
    VF top = hn::Set(d, 1e-30f);
    for (int64_t i = 0; i < n; ++i) top = hn::Max(top, hn::Abs(hn::Load(d, x + i * padded + c)));
    const VF step = hn::Mul(top, hn::Set(d, 1.0f / 127.0f)), inverse = hn::Div(hn::Set(d, 1.0f), step);
    HWY_ALIGN float steps[hn::MaxLanes(DF())];
    hn::Store(step, d, steps);
    const int64_t dims = std::min<int64_t>(lanes, head.head_dim - c);
    if (dims > 0) std::memcpy(head.v_scale + c, steps, static_cast<size_t>(dims) * sizeof(float));
    for (int64_t q = 0; q < key_quads; ++q) {
      const float* at = x + q * kQuad * padded + c;
      const auto code = [&](int i) { return hn::NearestInt(hn::Mul(hn::Load(d, at + i * padded), inverse)); };
      const VI32 low = hn::Set(di, 255);
      const VI32 packed = hn::Or(hn::Or(hn::And(code(0), low), hn::ShiftLeft<8>(hn::And(code(1), low))),
                                 hn::Or(hn::ShiftLeft<16>(hn::And(code(2), low)), hn::ShiftLeft<24>(code(3))));
      HWY_ALIGN int32_t dwords[hn::MaxLanes(DI32())];
      hn::Store(packed, di, dwords);
      for (int64_t j = 0; j < dims;) {
        const int64_t dim = c + j, tile = dim / kDotRows,
                      rows = std::min<int64_t>(kDotRows, head.head_dim - tile * kDotRows);
        const int64_t run = std::min(dims - j, rows - dim % kDotRows);
        std::memcpy(head.v + tile * kDotRows * key_quads * kQuad + (q * rows + dim % kDotRows) * kQuad, dwords + j,
                    static_cast<size_t>(run) * sizeof(int32_t));
        j += run;
      }
    }
  }
}

// Codes −127…127 of a query and `offset`, quads `stride` apart; returns what a step of them is.
float encode_query(const float* q, int head_dim, int32_t offset, std::byte* codes, int64_t stride) {
  const DF d;
  const DI32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), quads = (head_dim + kQuad - 1) / kQuad;
  HWY_ALIGN float whole[kLargestHead];
  const int64_t width = (head_dim + 15) / 16 * 16;
  const float* padded = head_dim == width ? q : compact(q, 0, 1, head_dim, width, whole);
  VF most = hn::Zero(d);
  for (int64_t c = 0; c < head_dim; c += lanes) most = hn::Max(most, hn::Abs(hn::LoadU(d, padded + c)));
  const float largest = hn::GetLane(hn::MaxOfLanes(d, most)), step = largest > 0 ? largest / 127.0f : 1.0f;
  const VF inverse = hn::Set(d, 1.0f / step);
  for (int64_t c = 0; c < head_dim; c += lanes)
    store_quads(hn::Add(hn::NearestInt(hn::Mul(hn::LoadU(d, padded + c), inverse)), hn::Set(di, offset)),
                codes + c / kQuad * stride, stride, std::min(lanes / kQuad, quads - c / kQuad));
  return step;
}

void attend_int(const DotTiles& dot, const IntHead& head, const float* q, int64_t q_stride, int rows, float scale,
                float* out, int64_t out_stride, std::byte* scratch) {
  const DF d;
  const DI32 di;
  constexpr int kQ = kAttendQueries;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const int64_t quads = head.head_dim / kQuad, key_quads = (head.keys + kQuad - 1) / kQuad;
  int32_t* scores = aligned<int32_t>(scratch, kBlockKeys * kQ);
  uint8_t* p = aligned<uint8_t>(scratch, kBlockKeys * kQ);
  int8_t* panel = aligned<int8_t>(scratch, head.head_dim * kQ);
  float* mixed = aligned<float>(scratch, head.head_dim * kQ);
  int32_t* sums = aligned<int32_t>(scratch, kDotRows * kQ);
  HWY_ALIGN float step[kQ] = {}, peak[kQ], total[kQ] = {}, old_part[kQ], new_part[kQ];
  std::memset(mixed, 0, static_cast<size_t>(head.head_dim) * kQ * sizeof(float));
  std::fill(peak, peak + kQ, -1e30f);
  if (rows < kQ) std::memset(panel, 0, static_cast<size_t>(head.head_dim) * kQ);

  for (int i = 0; i < rows; ++i) {
    const float s =
        encode_query(q + i * q_stride, head.head_dim, 0, reinterpret_cast<std::byte*>(panel) + i * kQuad, kQ * kQuad);
    step[i] = s * head.k_scale * scale * 1.44269504f;  // scores as powers of two
  }

  const float top = static_cast<float>(dot.unsigned_max);
  for (int64_t first = 0; first < head.keys; first += kBlockKeys) {
    const int64_t n = std::min(kBlockKeys, head.keys - first);
    for (int64_t i = 0; i < n; i += kDotRows) {
      const int tile_rows = static_cast<int>(std::min<int64_t>(kDotRows, head.keys - first - i));
      dot.signed_panel(head.k + (first + i) * head.head_dim, tile_rows, quads, panel, scores + i * kQ);
    }
    for (int c = 0; c < kQ; c += lanes) {
      VI32 largest = hn::Load(di, scores + c);
      for (int64_t i = 1; i < n; ++i) largest = hn::Max(largest, hn::Load(di, scores + i * kQ + c));
      const VF unit = hn::Load(d, step + c), here = hn::Mul(hn::ConvertTo(d, largest), unit);
      VI32 sum = hn::Zero(di);
      const auto code = [&](int64_t i) {
        const VF x = hn::MulSub(hn::ConvertTo(d, hn::Load(di, scores + i * kQ + c)), unit, here);
        const VF turned = hn::Add(scaled_exp2(d, x, top - 1), hn::Set(d, kTurns.at[i]));
        const VI32 e = hn::And(hn::BitCast(di, hn::Add(turned, hn::Set(d, kRounder))), hn::Set(di, 255));
        sum = hn::Add(sum, e);
        return e;
      };
      int64_t i = 0;
      for (; i + kQuad <= n; i += kQuad) {
        const VI32 e0 = code(i), e1 = code(i + 1), e2 = code(i + 2), e3 = code(i + 3);
        hn::Store(hn::Or(hn::Or(e0, hn::ShiftLeft<8>(e1)), hn::Or(hn::ShiftLeft<16>(e2), hn::ShiftLeft<24>(e3))), di,
                  reinterpret_cast<int32_t*>(p + i * kQ) + c);
      }
      if (i < n) {
        VI32 packed = hn::Zero(di);
        for (int64_t j = i; j < n; ++j) {
          const VI32 e = code(j);
          packed = hn::Or(packed, j == i ? e : j == i + 1 ? hn::ShiftLeft<8>(e) : hn::ShiftLeft<16>(e));
        }
        hn::Store(packed, di, reinterpret_cast<int32_t*>(p + i * kQ) + c);
      }
      const VF before = hn::Load(d, peak + c), after = hn::Max(here, before);
      const VF keep = scaled_exp2(d, hn::Sub(before, after), 1.0f), take = scaled_exp2(d, hn::Sub(here, after), 1.0f);
      hn::Store(after, d, peak + c);
      hn::Store(keep, d, old_part + c);
      hn::Store(take, d, new_part + c);
      hn::Store(hn::MulAdd(hn::Load(d, total + c), keep, hn::Mul(hn::ConvertTo(d, sum), take)), d, total + c);
    }
    for (int64_t dim = 0; dim < head.head_dim; dim += kDotRows) {
      const int tile_rows = static_cast<int>(std::min<int64_t>(kDotRows, head.head_dim - dim));
      dot.unsigned_panel(head.v + dim * key_quads * kQuad + first * tile_rows, tile_rows, (n + kQuad - 1) / kQuad, p,
                         sums);
      for (int r = 0; r < tile_rows; ++r)
        for (int c = 0; c < kQ; c += lanes) {
          float* at = mixed + (dim + r) * kQ + c;
          const VF fresh = hn::Mul(hn::ConvertTo(d, hn::Load(di, sums + r * kQ + c)), hn::Load(d, new_part + c));
          hn::Store(hn::MulAdd(hn::Load(d, at), hn::Load(d, old_part + c), fresh), d, at);
        }
    }
  }
  for (int c = 0; c < kQ; c += lanes) {
    const VF inverse = hn::Div(hn::Set(d, 1.0f), hn::Load(d, total + c));
    for (int j = 0; j < head.head_dim; ++j) {
      float* at = mixed + j * kQ + c;
      const VF share = hn::Mul(hn::Load(d, at), inverse);
      hn::Store(hn::MulAdd(share, hn::Set(d, head.v_scale[j]), hn::Set(d, head.v_mean[j])), d, at);
    }
  }
  for (int j = 0; j < head.head_dim; j += kQuad)  // a head in codes has whole quads
    for (int i = 0; i < rows; i += 4) {
      const int queries = std::min(4, rows - i);
#if HWY_TARGET != HWY_SCALAR
      const hn::Full128<float> d4;
      const auto dim = [&](int k) { return hn::Load(d4, mixed + (j + k) * kQ + i); };
      hn::Vec<decltype(d4)> columns[4];
      transpose_four(d4, dim(0), dim(1), dim(2), dim(3), columns);
      for (int k = 0; k < queries; ++k) hn::StoreU(columns[k], d4, out + (i + k) * out_stride + j);
#else
      for (int k = 0; k < queries; ++k)
        for (int m = 0; m < kQuad; ++m) out[(i + k) * out_stride + j + m] = mixed[(j + m) * kQ + i + k];
#endif
    }
}

void quantise_queries(const DotTiles& dot, const float* q, int rows, int head_dim, float scale, std::byte* codes,
                      float* unit) {
  static_assert(kKvPanel == kPanel && kLargestKvHead <= kLargestHead);
  const int64_t quads = KvCodes(head_dim).quads();
  for (int r = 0; r < rows; ++r) {
    const int64_t tile = r / kQueryRows * kQueryRows, n = std::min<int64_t>(kQueryRows, rows - tile);
    unit[r] = scale * encode_query(q + int64_t{r} * head_dim, head_dim, 128 - dot.x_offset,
                                   codes + (tile * quads + r - tile) * kQuad, n * kQuad);
  }
}

// Of up to kQueryRows rows from `row` on.
void attend_page_rows(const DotTiles& dot, const AttendPage& a, int row, int rows, const std::byte* q,
                      const float* q_unit) {
  const DF d;
  const DI32 di;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const KvCodes page(a.head_dim);
  const auto* keys = static_cast<const std::byte*>(a.page.keys);
  const auto* values = static_cast<const std::byte*>(a.page.values);
  const auto* k_scale = reinterpret_cast<const float*>(keys + page.key_codes());
  const auto* k_sum = reinterpret_cast<const int32_t*>(k_scale + kKvPage);
  const auto* v_scale = reinterpret_cast<const float*>(values + page.value_codes());
  HWY_ALIGN float s[kQueryRows * kKvPage], unit[kQueryRows];
  HWY_ALIGN int32_t acc[kDotRows * kKvPanel];
  HWY_ALIGN std::byte p[kDotRows * kKvPage];

  // Codes of queries are −127…127 and 128, less what the machine's tiles subtract: what is left counts once for each
  // key's code.
  const int32_t zero = 128 - dot.x_offset;
  for (int first = 0; first < a.visible; first += kKvPanel) {
    dot.signed_panel(q, rows, page.quads(), reinterpret_cast<const int8_t*>(keys) + first * page.quads() * kQuad, acc);
    for (int j = 0; j < kKvPanel; j += lanes) {
      const VI32 shared = hn::Mul(hn::LoadU(di, k_sum + first + j), hn::Set(di, zero));
      const VF scale = hn::LoadU(d, k_scale + first + j);
      for (int r = 0; r < rows; ++r)
        hn::Store(hn::Mul(hn::ConvertTo(d, hn::Sub(hn::Load(di, acc + r * kKvPanel + j), shared)),
                          hn::Mul(scale, hn::Set(d, q_unit[r]))),
                  d, s + r * kKvPage + first + j);
    }
  }

  const int keys_filled = (a.visible + lanes - 1) / lanes * lanes;
  // What a key counts for is never negative, so that where tiles subtract half of the codes are left. It becomes two of
  // them, the second for what the first cuts off: many keys of little weight have much together.
  const float base = dot.x_offset ? 128.0f : 256.0f;
  const int both = 2 * rows;
  for (int r = 0; r < rows; ++r) {
    float* of_row = s + r * kKvPage;
    std::fill(of_row + a.visible, of_row + kKvPage, -1e30f);
    VF largest = hn::Load(d, of_row);
    for (int j = lanes; j < keys_filled; j += lanes) largest = hn::Max(largest, hn::Load(d, of_row + j));
    largest = hn::MaxOfLanes(d, largest);
    VF sum = hn::Zero(d), most = hn::Zero(d);
    for (int j = 0; j < keys_filled; j += lanes) {
      const VF e = hn::Exp(d, hn::Max(hn::Sub(hn::Load(d, of_row + j), largest), hn::Set(d, -200.0f)));
      const VF weight = hn::Mul(e, hn::LoadU(d, v_scale + j));
      sum = hn::Add(sum, e);
      most = hn::Max(most, weight);
      hn::Store(weight, d, of_row + j);
    }
    const float step = std::max(hn::GetLane(hn::MaxOfLanes(d, most)), 1e-30f) / (base - 0.5f);
    unit[r] = step;
    const VF inverse = hn::Set(d, 1.0f / step);
    for (int j = 0; j < kKvPage; j += lanes) {
      const VF weight = j < keys_filled ? hn::Mul(hn::Load(d, of_row + j), inverse) : hn::Zero(d);
      const VF whole = hn::Floor(weight), part = hn::Floor(hn::Mul(hn::Sub(weight, whole), hn::Set(d, base)));
      std::byte* to = p + (j / kQuad * both + r) * kQuad;
      store_quads(hn::ConvertTo(di, whole), to, both * kQuad, lanes / kQuad);
      store_quads(hn::ConvertTo(di, part), to + rows * kQuad, both * kQuad, lanes / kQuad);
    }
    a.largest[(row + r) * a.stride] = hn::GetLane(largest);
    a.sum[(row + r) * a.stride] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
  const int64_t stride = kv_value_stride(a.head_dim);
  for (int64_t panel = 0; panel < page.panels(); ++panel) {
    dot.signed_panel(p, both, (a.visible + kQuad - 1) / kQuad,
                     reinterpret_cast<const int8_t*>(values) + panel * kKvPage * kKvPanel, acc);
    for (int r = 0; r < rows; ++r)
      for (int64_t j = 0; j < std::min<int64_t>(kKvPanel, stride - panel * kKvPanel); j += lanes)
        hn::StoreU(hn::Mul(hn::MulAdd(hn::ConvertTo(d, hn::Load(di, acc + (rows + r) * kKvPanel + j)),
                                      hn::Set(d, 1 / base), hn::ConvertTo(d, hn::Load(di, acc + r * kKvPanel + j))),
                           hn::Set(d, unit[r])),
                   d, a.mixed + (row + r) * a.mixed_stride + panel * kKvPanel + j);
  }
}

void attend_page(const DotTiles& dot, const AttendPage& a, const std::byte* codes, const float* unit) {
  const int64_t row_bytes = KvCodes(a.head_dim).quads() * kQuad;
  for (int row = 0; row < a.rows; row += kQueryRows)
    attend_page_rows(dot, a, row, std::min(kQueryRows, a.rows - row), codes + row * row_bytes, unit + row);
}

const IntKernels* integer_table() {
  static const IntKernels kTable = {quantise,   quantise_fine,    quantise_groups, finish,       widen,
                                    widen_fine, quantise_queries, attend_page,     prepare_head, attend_int};
  return &kTable;
}

}  // namespace HWY_NAMESPACE
}  // namespace onsight::compute
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onsight::compute {

const IntKernels* simd_integer(int64_t target) {
  switch (target) {
#if HWY_TARGETS & HWY_SSE4
    case HWY_SSE4:
      return N_SSE4::integer_table();
#endif
#if HWY_TARGETS & HWY_AVX2
    case HWY_AVX2:
      return N_AVX2::integer_table();
#endif
#if HWY_TARGETS & HWY_AVX3
    case HWY_AVX3:
      return N_AVX3::integer_table();
#endif
#if HWY_TARGETS & HWY_NEON
    case HWY_NEON:
      return N_NEON::integer_table();
#endif
    default:
      return nullptr;
  }
}

}  // namespace onsight::compute
#endif
