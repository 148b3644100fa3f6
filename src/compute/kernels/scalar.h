// Shared by the oracles.
#pragma once

#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

// The nearest integer of |x| < 2^22, ties to even, without a call: loops over it become vector code.
inline float nearest(float x) {
  constexpr float kRounder = 12582912.0f;
  return (x + kRounder) - kRounder;
}

float scalar_activate(float x, Activation activation);
void scalar_rotate(float* x, int64_t n);  // KernelTable::rotate

}  // namespace onsight::compute
