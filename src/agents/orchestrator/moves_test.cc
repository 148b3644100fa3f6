#include "agents/orchestrator/moves.h"

#include <gtest/gtest.h>

namespace onsight::agents::orchestrator {
namespace {

using state::Activity;
using state::Phase;

struct Scene {
  orchestrator::Run run;
  Seen seen;

  Scene() {
    run.id = "r1";
    run.limits = {.agents = 2, .attempts = 2};
    seen.now_ms = 1'000'000;
    run.started_ms = seen.now_ms;
  }
  TaskStatus& task(const std::string& name, TaskState state = TaskState::kWaiting,
                   std::vector<std::string> after = {}) {
    run.tasks.push_back(
        {.task = {.name = name, .role = "coder", .prompt = "x", .after = std::move(after)}, .state = state});
    TaskStatus& one = run.tasks.back();
    if (state == TaskState::kWorking || state == TaskState::kChecking || state == TaskState::kMerging) {
      one.attempt = 1;
      one.agent = name;
      one.agents = {name};
    }
    return one;
  }
  SeenAgent& agent(const std::string& name, Phase phase = Phase::kRunning, Activity activity = Activity::kThinking) {
    SeenAgent& one = seen.agents[name];
    one.row = state::AgentRow{.name = name, .phase = phase, .activity = activity};
    return one;
  }
  // "start a, check b (why)"
  std::string moves() const {
    std::string out;
    for (const Move& move : next_moves(run, seen)) {
      out += fmt::format("{}{}", out.empty() ? "" : ", ", name_of(move.kind));
      if (!move.task.empty()) out += " " + move.task;
      if (!move.result.empty()) out += " " + move.result;
      if (!move.detail.empty()) out += " (" + move.detail + ")";
    }
    return out;
  }
};

TEST(Moves, TasksBeginWhenWhatTheyComeAfterIsDoneAndAnAgentIsFree) {
  Scene scene;
  scene.task("a");
  scene.task("b", TaskState::kWaiting, {"a"});
  scene.task("c");
  scene.task("d");
  EXPECT_EQ(scene.moves(), "start a, start c");  // two at once
  scene.run.tasks[0].state = TaskState::kDone;
  EXPECT_EQ(scene.moves(), "start b, start c");
  scene.run.tasks[1].state = TaskState::kDone;
  scene.run.tasks[2].state = TaskState::kDone;
  EXPECT_EQ(scene.moves(), "start d");
  scene.run.tasks[3].state = TaskState::kDone;
  EXPECT_EQ(scene.moves(), "end done");
}

TEST(Moves, WhatComesAfterAFailureIsSkippedAndTheRestGoesOn) {
  Scene scene;
  scene.task("a", TaskState::kFailed);
  scene.task("b", TaskState::kWaiting, {"a"});
  scene.task("c", TaskState::kWaiting, {"b"});
  scene.task("d");
  EXPECT_EQ(scene.moves(), "skip b ('a' is not done), start d");
  scene.run.tasks[1].state = TaskState::kSkipped;
  scene.run.tasks[3].state = TaskState::kDone;
  EXPECT_EQ(scene.moves(), "skip c ('b' is not done)");
  scene.run.tasks[2].state = TaskState::kSkipped;
  EXPECT_EQ(scene.moves(), "end failed (3 of 4 tasks are not done)");
}

TEST(Moves, AnAgentThatWorksIsWaitedFor) {
  const struct {
    Phase phase;
    Activity activity;
    bool start_asked;
    std::optional<int> exit_code;
    const char* said;
    const char* move;
  } rows[] = {
      {Phase::kCreated, Activity::kOffline, true, {}, "", ""},
      {Phase::kProvisioning, Activity::kOffline, true, {}, "", ""},
      {Phase::kStarting, Activity::kOffline, true, {}, "", ""},
      {Phase::kRunning, Activity::kThinking, false, {}, "", ""},
      {Phase::kRunning, Activity::kIdle, false, {}, "", ""},
      {Phase::kRunning, Activity::kCompleted, false, {}, "done", "check a (all of it)"},
      {Phase::kStopping, Activity::kCompleted, false, {}, "done", ""},
      {Phase::kStopped, Activity::kCompleted, false, 0, "done", "check a (all of it)"},
      {Phase::kRunning, Activity::kCompleted, false, {}, "failed", "retry a (all of it)"},
      {Phase::kStopped, Activity::kOffline, false, 0, "", "check a"},
      {Phase::kStopped, Activity::kOffline, false, 7, "", "retry a (a ended with exit code 7)"},
      {Phase::kStopped, Activity::kOffline, false, {}, "", "retry a (a was stopped)"},
      {Phase::kStopped, Activity::kOffline, true, 7, "", ""},  // it is about to go on
      {Phase::kStopped, Activity::kLimit, false, 0, "", "retry a (a spent its budget)"},
      {Phase::kRunning, Activity::kLimit, false, {}, "", "retry a (a spent its budget)"},
      {Phase::kError, Activity::kOffline, false, {}, "", "retry a (its container failed)"},
  };
  for (const auto& row : rows) {
    Scene scene;
    scene.task("a", TaskState::kWorking);
    SeenAgent& agent = scene.agent("a", row.phase, row.activity);
    agent.row->start_asked = row.start_asked;
    agent.row->exit_code = row.exit_code;
    agent.said = row.said;
    if (*row.said != 0) agent.summary = "all of it";
    EXPECT_EQ(scene.moves(), row.move) << state::name_of(row.phase) << " " << state::name_of(row.activity);
  }
}

TEST(Moves, OneThatWasNamedAndNeverMadeIsMade) {
  Scene scene;
  scene.task("a", TaskState::kWorking);
  EXPECT_EQ(scene.moves(), "make a");
  scene.seen.agents["a"].removed = true;
  EXPECT_EQ(scene.moves(), "retry a (a was removed)");
  scene.run.tasks[0].attempt = 2;
  EXPECT_EQ(scene.moves(), "fail a (a was removed)");
}

TEST(Moves, WhoIsQuietIsAskedAndThenReplaced) {
  Scene scene;
  scene.task("a", TaskState::kWorking);
  SeenAgent& agent = scene.agent("a", Phase::kRunning, Activity::kIdle);
  agent.idle_ms = scene.run.limits.quiet.count();
  EXPECT_EQ(scene.moves(), "ask a");
  agent.asked = kMostAsked;
  EXPECT_EQ(scene.moves(), "retry a (a was asked 2 times whether it is done, and said nothing)");
}

TEST(Moves, OneTaskAtATimeIsCheckedAndMerged) {
  Scene scene;
  scene.run.limits.agents = 3;
  scene.task("a", TaskState::kWorking);
  scene.task("b", TaskState::kWorking);
  scene.agent("a").said = "done";
  scene.agent("b").said = "done";
  EXPECT_EQ(scene.moves(), "check a");
  scene.seen.queue_is_busy = true;
  EXPECT_EQ(scene.moves(), "");
  // Its checker was killed: it is checked again, and no other beside it.
  scene.run.tasks[0].state = TaskState::kMerging;
  EXPECT_EQ(scene.moves(), "");
  scene.seen.queue_is_busy = false;
  EXPECT_EQ(scene.moves(), "check a");
}

TEST(Moves, BudgetsEndTheRun) {
  Scene scene;
  scene.task("a", TaskState::kWorking);
  scene.agent("a");
  scene.run.budget.money = config::Money{2'000'000};
  scene.seen.spent.micro_usd = 1'999'999;
  EXPECT_EQ(scene.moves(), "");
  scene.seen.spent.micro_usd = 2'000'000;
  EXPECT_EQ(scene.moves(), "end budget ($2.00 of $2.00 are spent)");
  scene.run.budget = {.tokens = 10};
  scene.seen.spent = {.tokens_in = 5, .tokens_out = 5};
  EXPECT_EQ(scene.moves(), "end budget (10 of 10 tokens are spent)");
  scene.run.budget = {.time = std::chrono::seconds(60)};
  scene.seen.now_ms += 60'000;
  EXPECT_EQ(scene.moves(), "end budget (its time of 60 s is over)");
  scene.run.budget = {};
  scene.seen.stopped = true;
  EXPECT_EQ(scene.moves(), "end stopped (by its user)");
  scene.run.result = "stopped";
  EXPECT_EQ(scene.moves(), "");
}

TEST(Moves, ProposalsAreDecidedOnByThePlan) {
  Scene scene;
  scene.task("plan");
  const auto refusal = [&](config::Task task, const std::vector<config::Task>& with_it = {}) {
    return refusal_of(scene.run, task, with_it);
  };
  config::Task task{.name = "new", .role = "coder", .prompt = "x"};
  EXPECT_EQ(refusal(task), "this plan takes no proposals");
  scene.run.proposable = {"coder"};
  EXPECT_EQ(refusal(task), "");
  EXPECT_EQ(refusal({.name = "new", .prompt = "x"}), "");  // the only role
  EXPECT_EQ(refusal({.name = "new", .role = "planner", .prompt = "x"}), "role: expected one of coder, found 'planner'");
  EXPECT_EQ(refusal({.name = "plan", .prompt = "x"}), "there is a task 'plan'");
  EXPECT_EQ(refusal({.name = "new", .prompt = "x", .after = {"plan", "other"}}),
            "after: there is no task 'other'; propose it first");
  EXPECT_EQ(refusal({.name = "new", .prompt = "x", .after = {"other"}}, {{.name = "other"}}), "");
  EXPECT_EQ(refusal(task, {task}), "'new' was proposed twice");
  scene.run.limits.tasks = 1;
  EXPECT_EQ(refusal(task), "there are 1 tasks, and more are not allowed");
}

TEST(RunState, IsWhatTheEventsSay) {
  orchestrator::Run plan;
  plan.id = "r1";
  plan.goal = "G";
  plan.branch = "onsight/g";
  plan.base = plan.tip = "c0";
  plan.into = "main";
  plan.limits = {.agents = 5, .attempts = 7};
  plan.budget.money = config::Money{5};
  plan.checks = {{"make", "test"}};
  plan.proposable = {"coder"};
  plan.tasks.push_back({.task = {.name = "a", .role = "coder", .prompt = "x"}});
  orchestrator::Run run;
  int64_t seq = 0;
  const auto tell = [&](const std::string& kind, Json body) {
    body.emplace("run", "r1");
    apply(run, {{.actor = "orchestrator", .kind = kind, .body = std::move(body)}, ++seq, 1000 * seq});
  };
  tell("run.started", started(plan));
  EXPECT_EQ(started(run), started(plan));
  EXPECT_EQ(run.tip, "c0");
  tell("task.state", {{"task", "a"}, {"state", "working"}, {"attempt", 1}, {"agent", "a"}});
  tell("task.state", {{"task", "a"}, {"state", "checking"}, {"attempt", 1}, {"agent", "a"}, {"summary", "did it"}});
  tell("task.state", {{"task", "a"}, {"state", "waiting"}, {"attempt", 1}, {"agent", "a"}, {"detail", "no"}});
  tell("task.state", {{"task", "a"}, {"state", "working"}, {"attempt", 2}, {"round", 0}, {"agent", "a-2"}});
  tell("task.state", {{"task", "a"}, {"state", "working"}, {"attempt", 2}, {"round", 1}, {"agent", "a-2"}});
  tell("task.state", {{"run", "r0"}, {"task", "a"}, {"state", "failed"}});  // of another run
  tell(
      "task.added",
      {{"task", {{"name", "b"}, {"role", "coder"}, {"prompt", "y"}, {"after", {"a"}}}}, {"by", "a"}, {"proposal", 40}});
  tell("task.refused", {{"name", "c"}, {"why", "no"}, {"proposal", 41}});
  tell("task.state",
       {{"task", "a"}, {"state", "done"}, {"attempt", 2}, {"round", 1}, {"agent", "a-2"}, {"commit", "c1"}});
  ASSERT_EQ(run.tasks.size(), 2u);
  const TaskStatus& a = run.tasks[0];
  EXPECT_EQ(a.state, TaskState::kDone);
  EXPECT_EQ(a.agents, (std::vector<std::string>{"a", "a-2"}));
  EXPECT_EQ(a.attempt, 2);
  EXPECT_EQ(a.round, 1);
  EXPECT_EQ(a.summary, "did it");
  EXPECT_EQ(a.started_ms, 2000);
  EXPECT_EQ(a.ended_ms, 10'000);
  EXPECT_EQ(run.tip, "c1");
  EXPECT_EQ(run.tasks[1].by, "a");
  EXPECT_EQ(run.proposal, 41);
  tell("run.ended", {{"result", "failed"}, {"detail", "why"}});
  EXPECT_TRUE(run.is_over());
  tell("run.resumed", {{"limits", {{"agents", 9}}}});
  EXPECT_FALSE(run.is_over());
  EXPECT_EQ(run.limits.agents, 9);
  EXPECT_FALSE(run.budget.money);  // the plan has none any more
  EXPECT_EQ(run.checks.size(), 1u);
}

}  // namespace
}  // namespace onsight::agents::orchestrator
