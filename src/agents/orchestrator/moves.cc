#include "agents/orchestrator/moves.h"

#include <algorithm>
#include <array>

namespace onsight::agents::orchestrator {
namespace {

constexpr std::array<std::string_view, 8> kMoves = {"start", "make", "ask", "check", "retry", "fail", "skip", "end"};

bool is_at_work(TaskState state) {
  return state == TaskState::kWorking || state == TaskState::kChecking || state == TaskState::kMerging;
}

Move again_or_never(const Run& run, const TaskStatus& one, std::string why) {
  const bool again = one.attempt < run.limits.attempts;
  return {.kind = again ? Move::Kind::kRetry : Move::Kind::kFail, .task = one.task.name, .detail = std::move(why)};
}

// Of a task that is worked on; nothing: it is waited for.
std::optional<Move> move_of_working(const Run& run, const TaskStatus& one, const Seen& seen) {
  using enum state::Phase;
  const std::string& name = one.task.name;
  const auto it = seen.agents.find(one.agent);
  if (it == seen.agents.end() || (!it->second.row && !it->second.removed))
    return Move{.kind = Move::Kind::kMake, .task = name};
  const SeenAgent& agent = it->second;
  if (agent.removed) return again_or_never(run, one, fmt::format("{} was removed", one.agent));
  const state::AgentRow& row = *agent.row;
  if (agent.said == "failed")
    return again_or_never(run, one, agent.summary.empty() ? fmt::format("{} gave up", one.agent) : agent.summary);
  if (agent.said == "done") {
    // What it wrote is taken when its container is at rest or running, not in between.
    if (row.phase == kStopping || row.phase == kStarting || row.phase == kProvisioning) return {};
    return Move{.kind = Move::Kind::kCheck, .task = name, .detail = agent.summary};
  }
  if (row.phase == kError) return again_or_never(run, one, row.detail.empty() ? "its container failed" : row.detail);
  if (row.phase == kStopped && !row.start_asked) {
    if (row.activity == state::Activity::kLimit)
      return again_or_never(run, one, row.detail.empty() ? fmt::format("{} spent its budget", one.agent) : row.detail);
    if (row.exit_code == 0) return Move{.kind = Move::Kind::kCheck, .task = name, .detail = ""};
    return again_or_never(run, one,
                          row.exit_code ? fmt::format("{} ended with exit code {}", one.agent, *row.exit_code)
                                        : fmt::format("{} was stopped", one.agent));
  }
  if (row.activity == state::Activity::kLimit)
    return again_or_never(run, one, row.detail.empty() ? fmt::format("{} spent its budget", one.agent) : row.detail);
  if (agent.idle_ms < run.limits.quiet.count()) return {};
  if (agent.asked < kMostAsked) return Move{.kind = Move::Kind::kAsk, .task = name};
  return again_or_never(
      run, one, fmt::format("{} was asked {} times whether it is done, and said nothing", one.agent, agent.asked));
}

}  // namespace

std::string_view name_of(Move::Kind kind) { return kMoves[static_cast<size_t>(kind)]; }

std::string over_budget(const Run& run, const state::Spending& spent, int64_t now_ms) {
  const config::Budget& budget = run.budget;
  if (budget.money && spent.micro_usd >= budget.money->micro_usd)
    return fmt::format("${:.2f} of ${:.2f} are spent", static_cast<double>(spent.micro_usd) / 1e6,
                       static_cast<double>(budget.money->micro_usd) / 1e6);
  if (budget.tokens && spent.tokens_in + spent.tokens_out >= *budget.tokens)
    return fmt::format("{} of {} tokens are spent", spent.tokens_in + spent.tokens_out, *budget.tokens);
  if (budget.time && now_ms - run.started_ms >= budget.time->count())
    return fmt::format("its time of {} s is over", budget.time->count() / 1000);
  return {};
}

std::vector<Move> next_moves(const Run& run, const Seen& seen) {
  if (run.is_over()) return {};
  if (seen.stopped) return {{.kind = Move::Kind::kEnd, .detail = "by its user", .result = "stopped"}};
  if (std::string over = over_budget(run, seen.spent, seen.now_ms); !over.empty())
    return {{.kind = Move::Kind::kEnd, .detail = std::move(over), .result = "budget"}};
  std::vector<Move> moves;
  int at_work = 0;
  for (const TaskStatus& one : run.tasks) at_work += is_at_work(one.state);
  bool queue_is_busy = seen.queue_is_busy, all_final = true;
  for (const TaskStatus& one : run.tasks) {
    all_final = all_final && is_final(one.state);
    if (one.state == TaskState::kWorking) {
      std::optional<Move> move = move_of_working(run, one, seen);
      // One at a time is checked and merged, on top of what the one before brought.
      if (move && move->kind == Move::Kind::kCheck && queue_is_busy) continue;
      if (!move) continue;
      queue_is_busy = queue_is_busy || move->kind == Move::Kind::kCheck;
      moves.push_back(std::move(*move));
      continue;
    }
    if ((one.state == TaskState::kChecking || one.state == TaskState::kMerging) && !queue_is_busy) {
      // Whoever did so is gone: from the start.
      queue_is_busy = true;
      moves.push_back({.kind = Move::Kind::kCheck, .task = one.task.name, .detail = one.summary});
      continue;
    }
    if (one.state != TaskState::kWaiting) continue;
    bool ready = true;
    std::string failed;
    for (const std::string& name : one.task.after) {
      const TaskStatus* first = run.find(name);
      if (first != nullptr && first->state == TaskState::kDone) continue;
      ready = false;
      if (first == nullptr || is_final(first->state)) failed = name;
    }
    if (!failed.empty())
      moves.push_back(
          {.kind = Move::Kind::kSkip, .task = one.task.name, .detail = fmt::format("'{}' is not done", failed)});
    else if (ready && at_work < run.limits.agents) {
      moves.push_back({.kind = Move::Kind::kStart, .task = one.task.name, .detail = one.detail});
      ++at_work;
    }
  }
  if (!all_final) return moves;
  const auto undone = std::find_if(run.tasks.begin(), run.tasks.end(),
                                   [](const TaskStatus& one) { return one.state != TaskState::kDone; });
  if (undone == run.tasks.end()) return {{.kind = Move::Kind::kEnd, .result = "done"}};
  const auto count = std::count_if(run.tasks.begin(), run.tasks.end(),
                                   [](const TaskStatus& one) { return one.state != TaskState::kDone; });
  return {{.kind = Move::Kind::kEnd,
           .detail = fmt::format("{} of {} tasks are not done", count, run.tasks.size()),
           .result = "failed"}};
}

std::string refusal_of(const Run& run, config::Task& task, const std::vector<config::Task>& with_it) {
  if (run.proposable.empty()) return "this plan takes no proposals";
  if (task.role.empty() && run.proposable.size() == 1) task.role = run.proposable[0];
  if (std::find(run.proposable.begin(), run.proposable.end(), task.role) == run.proposable.end())
    return fmt::format("role: expected one of {}, found '{}'", fmt::join(run.proposable, ", "), task.role);
  if (run.find(task.name)) return fmt::format("there is a task '{}'", task.name);
  if (run.tasks.size() + with_it.size() >= static_cast<size_t>(run.limits.tasks))
    return fmt::format("there are {} tasks, and more are not allowed", run.limits.tasks);
  std::vector<config::Task> all;
  for (const TaskStatus& one : run.tasks) all.push_back(one.task);
  all.insert(all.end(), with_it.begin(), with_it.end());
  for (const config::Task& other : with_it)
    if (other.name == task.name) return fmt::format("'{}' was proposed twice", task.name);
  for (const std::string& first : task.after)
    if (std::none_of(all.begin(), all.end(), [&](const config::Task& one) { return one.name == first; }))
      return fmt::format("after: there is no task '{}'; propose it first", first);
  return {};
}

}  // namespace onsight::agents::orchestrator
