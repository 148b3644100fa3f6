#include "agents/runtime/dialect.h"

namespace onsight::agents::runtime {

// Seen with 4.3.1. It takes a seccomp profile only as a path on its own machine. It raises the limits of files and
// processes to its own defaults, which runc may not do without CAP_SYS_RESOURCE. DELETE with force is a stop with its
// whole time-out first. An import drops `tag`, but takes it in `repo`.
const Dialect kPodman{.name = "podman",
                      .seccomp_by_path = true,
                      .wants_ulimits = true,
                      .kill_before_remove = true,
                      .tag_with_repository = true,
                      .log_driver = "k8s-file"};

}  // namespace onsight::agents::runtime
