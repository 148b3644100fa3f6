#include "agents/orchestrator/orchestrator.h"

#include <algorithm>
#include <future>
#include <set>

#include "agents/bus/mail.h"
#include "agents/orchestrator/checks.h"
#include "agents/orchestrator/moves.h"
#include "agents/state/kinds.h"
#include "agents/workspace/folders.h"

namespace onsight::agents::orchestrator {
namespace {

using state::AgentRow;
using state::Transaction;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookAgain{250};
constexpr std::chrono::seconds kStopTime{60};
constexpr std::string_view kMe = "orchestrator", kVoice = "supervisor";  // in the log; to agents
constexpr size_t kMostSummary = 2000;                                    // bytes of one that others are told

std::string cut(std::string text, size_t most) {
  if (text.size() > most) text = text.substr(0, most) + " ...";
  return text;
}

std::string lines_of(const std::vector<std::string>& all) {
  std::string out;
  for (const std::string& one : all) out += "  " + one + "\n";
  return out;
}

// "parser", "parser-2": a name that no agent has.
std::string fresh_agent(const std::string& task, const std::set<std::string>& taken) {
  for (int n = 1;; ++n) {
    std::string name = n == 1 ? task : fmt::format("{}-{}", task, n);
    if (!taken.count(name) && !state::is_reserved_name(name)) return name;
  }
}

bool is_idle(const AgentRow& row) {
  using enum state::Activity;
  return row.phase == state::Phase::kRunning &&
         (row.activity == kIdle || row.activity == kWaiting || row.activity == kStalled || row.activity == kBlocked);
}

class Orchestrator {
 public:
  Orchestrator(Fleet& fleet, const RunOptions& options) : fleet_(fleet), options_(options) {}

  Result<Outcome> run() {
    TRY_STATUS(begin());
    TRY_STATUS(end_checks(fleet_));
    Status status = work();
    if (!status) {
      // What cannot be gone on with ends it, and says so to whoever looks later; resume tries again.
      wait_for_queue();
      TRY_STATUS(end("failed", status.error().message));
    }
    return outcome();
  }

 private:
  struct Brought {
    std::string mend;  // what its agent is to do before it can be taken; empty: it was taken
  };

  Status add(state::NewEvent event) {
    event.actor = kMe;
    event.body["run"] = run_.id;
    return fleet_.store().write([&](Transaction& t) { return t.add(event); });
  }

  Status set(const TaskStatus& one, TaskState to, Json more = Json::object()) {
    more["task"] = one.task.name;
    more["state"] = name_of(to);
    more.emplace("attempt", one.attempt);
    more.emplace("round", one.round);
    if (!one.agent.empty()) more.emplace("agent", one.agent);
    return add({.kind = "task.state", .body = std::move(more)});
  }

  Status begin() {
    std::vector<Run> runs;
    TRY_STATUS(fleet_.store().read([&](Transaction& t) -> Status {
      TRY(runs, runs_of(t));
      return {};
    }));
    if (options_.resume) return resume(runs);
    if (!runs.empty() && !runs.back().is_over())
      return bad_input("the run '{}' did not end: onsight agents run --resume goes on with it", runs.back().goal);
    TRY(config::Plan plan, config::load_plan(options_.plan, fleet_.config()));
    if (!options_.goal.empty()) plan.goal = options_.goal;
    if (plan.goal.empty()) return make_error(ErrorCode::kUsage, "expected a GOAL, or `goal` in the plan");
    run_ = {};
    run_.id = state::new_id();
    run_.goal = plan.goal;
    take_plan(plan);
    for (config::Task& task : plan.tasks) run_.tasks.push_back({.task = std::move(task)});
    TRY(run_.into, fleet_.workspace().current_branch());
    run_.branch = "onsight/" + name_of_branch(plan.goal, run_.id);
    TRY(run_.base, fleet_.workspace().make_branch(run_.branch, "HEAD"));
    // The plan's roles count for the supervisor and the broker as well.
    TRY(const std::string text, read_file(options_.plan, 1 << 20));
    TRY_STATUS(write_file_atomically(fleet_.project().plan(), text));
    return add({.kind = "run.started", .body = started(run_)});
  }

