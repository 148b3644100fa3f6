// Supervisor: brings about what the store says is wanted of a project's agents. One process a project; killed at any
// moment and started again it goes on, since it remembers nothing that the store, the engine and the disk do not say.
//
//   TRY_STATUS(supervisor::run(project));   // `onsight agents supervise`
//
// On its control socket (HTTP, for the user alone): POST /poke; GET /agents/NAME/screen; POST /agents/NAME/attach,
// /size and /type; POST /stop.
#pragma once

#include <chrono>
#include <functional>

#include "agents/project.h"
#include "agents/runtime/runtime.h"
#include "base/result.h"

namespace onsight::agents::supervisor {

struct SupervisorOptions {
  std::chrono::milliseconds idle{60'000};  // it ends when nothing was left to do for so long
  std::chrono::seconds grace{10};          // between TERM and KILL
  std::function<Result<std::unique_ptr<runtime::Runtime>>()> connect;  // in place of what agents.toml names; for tests
};

// Until nothing is left to do, SIGTERM, or POST /stop. kBusy: another supervisor works for this project.
Status run(const Project& project, const SupervisorOptions& options = {});

}  // namespace onsight::agents::supervisor
