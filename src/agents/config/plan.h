// Plan: what `onsight agents run` is to bring about: tasks that depend on each other, the roles of who does them, what
// each is checked by, and limits.
//
//   TRY(config::Plan plan, config::parse_plan(text, "plan.toml", config));
//   plan.tasks[0].after;   // names of tasks that come first
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config/config.h"
#include "base/json.h"

namespace onsight::agents::config {

using Command = std::vector<std::string>;  // a program and its arguments, never a line of a shell

struct Task {
  std::string name;
  std::string role;
  std::string prompt;
  std::vector<std::string> after;  // tasks that are done before it begins
  std::vector<Command> checks;     // beside the plan's own
};

struct PlanLimits {
  int agents = 3;    // at once
  int attempts = 2;  // agents that try a task, one after another
  int rounds = 3;    // times that one agent may mend what a check or a merge found
  int tasks = 30;    // with those that were proposed
  std::chrono::milliseconds check{std::chrono::minutes(10)};  // of one command
  std::chrono::milliseconds quiet{
      std::chrono::minutes(5)};  // an agent that is idle so long is asked whether it is done
};

struct Plan {
  std::string goal;
  std::vector<Command> checks;  // of every task, in its clean container
  PlanLimits limits;
  Budget budget;                        // of the whole run
  std::vector<std::string> proposable;  // roles of tasks that an agent may propose; empty: none may be
  std::vector<Task> tasks;
};

constexpr size_t kMostPrompt = 32 << 10, kMostTasks = 200;

// `config`: with the plan's roles, as config::parse(text, where, plan, plan_where) gives it. Refuses unknown roles and
// tasks, two of one name, cycles (naming one), a plan without a task.
Result<Plan> parse_plan(std::string_view text, std::string_view where, const Config& config);
Result<Plan> load_plan(const Path& path, const Config& config);

// The tasks of which each comes after itself, in order: "a, b, a"; empty: there is no cycle.
std::vector<std::string> find_cycle(const std::vector<Task>& tasks);

// As they stand in events.
Json to_json(const Task& task);
// Refuses what is not as parse_plan wants it, but for what is known only with the other tasks; `where` names it.
Result<Task> task_of(const Json& json, const std::string& where);

}  // namespace onsight::agents::config
