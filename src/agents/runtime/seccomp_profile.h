// The system calls of a container: one list for all engines, because their own differ. podman's lets a container
// without capabilities make namespaces in which it has all of them, and mount there.
//
//   std::string profile = seccomp_profile();   // JSON, as engines take it
#pragma once

#include <string>

namespace onsight::agents::runtime {

const std::string& seccomp_profile();

}  // namespace onsight::agents::runtime
