// What the vector files hand to select.cc.
#pragma once

#include <vector>

#include "compute/kernels/integer.h"
#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

struct SimdTable {
  int64_t target;       // of Highway
  KernelTable kernels;  // without integer and dot
};
std::vector<SimdTable> simd_kernels();  // those that run here, worst first
const IntKernels* simd_integer(int64_t target);

}  // namespace onsight::compute
