// Run: what the log of events says of one run of a plan. Nothing else is remembered: a run whose orchestrator was
// killed goes on with what this says.
//
//   TRY(const std::vector<Run> runs, runs_of(transaction));   // the last is the newest
//
// Events, all with "run": its id.
//   run.started {goal, branch, base, into, tasks, checks, proposable, limits}     the plan as it was
//   run.resumed {}   run.ended {result: done|failed|stopped|budget, detail?, commit?}
//   task.added  {task, by, proposal}        of a proposal that was allowed
//   task.refused {name, why, by, proposal}  of one that was not
//   task.state  {task, state, attempt, round, agent?, detail?, commit?, summary?}
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config/plan.h"
#include "agents/state/store.h"

namespace onsight::agents::orchestrator {

// waiting → working → checking → merging → done; checking and merging → working where something is to be mended;
// working and checking → waiting where another agent is to try; failed, skipped: the end.
enum class TaskState { kWaiting, kWorking, kChecking, kMerging, kDone, kFailed, kSkipped };
std::string_view name_of(TaskState state);
bool is_final(TaskState state);

struct TaskStatus {
  config::Task task;
  TaskState state = TaskState::kWaiting;
  int attempt = 0;                  // counts agents that try it, from 1
  int round = 0;                    // counts what one of them was asked to mend
  std::string agent;                // that works on it, or did last
  std::vector<std::string> agents;  // all that ever did
  std::string detail;               // why it is as it is
  std::string summary;              // of its agent, when it was done
  std::string commit;               // of the run's branch that has it
  std::string by;                   // the agent that proposed it; empty: the plan
  int64_t since = 0;                // seq of its last event
  int64_t started_ms = 0, ended_ms = 0;
};

struct Run {
  std::string id, goal;
  std::string branch, base;  // what it brings together, and the commit that it began with
  std::string into;          // the branch that was checked out then; empty: none
  std::string tip;           // the commit of `branch` now
  config::PlanLimits limits;
  config::Budget budget;
  std::vector<config::Command> checks;
  std::vector<std::string> proposable;
  std::vector<TaskStatus> tasks;  // in the plan's order, then as they were allowed
  int64_t proposal = 0;           // seq of the last proposal that was decided on
  std::string result, detail;     // empty: it has not ended
  int64_t since = 0;              // seq of run.started
  int64_t started_ms = 0, ended_ms = 0;

  const TaskStatus* find(std::string_view task) const;
  TaskStatus* find(std::string_view task);
  bool is_over() const { return !result.empty(); }
};

Json started(const Run& run);  // the body of run.started
// Takes what the event says; one of another kind, or of another run, changes nothing.
void apply(Run& run, const state::Event& event);
// All runs of the log, oldest first.
Result<std::vector<Run>> runs_of(state::Transaction& t);
// What its agents spent.
Result<state::Spending> spent_by(state::Transaction& t, const Run& run);

}  // namespace onsight::agents::orchestrator
