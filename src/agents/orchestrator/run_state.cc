#include "agents/orchestrator/run_state.h"

#include <algorithm>
#include <array>
#include <set>

namespace onsight::agents::orchestrator {
namespace {

constexpr std::array<std::string_view, 7> kStates = {"waiting", "working", "checking", "merging",
                                                     "done",    "failed",  "skipped"};
constexpr int kPage = 1000;

std::string text_of(const Json& body, const char* key) {
  const auto it = body.find(key);
  return it != body.end() && it->is_string() ? it->get<std::string>() : "";
}

int64_t number_of(const Json& body, const char* key, int64_t otherwise) {
  const auto it = body.find(key);
  return it != body.end() && it->is_number_integer() ? it->get<int64_t>() : otherwise;
}

void take_limits(Run& run, const Json& limits) {
  const auto count = [&](const char* key, int& to) { to = static_cast<int>(number_of(limits, key, to)); };
  count("agents", run.limits.agents);
  count("attempts", run.limits.attempts);
  count("rounds", run.limits.rounds);
  count("tasks", run.limits.tasks);
  run.limits.check = std::chrono::milliseconds(number_of(limits, "check_ms", run.limits.check.count()));
  run.limits.quiet = std::chrono::milliseconds(number_of(limits, "quiet_ms", run.limits.quiet.count()));
  run.budget = {};
  if (limits.contains("micro_usd")) run.budget.money = config::Money{number_of(limits, "micro_usd", 0)};
  if (limits.contains("tokens")) run.budget.tokens = number_of(limits, "tokens", 0);
  if (limits.contains("ms")) run.budget.time = std::chrono::milliseconds(number_of(limits, "ms", 0));
}

// What a resumed run may have anew.
void take_terms(Run& run, const Json& body) {
  if (const auto limits = body.find("limits"); limits != body.end()) take_limits(run, *limits);
  // Two readers of one form: a task with these checks is how a list of commands is read.
  if (const auto checks = body.find("checks"); checks != body.end())
    if (auto task = config::task_of({{"name", "x"}, {"prompt", "x"}, {"checks", *checks}}, "run.started"))
      run.checks = std::move(task->checks);
  const auto roles = body.find("proposable");
  if (roles == body.end() || !roles->is_array()) return;
  run.proposable.clear();
  for (const Json& role : *roles)
    if (role.is_string()) run.proposable.push_back(role.get<std::string>());
}

void take_started(Run& run, const state::Event& event) {
  const Json& body = event.body;
  run.id = text_of(body, "run");
  run.goal = text_of(body, "goal");
  run.branch = text_of(body, "branch");
  run.base = run.tip = text_of(body, "base");
  run.into = text_of(body, "into");
  run.since = event.seq;
  run.started_ms = event.at_ms;
  take_terms(run, body);
  if (const auto tasks = body.find("tasks"); tasks != body.end() && tasks->is_array())
    for (const Json& one : *tasks)
      if (auto task = config::task_of(one, "run.started")) run.tasks.push_back({.task = std::move(*task)});
}

void take_state(TaskStatus& task, Run& run, const state::Event& event) {
  const std::string name = text_of(event.body, "state");
  const auto it = std::find(kStates.begin(), kStates.end(), name);
  if (it == kStates.end()) return;
  task.state = static_cast<TaskState>(it - kStates.begin());
  task.attempt = static_cast<int>(number_of(event.body, "attempt", task.attempt));
  task.round = static_cast<int>(number_of(event.body, "round", task.round));
  task.detail = text_of(event.body, "detail");
  task.since = event.seq;
  if (std::string agent = text_of(event.body, "agent"); !agent.empty()) {
    if (std::find(task.agents.begin(), task.agents.end(), agent) == task.agents.end()) task.agents.push_back(agent);
    task.agent = std::move(agent);
  }
  if (std::string summary = text_of(event.body, "summary"); !summary.empty()) task.summary = std::move(summary);
  if (task.state == TaskState::kWorking && task.started_ms == 0) task.started_ms = event.at_ms;
  if (is_final(task.state)) task.ended_ms = event.at_ms;
  if (std::string commit = text_of(event.body, "commit"); !commit.empty() && task.state == TaskState::kDone) {
    task.commit = commit;
    run.tip = std::move(commit);
  }
}

}  // namespace

std::string_view name_of(TaskState state) { return kStates[static_cast<size_t>(state)]; }

bool is_final(TaskState state) {
  return state == TaskState::kDone || state == TaskState::kFailed || state == TaskState::kSkipped;
}

const TaskStatus* Run::find(std::string_view task) const {
  const auto it =
      std::find_if(tasks.begin(), tasks.end(), [&](const TaskStatus& one) { return one.task.name == task; });
  return it == tasks.end() ? nullptr : &*it;
}

TaskStatus* Run::find(std::string_view task) { return const_cast<TaskStatus*>(std::as_const(*this).find(task)); }

Json started(const Run& run) {
  Json limits = {{"agents", run.limits.agents},          {"attempts", run.limits.attempts},
                 {"rounds", run.limits.rounds},          {"tasks", run.limits.tasks},
                 {"check_ms", run.limits.check.count()}, {"quiet_ms", run.limits.quiet.count()}};
  if (run.budget.money) limits["micro_usd"] = run.budget.money->micro_usd;
  if (run.budget.tokens) limits["tokens"] = *run.budget.tokens;
  if (run.budget.time) limits["ms"] = run.budget.time->count();
  Json tasks = Json::array();
  for (const TaskStatus& one : run.tasks) tasks.push_back(config::to_json(one.task));
  return {{"run", run.id},
          {"goal", run.goal},
          {"branch", run.branch},
          {"base", run.base},
          {"into", run.into},
          {"tasks", std::move(tasks)},
          {"checks", run.checks},
          {"proposable", run.proposable},
          {"limits", std::move(limits)}};
}

void apply(Run& run, const state::Event& event) {
  if (event.kind == "run.started" && run.id.empty()) return take_started(run, event);
  if (text_of(event.body, "run") != run.id) return;
  if (event.kind == "run.resumed") {
    take_terms(run, event.body);
    run.result.clear();
    run.detail.clear();
    run.ended_ms = 0;
  } else if (event.kind == "run.ended") {
    run.result = text_of(event.body, "result");
    run.detail = text_of(event.body, "detail");
    run.ended_ms = event.at_ms;
  } else if (event.kind == "task.added" || event.kind == "task.refused") {
    run.proposal = std::max(run.proposal, number_of(event.body, "proposal", 0));
    const auto spec = event.body.find("task");
    if (event.kind == "task.refused" || spec == event.body.end()) return;
    auto task = config::task_of(*spec, "task.added");
    if (task && !run.find(task->name))
      run.tasks.push_back({.task = std::move(*task), .by = text_of(event.body, "by"), .since = event.seq});
  } else if (event.kind == "task.state") {
    if (TaskStatus* task = run.find(text_of(event.body, "task"))) take_state(*task, run, event);
  }
}

Result<std::vector<Run>> runs_of(state::Transaction& t) {
  std::vector<state::Event> events;
  for (const char* prefix : {"run.", "task."}) {
    int64_t after = 0;
    for (;;) {
      TRY(std::vector<state::Event> page, t.events({.after = after, .kind_prefix = prefix, .limit = kPage}));
      const bool whole = page.size() < static_cast<size_t>(kPage);
      if (!page.empty()) after = page.back().seq;
      std::move(page.begin(), page.end(), std::back_inserter(events));
      if (whole) break;
    }
  }
  std::sort(events.begin(), events.end(), [](const state::Event& a, const state::Event& b) { return a.seq < b.seq; });
  std::vector<Run> runs;
  for (const state::Event& event : events) {
    if (event.kind == "run.started") runs.emplace_back();
    // Of another run only what says so; runs are few, and one is under way at a time.
    for (Run& run : runs) apply(run, event);
  }
  return runs;
}

Result<state::Spending> spent_by(state::Transaction& t, const Run& run) {
  state::Spending sum;
  std::set<std::string> agents;
  for (const TaskStatus& task : run.tasks) agents.insert(task.agents.begin(), task.agents.end());
  for (const std::string& agent : agents) {
    TRY(const state::Spending one, t.spent(agent));
    sum.micro_usd += one.micro_usd;
    sum.tokens_in += one.tokens_in;
    sum.tokens_out += one.tokens_out;
    sum.requests += one.requests;
    sum.reserved_micro_usd += one.reserved_micro_usd;
    sum.reserved_tokens += one.reserved_tokens;
  }
  return sum;
}

}  // namespace onsight::agents::orchestrator
