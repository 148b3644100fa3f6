// Shared by the oracles.
#pragma once

#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

float scalar_activate(float x, Activation activation);
void scalar_rotate(float* x, int64_t n);  // KernelTable::rotate

}  // namespace onsight::compute