  // "Add dark mode" becomes "add-dark-mode-k3v9".
  static std::string name_of_branch(const std::string& goal, const std::string& id) {
    std::string name;
    for (const char c : goal.substr(0, 40)) {
      const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      const bool plain = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
      if (plain)
        name += lower;
      else if (!name.empty() && name.back() != '-')
        name += '-';
    }
    while (!name.empty() && name.back() == '-') name.pop_back();
    std::string end = id.substr(id.size() - 5);
    for (char& c : end)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return (name.empty() ? "run" : name) + "-" + end;
  }

  void take_plan(const config::Plan& plan) {
    run_.limits = plan.limits;
    run_.budget = plan.budget;
    run_.checks = plan.checks;
    run_.proposable = plan.proposable;
  }

  Status resume(std::vector<Run>& runs) {
    if (runs.empty()) return make_error(ErrorCode::kUsage, "there is no run to go on with");
    run_ = std::move(runs.back());
    if (run_.result == "done") return make_error(ErrorCode::kUsage, "the run '{}' is done", run_.goal);
    Json body = Json::object();
    if (!options_.plan.empty()) {
      TRY(const config::Plan plan, config::load_plan(options_.plan, fleet_.config()));
      take_plan(plan);
      const Json now = started(run_);
      for (const char* key : {"limits", "checks", "proposable"}) body[key] = now[key];
      TRY(const std::string text, read_file(options_.plan, 1 << 20));
      TRY_STATUS(write_file_atomically(fleet_.project().plan(), text));
    }
    TRY_STATUS(add({.kind = "run.resumed", .body = std::move(body)}));
    TRY_STATUS(refresh());
    for (const TaskStatus& one : std::vector<TaskStatus>(run_.tasks)) {
      if (one.state == TaskState::kFailed || one.state == TaskState::kSkipped) {
        TRY_STATUS(set(one, TaskState::kWaiting, {{"attempt", 0}, {"round", 0}, {"detail", one.detail}}));
      } else if (one.state != TaskState::kWaiting && one.state != TaskState::kDone) {
        // Its agent was stopped with the run; it goes on where it was, unless it had said that it is done.
        const SeenAgent& agent = seen_.agents[one.agent];
        if (!agent.row || agent.row->wanted != state::Wanted::kStopped || !agent.said.empty()) continue;
        if (one.state == TaskState::kWorking) TRY_STATUS(fleet_.resume(one.agent));
      }
    }
    return {};
  }

  // The run as the log has it, and its agents.
  Status refresh() {
    const auto look = [&](Transaction& t) -> Status {
      TRY(std::vector<Run> runs, runs_of(t));
      const auto mine = std::find_if(runs.begin(), runs.end(), [&](const Run& one) { return one.id == run_.id; });
      if (mine == runs.end()) return bad_input("run {}: it is not in the log", run_.id);
      run_ = std::move(*mine);
      seq_ = t.last_seq();
      TRY(agents_, t.agents());
      TRY(spent_, spent_by(t, run_));
      seen_ = {.spent = spent_, .now_ms = state::now_ms(), .queue_is_busy = queue_.valid()};
      for (const TaskStatus& one : run_.tasks)
        if (!one.agent.empty() && !is_final(one.state)) TRY_STATUS(see(t, one));
      return {};
    };
    TRY_STATUS(fleet_.store().read(look));
    seen_.stopped = options_.stop != nullptr && *options_.stop;
    return {};
  }

