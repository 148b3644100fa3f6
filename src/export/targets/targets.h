// The table's rows, each in a file of its own; a new one is named here and in targets.cc.
#pragma once

#include "export/targets/job.h"

namespace onsight::exports {

extern const Target kSafetensors, kGguf, kMlx, kOnnx;

}  // namespace onsight::exports
