#include "export/targets/targets.h"

namespace onsight::exports {

std::span<const Target* const> targets() {
  static constexpr const Target* kTargets[] = {&kSafetensors, &kGguf, &kMlx, &kOnnx};
  return kTargets;
}

}  // namespace onsight::exports
