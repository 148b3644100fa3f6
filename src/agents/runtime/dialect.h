// Dialect: in what docker and podman differ behind one API. docker.cc and podman.cc have a row each, with the reasons.
#pragma once

#include <string_view>

namespace onsight::agents::runtime {

struct Dialect {
  std::string_view name;
  bool seccomp_by_path = false;      // else the profile itself is in the request
  bool wants_ulimits = false;        // names limits of its own choice otherwise, which it may not be able to set
  bool kill_before_remove = false;   // else a forced removal waits as long as a stop may take
  bool tag_with_repository = false;  // an import takes no tag of its own
  std::string_view log_driver;
};

extern const Dialect kDocker;
extern const Dialect kPodman;

}  // namespace onsight::agents::runtime
