// Orchestrator: brings a plan about. It gives tasks to agents as what they come after is done, decides on what agents
// propose, has the work of each checked in a clean container, and merges what is good into the run's branch, one after
// another. It remembers nothing but the log: killed at any moment, the run goes on with resume.
//
//   TRY(const Run run, orchestrate(*fleet, {.plan = "plan.toml", .goal = "Add dark mode"}));
//   run.result;   // "done"
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "agents/fleet.h"
#include "agents/orchestrator/run_state.h"

namespace onsight::agents::orchestrator {

// A run as it is now, for whoever shows it.
struct RunView {
  const Run& run;
  const std::vector<state::AgentRow>& agents;  // those that there are
  const state::Spending& spent;
};

struct RunOptions {
  Path plan;                                // empty only with resume: as it was
  std::string goal;                         // empty: the plan's
  bool resume = false;                      // the last run goes on; with a plan, with its limits, budget and checks
  bool merge = true;                        // when all is done, into the branch that was checked out, if it still is
  bool keep = false;                        // the agents of tasks that are done
  const std::atomic<bool>* stop = nullptr;  // ends it: agents are stopped, their work stays
  std::function<void(const RunView&)> show = nullptr;  // after each look
};

struct Outcome {
  Run run;
  state::Spending spent;
  std::map<std::string, state::Spending, std::less<>> by_agent;
  std::string changes;             // files and counts of lines, as git diff --stat has them
  std::string merged;              // the commit of the user's branch; empty: it was not merged
  std::string not_merged;          // why, as a sentence
  std::vector<std::string> notes;  // of the merge
};

// Refuses, before anything is made: a plan with a fault, a role without an image, another run that is under way, one
// that was not ended (without resume), a repository in which nobody may commit.
Result<Outcome> orchestrate(const Path& folder, const RunOptions& options);

// What an agent is told of its task.
std::string prompt_of(const Run& run, const TaskStatus& task, const config::Role& role);

}  // namespace onsight::agents::orchestrator
