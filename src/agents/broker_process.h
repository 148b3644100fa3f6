// What `onsight agents broker` runs: the broker of a project with its bus and the keys of its user.
//
//   TRY_STATUS(run_broker(project));
#pragma once

#include <chrono>

#include "agents/config/config.h"
#include "agents/harness/harness.h"
#include "agents/project.h"
#include "agents/vault/secret.h"
#include "base/result.h"

namespace onsight::agents {

struct BrokerProcessOptions {
  std::chrono::milliseconds idle{60'000};  // it ends when there was no agent for so long
  Path authorities = {};                   // PEM: upstreams may also prove who they are by these
};

// Until there is nothing to do, or SIGTERM. kBusy: another broker works for this project.
Status run_broker(const Project& project, const BrokerProcessOptions& options = {});

// Gives the passphrase of the keys to the broker that runs. Refuses one that does not open them.
Status unlock_broker(const Project& project, const vault::Secret& passphrase);

// Whether the keys that an agent of this role and harness wants may be sent where the configuration sends them, as the
// broker says, which is started for it. One that is not in the vault is no reason to refuse; one that is locked is.
Status check_keys(const Project& project, const config::Config& config, const config::Role& role,
                  const harness::Harness& harness);

}  // namespace onsight::agents
