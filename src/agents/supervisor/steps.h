// Steps: what supervisor::Step names, done. Each commits what it is about to make before it makes it, and what it has
// made after, so that the next look at the world decides right wherever it was killed.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>

#include "agents/config/config.h"
#include "agents/project.h"
#include "agents/runtime/runtime.h"
#include "agents/state/store.h"
#include "agents/supervisor/phases.h"
#include "agents/supervisor/terminals.h"
#include "agents/workspace/workspace.h"

namespace onsight::agents::supervisor {

// Thread safe, for different agents.
class Steps {
 public:
  Steps(const Project& project, state::Store& store, runtime::Runtime& runtime, workspace::Workspace& workspace,
        Terminals& terminals, std::chrono::seconds grace, std::function<void()> changed)
      : project_(project),
        store_(store),
        runtime_(runtime),
        workspace_(workspace),
        terminals_(terminals),
        grace_(grace),
        changed_(std::move(changed)) {}

  // An error is one that may pass (the engine does not answer); what cannot be gone on with became phase error.
  Status take(const Seen& seen, const Decision& decision, const config::Config& config);

 private:
  Status phase(const state::AgentRow& agent, state::Phase to, Json more = Json::object());
  Status fail(const state::AgentRow& agent, const Error& error);
  Status provision(const state::AgentRow& agent, const config::Config& config);
  Status prepare_home(const state::AgentRow& agent, const config::Config& config);
  Status create(const Seen& seen, const config::Config& config);
  Status begin(const state::AgentRow& agent, const std::string& container);
  Status finish(const state::AgentRow& agent, const Decision& decision);
  Status remove(const Seen& seen);

  const Project& project_;
  state::Store& store_;
  runtime::Runtime& runtime_;
  workspace::Workspace& workspace_;
  Terminals& terminals_;
  const std::chrono::seconds grace_;
  const std::function<void()> changed_;
  std::mutex mirror_;  // one at a time changes it
};

}  // namespace onsight::agents::supervisor