  Status see(Transaction& t, const TaskStatus& one) {
    SeenAgent agent;
    for (const AgentRow& row : agents_)
      if (row.name == one.agent) agent.row = row;
    TRY(const auto said, t.events({.after = one.since, .agent = one.agent, .kind_prefix = "agent.done"}));
    if (!said.empty()) {
      agent.said = said.back().body.value("result", "");
      agent.summary = said.back().body.value("summary", "");
    }
    if (!agent.row) {
      TRY(const auto gone, t.events({.after = one.since, .agent = one.agent, .kind_prefix = "agent.removed"}));
      agent.removed = !gone.empty();
    }
    Quiet& quiet = quiet_[one.agent];
    if (!agent.row || !is_idle(*agent.row) || quiet.since == 0) quiet.since = seen_.now_ms;
    agent.idle_ms = seen_.now_ms - quiet.since;
    agent.asked = quiet.asked;
    seen_.agents[one.agent] = std::move(agent);
    return {};
  }

  Status work() {
    for (;;) {
      TRY_STATUS(refresh());
      if (options_.show) options_.show({run_, agents_, spent_});
      if (run_.is_over()) return {};
      if (queue_.valid() && queue_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
        TRY_STATUS(take_from_queue());
        continue;
      }
      TRY(const bool decided, decide_on_proposals());
      if (decided) continue;
      TRY_STATUS(carry_messages());
      const std::vector<Move> moves = next_moves(run_, seen_);
      for (const Move& move : moves) {
        TRY_STATUS(make(move));
      }
      if (!moves.empty()) continue;
      TRY(const int64_t last, fleet_.store().wait(seq_, kLookAgain));
      (void)last;
      if (!queue_.valid()) continue;
      queue_.wait_for(std::chrono::milliseconds(20));
    }
  }

  Status make(const Move& move) {
    using enum Move::Kind;
    if (move.kind == kEnd) {
      if (move.result != "done") TRY_STATUS(stop_agents());
      return end(move.result, move.detail);
    }
    const TaskStatus* found = run_.find(move.task);
    if (found == nullptr) return {};
    const TaskStatus one = *found;
    switch (move.kind) {
      case kStart:
        return start(one);
      case kMake:
        return make_agent(one);
      case kAsk:
        return ask(one);
      case kCheck:
        return queue(one, move.detail);
      case kRetry:
      case kFail:
        TRY_STATUS(stop_agent(one.agent));
        return set(one, move.kind == kRetry ? TaskState::kWaiting : TaskState::kFailed, {{"detail", move.detail}});
      case kSkip:
        return set(one, TaskState::kSkipped, {{"detail", move.detail}});
      case kEnd:
        break;
    }
    return {};
  }

  Status start(const TaskStatus& one) {
    std::set<std::string> taken;
    for (const AgentRow& row : agents_) taken.insert(row.name);
    for (const TaskStatus& other : run_.tasks) taken.insert(other.agents.begin(), other.agents.end());
    // Committed before it is made: who is killed in between finds its name.
    return set(one, TaskState::kWorking,
               {{"agent", fresh_agent(one.task.name, taken)},
                {"attempt", one.attempt + 1},
                {"round", 0},
                {"detail", one.detail}});
  }

  Status make_agent(const TaskStatus& one) {
    const config::Role* role = fleet_.config().role(one.task.role);
    if (role == nullptr) return bad_input("task '{}': there is no role '{}' any more", one.task.name, one.task.role);
    TRY(const AgentRow row, fleet_.start({.name = one.agent,
                                          .role = one.task.role,
                                          .task = prompt_of(run_, one, *role),
                                          .revision = run_.branch,
                                          .actor = std::string(kMe)}));
    (void)row;
    return {};
  }

  Status ask(const TaskStatus& one) {
    Quiet& quiet = quiet_[one.agent];
    ++quiet.asked;
    quiet.since = state::now_ms();
    return tell(one.agent, fmt::format("{}-ask-{}-{}", run_.id, one.agent, quiet.asked),
                "Are you done with your task? If so, commit your work and run: onsight-agent done \"what you did\". If "
                "you cannot do it: onsight-agent done --failed \"why\". Otherwise go on.");
  }

  Status tell(const std::string& agent, const std::string& id, const std::string& text) {
    // One that is gone by now needs no telling.
    TRY(const bool there, is_there(agent));
    if (!there) return {};
    TRY(const int64_t number, bus::send(fleet_.store(), kVoice, {.to = agent, .text = text, .id = id}));
    (void)number;
    return fleet_.wake();
  }

