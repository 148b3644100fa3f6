// Fleet: the agents of one repository, as the command line and the page see them. Every function that changes something
// writes what is wanted into the store and wakes the supervisor, which brings it about.
//
//   TRY(auto fleet, Fleet::open(std::filesystem::current_path()));
//   TRY(state::AgentRow agent, fleet->start({.name = "reviewer", .role = "reviewer", .task = "Review the parser"}));
//   for (const Listed& one : *fleet->list()) …
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agents/config/config.h"
#include "agents/project.h"
#include "agents/runtime/runtime.h"
#include "agents/state/store.h"
#include "agents/workspace/workspace.h"
#include "base/result.h"

namespace onsight::agents {

struct StartOptions {
  std::string name;
  std::string role;               // empty: the only one whose harness fits, or the only one
  std::string harness;            // empty: the role's
  std::string model;              // empty: the role's
  std::string task;               // may be empty: it waits for someone to type
  std::string revision = "HEAD";  // that its clone begins with
  std::string actor = "human";    // who starts it, for the log
};

struct Listed {
  state::AgentRow agent;
  state::Spending spent;
  int unread = 0;  // messages that it has not consumed
  int ahead = 0;   // commits of its branch that were collected
  bool merged = true;
};

struct RemoveResult {
  std::string backup;  // a ref of the user's repository; empty: there was nothing to keep
};

class Fleet {
 public:
  // Of the repository around `folder`; refuses one without .onsight/agents.toml, and a config with an error. `plan`: of
  // a run that is about to begin; otherwise that of the last one.
  static Result<std::unique_ptr<Fleet>> open(const Path& folder, const Path& plan = {});
  virtual ~Fleet() = default;

  virtual const Project& project() const = 0;
  virtual const config::Config& config() const = 0;
  virtual state::Store& store() = 0;
  virtual workspace::Workspace& workspace() = 0;
  virtual Result<runtime::Runtime*> runtime() = 0;  // connected to when it is first asked for

  // Refuses, before anything is made: a name that is taken, a role or harness that is unknown, no image, an isolation
  // that this machine cannot enforce, a repository without a commit.
  virtual Result<state::AgentRow> start(const StartOptions& options) = 0;
  virtual Status stop(const std::string& name) = 0;
  virtual Status resume(const std::string& name) = 0;
  // Refuses while there is work that is not merged, unless `force`, which keeps it under a ref.
  virtual Result<RemoveResult> remove(const std::string& name, bool force) = 0;
  virtual Result<std::vector<Listed>> list() = 0;
  virtual Result<state::AgentRow> agent(const std::string& name) = 0;  // refuses unknown ones, with the nearest
  // Until `done` says so of its row, or `limit` has passed (kBusy), or the agent is in error and `done` does not want
  // it.
  virtual Result<state::AgentRow> wait_until(const std::string& name,
                                             const std::function<bool(const state::AgentRow&)>& done,
                                             std::chrono::milliseconds limit) = 0;
  // Brings what the agent committed to the mirror, and what lies in its tree as one commit above it.
  virtual Result<workspace::Collected> collect(const std::string& name) = 0;
  virtual Result<workspace::Merged> merge(const std::string& name) = 0;
  virtual Result<std::string> diff(const std::string& name, bool stat, bool colour) = 0;
  // Brings the user's commits into the agent's clone, as origin/BRANCH; the agent merges them itself. Returns the
  // commit.
  virtual Result<std::string> sync(const std::string& name, const std::string& revision = "HEAD") = 0;

  // What this machine, or the cluster, enforces, tried out with `image`; kept for as long as engine and image stay the
  // same.
  virtual Result<std::vector<runtime::Check>> doctor(const std::string& image, bool anew) = 0;

  // The supervisor and the broker are started if they do not run.
  virtual Status wake() = 0;
};

// The engine that agents.toml names for this project's containers.
runtime::ConnectOptions engine_of(const Project& project, const config::Config& config);

// What the container of this agent's generation is made of: the harness's command, filled in, and the role's limits.
Result<runtime::ContainerSpec> container_spec(const Project& project, const config::Config& config,
                                              const state::AgentRow& agent);

}  // namespace onsight::agents
