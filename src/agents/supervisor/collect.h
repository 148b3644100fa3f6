// Collect: an agent's work on its way to the mirror. A container of its own, which sees the clone read-only, packs it.
#pragma once

#include "agents/project.h"
#include "agents/runtime/runtime.h"
#include "agents/state/store.h"
#include "agents/workspace/workspace.h"
#include "base/result.h"

namespace onsight::agents::supervisor {

// Works while the agent runs, and after. The store gets work.collected if anything is new.
Result<workspace::Collected> collect_work(const Project& project, runtime::Runtime& runtime,
                                          workspace::Workspace& workspace, state::Store& store,
                                          const state::AgentRow& agent, std::string_view actor);

// The commits of a bundle for a running agent, whose own git fetches them as origin/BRANCH.
Status give_bundle(const Project& project, runtime::Runtime& runtime, const state::AgentRow& agent,
                   std::string_view bundle);

}  // namespace onsight::agents::supervisor
