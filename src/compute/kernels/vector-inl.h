// What the vector files share: types, loads and activations. Included once for each instruction set, after highway.h.
#if defined(ONSIGHT_VECTOR_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ONSIGHT_VECTOR_INL_H
#undef ONSIGHT_VECTOR_INL_H
#else
#define ONSIGHT_VECTOR_INL_H
#endif

#include <cmath>

// clang-format off
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>
// clang-format on

#include "compute/kernels/kernel_table.h"

HWY_BEFORE_NAMESPACE();
namespace onsight::compute {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using DI32 = hn::Rebind<int32_t, DF>;
using VI32 = hn::Vec<DI32>;

HWY_INLINE VF exp_finite(DF d, VF x) { return hn::Exp(d, hn::Min(x, hn::Set(d, 88.0f))); }

HWY_INLINE VF silu(DF d, VF x) { return hn::Div(x, hn::Add(hn::Set(d, 1.0f), exp_finite(d, hn::Neg(x)))); }

// x/2 · (1 + tanh(u)) = x · sigmoid(2u): one exponential, and no cancellation where x is negative.
HWY_INLINE VF gelu_tanh(DF d, VF x) {
  const VF square = hn::Mul(x, x);
  const VF u2 = hn::Mul(
      x, hn::MulAdd(hn::Set(d, 2 * 0.7978845608028654f * 0.044715f), square, hn::Set(d, 2 * 0.7978845608028654f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), exp_finite(d, hn::Neg(u2))));
}

// Exact erf is rarely asked for: lane by lane.
HWY_INLINE VF gelu_erf(DF d, VF x) {
  HWY_ALIGN float lanes[hn::MaxLanes(DF())];
  hn::Store(x, d, lanes);
  for (float& l : lanes) l = 0.5f * l * (1.0f + std::erf(l * 0.7071067811865476f));
  return hn::Load(d, lanes);
}

HWY_INLINE VF activate(DF d, VF x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluTanh:
      return gelu_tanh(d, x);
    case Activation::kGelu:
      return gelu_erf(d, x);
    case Activation::kSilu:
      return silu(d, x);
  }
  return x;
}

}  // namespace HWY_NAMESPACE
}  // namespace onsight::compute
HWY_AFTER_NAMESPACE();
#endif
