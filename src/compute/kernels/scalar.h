// Shared by the oracles.
#pragma once

#include "compute/kernels/kernel_table.h"

namespace onsight::compute {

float scalar_activate(float x, Activation activation);

}  // namespace onsight::compute