  Result<bool> is_there(const std::string& agent) {
    bool there = false;
    TRY_STATUS(fleet_.store().read([&](Transaction& t) -> Status {
      TRY(const auto row, t.agent(agent));
      there = row.has_value() && row->wanted != state::Wanted::kRemoved;
      return {};
    }));
    return there;
  }

  Status stop_agent(const std::string& agent) {
    TRY(const bool there, is_there(agent));
    return there ? fleet_.stop(agent) : Status();
  }

  Status stop_agents() {
    wait_for_queue();
    for (const TaskStatus& one : run_.tasks)
      for (const std::string& agent : one.agents) TRY_STATUS(stop_agent(agent));
    return {};
  }

  Status end(const std::string& result, const std::string& detail) {
    Json body = {{"result", result}, {"commit", run_.tip}};
    if (!detail.empty()) body["detail"] = detail;
    TRY_STATUS(add({.kind = "run.ended", .body = std::move(body)}));
    return refresh();
  }

  // ---- the queue: one task's work at a time, on a thread of its own ----

  Status queue(const TaskStatus& one, const std::string& summary) {
    TRY_STATUS(set(one, TaskState::kChecking, {{"summary", cut(summary, kMostSummary)}}));
    queued_ = one.task.name;
    queue_ = std::async(std::launch::async, [this, one] { return bring(one); });
    return {};
  }

  void wait_for_queue() {
    if (!queue_.valid()) return;
    // Containers of checks are ended, which ends what waits for them.
    while (queue_.wait_for(std::chrono::milliseconds(200)) != std::future_status::ready) (void)end_checks(fleet_);
    (void)take_from_queue();
  }

  // On the queue's thread: everything that it needs is in its arguments, the store and the workspace.
  Result<Brought> bring(const TaskStatus& one) {
    TRY(const AgentRow agent, fleet_.agent(one.agent));
    TRY(const workspace::Collected work, fleet_.collect(one.agent));
    if (!work.wip.empty())
      return Brought{
          "There are changes in your working tree that you did not commit. Commit what belongs to your task, "
          "remove what does not"};
    TRY(const std::string tip, fleet_.workspace().branch_tip(run_.branch));
    auto rebased = fleet_.workspace().rebase(one.agent, tip);
    if (!rebased) {
      if (rebased.error().code != ErrorCode::kBadInput) return tl::unexpected<Error>(rebased.error());
      return Brought{
          fmt::format("What you committed is not taken: {}. Take that out of your commits", rebased.error().message)};
    }
    if (!rebased->conflicts.empty()) {
      if (agent.phase == state::Phase::kRunning) TRY_STATUS(fleet_.sync(one.agent, run_.branch));
      return Brought{
          fmt::format("Others have changed the same lines meanwhile. Your clone has their work as origin/{}. "
                      "Rebase your branch on it (git rebase origin/{}) and resolve the conflicts in:\n{}",
                      run_.branch, run_.branch, lines_of(rebased->conflicts))};
    }
    if (!rebased->nothing) {
      const config::Role* role = fleet_.config().role(one.task.role);
      std::vector<config::Command> commands = run_.checks;
      commands.insert(commands.end(), one.task.checks.begin(), one.task.checks.end());
      TRY(const Checked checked, run_checks(fleet_, {.commit = rebased->commit,
                                                     .image = agent.image,
                                                     .uid = agent.uid,
                                                     .limits = role ? role->limits : config::Limits{},
                                                     .commands = std::move(commands),
                                                     .limit = run_.limits.check}));
      if (!checked.good)
        return Brought{fmt::format("A check of your work failed in a clean container: {}\n\n{}\n\nMend that",
                                   checked.command, checked.output)};
      TRY_STATUS(set(one, TaskState::kMerging));
      TRY_STATUS(fleet_.workspace().advance_branch(run_.branch, tip, rebased->commit));
    }
    TRY_STATUS(fleet_.store().write([&](Transaction& t) -> Status {
      TRY_STATUS(t.add(
          {.actor = std::string(kMe), .agent = one.agent, .kind = "work.merged", .body = {{"commit", work.commit}}}));
      return t.add({.actor = std::string(kMe),
                    .kind = "task.state",
                    .body = {{"run", run_.id},
                             {"task", one.task.name},
                             {"state", name_of(TaskState::kDone)},
                             {"attempt", one.attempt},
                             {"round", one.round},
                             {"agent", one.agent},
                             {"commit", rebased->commit}}});
    }));
    return Brought{};
  }

  Status take_from_queue() {
    Result<Brought> brought = queue_.get();
    TRY_STATUS(refresh());
    const TaskStatus* found = run_.find(queued_);
    if (found == nullptr) return {};
    const TaskStatus one = *found;
    if (!brought) {
      // The engine or the disk, not the agent's doing.
      return tl::unexpected<Error>(brought.error());
    }
    if (brought->mend.empty()) return stop_agent(one.agent);
    const auto row = fleet_.agent(one.agent);
    const bool may_mend = row && row->phase == state::Phase::kRunning && one.round < run_.limits.rounds;
    if (!may_mend) {
      TRY_STATUS(stop_agent(one.agent));
      return set(one, one.attempt < run_.limits.attempts ? TaskState::kWaiting : TaskState::kFailed,
                 {{"detail", cut(brought->mend, kMostSummary)}});
    }
    // What it said before is no longer so.
    TRY_STATUS(fleet_.store().write([&](Transaction& t) -> Status {
      return t.add({.actor = std::string(kMe),
                    .agent = one.agent,
                    .kind = "agent.activity",
                    .body = {{"activity", "waiting"}, {"detail", "to be mended"}}});
    }));
    TRY_STATUS(set(one, TaskState::kWorking, {{"round", one.round + 1}, {"detail", cut(brought->mend, kMostSummary)}}));
    quiet_[one.agent] = {};
    return tell(one.agent, fmt::format("{}-mend-{}-{}", run_.id, one.agent, one.round + 1),
                brought->mend + ". Then commit, and run onsight-agent done again.");
  }

  // ---- what agents propose and say ----

  Result<bool> decide_on_proposals() {
    bool any = false;
    std::vector<state::Event> proposals;
    TRY_STATUS(fleet_.store().read([&](Transaction& t) -> Status {
      TRY(proposals, t.events({.after = std::max(run_.proposal, run_.since), .kind_prefix = "task.proposed"}));
      return {};
    }));
    for (const state::Event& event : proposals) {
      if (!is_mine(event.agent)) continue;
      TRY_STATUS(decide_on(event));
      TRY_STATUS(refresh());
      any = true;
    }
    return any;
  }

  bool is_mine(const std::string& agent) const {
    return std::any_of(run_.tasks.begin(), run_.tasks.end(), [&](const TaskStatus& one) {
      return std::find(one.agents.begin(), one.agents.end(), agent) != one.agents.end();
    });
  }

  Status decide_on(const state::Event& proposal) {
    std::vector<config::Task> allowed;
    std::vector<Json> refused;
    std::string answer;
    for (const Json& json : proposal.body["tasks"]) {
      auto task = config::task_of(json, "task");
      std::string why = task ? refusal_of(run_, *task, allowed) : task.error().message;
      if (why.empty()) {
        answer += fmt::format("'{}' was taken for a {}.\n", task->name, task->role);
        allowed.push_back(std::move(*task));
        continue;
      }
      const std::string name = task ? task->name : "";
      answer += fmt::format("'{}' was refused: {}.\n", name, why);
      refused.push_back({{"name", name}, {"why", std::move(why)}});
    }
    TRY_STATUS(fleet_.store().write([&](Transaction& t) -> Status {
      for (const config::Task& task : allowed)
        TRY_STATUS(t.add({.actor = std::string(kMe),
                          .kind = "task.added",
                          .body = {{"run", run_.id},
                                   {"task", config::to_json(task)},
                                   {"by", proposal.agent},
                                   {"proposal", proposal.seq}}}));
      for (Json& one : refused) {
        one["run"] = run_.id;
        one["by"] = proposal.agent;
        one["proposal"] = proposal.seq;
        TRY_STATUS(t.add({.actor = std::string(kMe), .kind = "task.refused", .body = one}));
      }
      return {};
    }));
    return tell(proposal.agent, fmt::format("{}-proposal-{}", run_.id, proposal.seq), answer);
  }

  // An agent that was replaced has a successor: what was meant for it and it did not read goes there. Who asks the
  // supervisor is told how things stand.
  Status carry_messages() {
    for (const TaskStatus& one : run_.tasks) {
      if (one.state != TaskState::kWorking || one.agents.size() < 2) continue;
      for (const std::string& former : one.agents)
        if (former != one.agent) TRY_STATUS(carry(former, one.agent));
    }
    TRY(const auto asked, bus::read_inbox(fleet_.store(), kVoice, {}));
    for (const state::MessageRow& message : asked) {
      if (!is_mine(message.sender)) continue;
      TRY(const bool there, is_there(message.sender));
      if (!there) continue;
      TRY(const int64_t number, bus::send(fleet_.store(), kVoice,
                                          {.to = message.sender,
                                           .text = how_things_stand(),
                                           .kind = "answer",
                                           .id = fmt::format("{}-answer-{}", run_.id, message.number),
                                           .reply_to = message.number}));
      (void)number;
      TRY_STATUS(fleet_.wake());
    }
    return {};
  }

  Status carry(const std::string& from, const std::string& to) {
    std::vector<state::MessageRow> left;
    TRY_STATUS(fleet_.store().read([&](Transaction& t) -> Status {
      TRY(left, t.inbox(from, 0, true, 100));
      return {};
    }));
    for (const state::MessageRow& message : left) {
      if (message.sender == kVoice || carried_.count(message.number) > 0) continue;
      TRY_STATUS(tell(to, fmt::format("{}-carried-{}", run_.id, message.number),
                      fmt::format("For {}, in whose place you are, from {}: {}", from, message.sender, message.text)));
      carried_.insert(message.number);
    }
    return {};
  }

  std::string how_things_stand() const {
    std::string text = fmt::format("The goal: {}\nThe tasks:\n", run_.goal);
    for (const TaskStatus& one : run_.tasks)
      text += fmt::format("  {} ({}): {}{}\n", one.task.name, one.task.role, name_of(one.state),
                          one.agent.empty() || is_final(one.state) ? "" : ", by " + one.agent);
    return text;
  }

  // ---- the end ----

  Result<Outcome> outcome() {
    Outcome out;
    TRY_STATUS(refresh());
    out.spent = spent_;
    TRY_STATUS(fleet_.store().read([&](Transaction& t) -> Status {
      for (const TaskStatus& one : run_.tasks)
        for (const std::string& agent : one.agents) {
          TRY(out.by_agent[agent], t.spent(agent));
        }
      return {};
    }));
    out.changes = fleet_.workspace().branch_diff(run_.branch, run_.base, true, false).value_or("");
    if (run_.result == "done") {
      merge(out);
      if (!options_.keep) TRY_STATUS(remove_agents());
    }
    out.run = std::move(run_);
    return out;
  }

  void merge(Outcome& out) {
    const std::string by_hand = fmt::format("git merge {}", run_.branch);
    if (!options_.merge) {
      out.not_merged = fmt::format("it was not asked for: {}", by_hand);
      return;
    }
    const auto now = fleet_.workspace().current_branch();
    if (!now || *now != run_.into || run_.into.empty()) {
      out.not_merged = fmt::format("another branch is checked out than when the run began: {}", by_hand);
      return;
    }
    auto merged = fleet_.workspace().merge_branch(run_.branch, fmt::format("Merge {}: {}", run_.branch, run_.goal));
    if (!merged)
      out.not_merged = fmt::format("{}; then: {}", merged.error().message, by_hand);
    else if (!merged->conflicts.empty())
      out.not_merged = fmt::format("conflicts in {}: {}", fmt::join(merged->conflicts, ", "), by_hand);
    else {
      out.merged = merged->commit;
      out.notes = std::move(merged->notes);
    }
  }

  // Only those whose work is in the branch; the others stay for a look.
  Status remove_agents() {
    for (const TaskStatus& one : run_.tasks) {
      if (one.state != TaskState::kDone) continue;
      TRY(const bool there, is_there(one.agent));
      if (!there) continue;
      const auto stopped = [](const AgentRow& row) {
        return row.phase == state::Phase::kStopped || row.phase == state::Phase::kError;
      };
      // It stays where it was changed since; an agent more is better than work less.
      if (!fleet_.wait_until(one.agent, stopped, kStopTime)) continue;
      (void)fleet_.remove(one.agent, false);
    }
    // Whoever looks after the report finds them gone, unless the engine takes its time.
    const auto until = Clock::now() + kStopTime;
    for (bool all_gone = false; !all_gone && Clock::now() < until;) {
      TRY_STATUS(fleet_.store().read([&](Transaction& t) -> Status {
        TRY(const auto rows, t.agents());
        all_gone = std::none_of(rows.begin(), rows.end(),
                                [](const AgentRow& row) { return row.wanted == state::Wanted::kRemoved; });
        seq_ = t.last_seq();
        return {};
      }));
      if (all_gone) break;
      TRY(const int64_t last, fleet_.store().wait(seq_, kLookAgain));
      (void)last;
    }
    return {};
  }

  struct Quiet {
    int64_t since = 0;
    int asked = 0;
  };

  Fleet& fleet_;
  const RunOptions& options_;
  Run run_;
  std::vector<AgentRow> agents_;
  state::Spending spent_;
  Seen seen_;
  int64_t seq_ = 0;
  std::map<std::string, Quiet> quiet_;
  std::set<int64_t> carried_;
  std::string queued_;
  std::future<Result<Brought>> queue_;
};

}  // namespace

std::string prompt_of(const Run& run, const TaskStatus& one, const config::Role& role) {
  std::string text = fmt::format("{}\n\n", one.task.prompt);
  text +=
      fmt::format("This is the task '{}' of a plan of several agents, whose goal is: {}\n", one.task.name, run.goal);
  std::string before;
  for (const std::string& name : one.task.after)
    if (const TaskStatus* first = run.find(name))
      before += fmt::format("  {}: {}\n", name, first->summary.empty() ? "done" : first->summary);
  if (!before.empty()) text += fmt::format("What came before it is in your clone:\n{}", before);
  if (one.attempt > 1 && !one.detail.empty())
    text += fmt::format("Another agent tried before you, without success: {}\n", one.detail);
  std::vector<config::Command> checks = run.checks;
  checks.insert(checks.end(), one.task.checks.begin(), one.task.checks.end());
  if (!checks.empty()) {
    text += "Your work is checked in a clean container by:\n";
    for (const config::Command& command : checks) text += fmt::format("  {}\n", fmt::join(command, " "));
  }
  if (role.may_propose && !run.proposable.empty())
    text += fmt::format(
        "You may propose tasks for other agents, of the roles {}: onsight-agent propose FILE, a JSON list of "
        "{{\"name\", "
        "\"role\", \"prompt\", \"after\"}}.\n",
        fmt::join(run.proposable, ", "));
  text +=
      "Commit your work with git. When it is committed, run: onsight-agent done \"what you did\". If you cannot do it: "
      "onsight-agent done --failed \"why\".\n";
  return text;
}

Result<Outcome> orchestrate(const Path& folder, const RunOptions& options) {
  TRY(const Project project, Project::find(folder));
  TRY(const workspace::Handle alone, workspace::lock_file(project.state / "run.lock", 0, "another run of a plan"));
  TRY(auto fleet, Fleet::open(folder, options.plan));
  return Orchestrator(*fleet, options).run();
}

}  // namespace onsight::agents::orchestrator
