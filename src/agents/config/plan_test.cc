#include "agents/config/plan.h"

#include <gtest/gtest.h>

namespace onsight::agents::config {
namespace {

const char* const kAgentsToml = "[roles.coder]\nharness = \"claude\"\n";

Result<Plan> read_plan(const std::string& text) {
  TRY(const Config config, parse(kAgentsToml, "agents.toml", text, "plan.toml"));
  return parse_plan(text, "plan.toml", config);
}

std::string plan_refusal(const std::string& text) {
  const auto plan = read_plan(text);
  return plan ? "" : plan.error().message;
}

TEST(AgentsPlan, SaysTasksRolesChecksAndLimits) {
  const auto plan = read_plan(R"(
goal = "Add dark mode"
checks = [["make", "test"], ["sh", "-c", "echo 'a b'"]]
[limits]
agents = 2
attempts = 4
check = "90s"
[budget]
usd = 1.5
time = "2h"
[proposals]
roles = ["coder"]
[roles.planner]
may_propose = true
[[tasks]]
name = "plan"
role = "planner"
prompt = "Say what is to be done; `rm -rf /` and \"quotes\" are words"
[[tasks]]
name = "style"
role = "coder"
prompt = "Write it"
after = ["plan"]
checks = [["make", "style"]]
)");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->goal, "Add dark mode");
  EXPECT_EQ(plan->checks, (std::vector<Command>{{"make", "test"}, {"sh", "-c", "echo 'a b'"}}));
  EXPECT_EQ(plan->limits.agents, 2);
  EXPECT_EQ(plan->limits.attempts, 4);
  EXPECT_EQ(plan->limits.rounds, 3);
  EXPECT_EQ(plan->limits.check, std::chrono::seconds(90));
  EXPECT_EQ(plan->budget.money->micro_usd, 1'500'000);
  EXPECT_EQ(*plan->budget.time, std::chrono::hours(2));
  EXPECT_EQ(plan->proposable, std::vector<std::string>{"coder"});
  ASSERT_EQ(plan->tasks.size(), 2u);
  EXPECT_EQ(plan->tasks[0].prompt, "Say what is to be done; `rm -rf /` and \"quotes\" are words");
  EXPECT_EQ(plan->tasks[1].after, std::vector<std::string>{"plan"});
  EXPECT_EQ(plan->tasks[1].checks, std::vector<Command>({{"make", "style"}}));
}

TEST(AgentsPlan, RolesOfAPlanCountBesideThoseOfTheFile) {
  const auto config =
      parse(kAgentsToml, "agents.toml", "[roles.tester]\nmay_message = [\"coder\"]\n[[tasks]]\n", "plan.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->roles.size(), 2u);
  EXPECT_EQ(config->role("tester")->may_message, std::vector<std::string>{"coder"});
  const auto twice = parse(kAgentsToml, "agents.toml", "\n[roles.coder]\n", "plan.toml");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().message,
            "plan.toml, line 2: roles.coder: agents.toml has a role 'coder' too, choose another name");
}

TEST(AgentsPlan, RefusalsSayWhatIsWrong) {
  const auto task = [](const std::string& name, const std::string& more = "") {
    return fmt::format("[[tasks]]\nname = \"{}\"\nprompt = \"x\"\n{}\n", name, more);
  };
  EXPECT_EQ(plan_refusal(""), "plan.toml: expected at least one task: [[tasks]] with a name and a prompt");
  EXPECT_EQ(plan_refusal(task("a", "after = [\"b\"]") + task("b", "after = [\"c\"]") + task("c", "after = [\"a\"]")),
            "plan.toml: tasks that wait for each other: a after b after c after a");
  EXPECT_EQ(plan_refusal(task("a", "after = [\"a\"]")), "plan.toml: tasks that wait for each other: a after a");
  EXPECT_EQ(plan_refusal(task("one") + task("two", "after = [\"onee\"]")),
            "plan.toml: task 'two': after: there is no task 'onee', did you mean 'one'?");
  EXPECT_EQ(plan_refusal(task("a", "role = \"coderr\"")),
            "plan.toml, line 4: tasks[0].role: unknown role 'coderr', did you mean 'coder'?; plan.toml and agents.toml "
            "have coder");
  EXPECT_EQ(plan_refusal(task("a") + task("a")), "plan.toml, line 6: tasks[1].name: there are two tasks 'a'");
  EXPECT_EQ(plan_refusal(task("../a")),
            "plan.toml, line 2: tasks[0].name: '../a': expected the name of a task: a letter, then letters, digits and "
            "dashes, all lower case, at most 30");
  EXPECT_EQ(plan_refusal(task("a", "check = []")),
            "plan.toml, line 4: unknown name 'tasks[0].check', did you mean 'checks'?");
  EXPECT_EQ(
      plan_refusal(task("a", "checks = [\"make test\"]")),
      "plan.toml, line 4: tasks[0].checks: expected a list of commands such as [[\"make\", \"test\"]], found a string");
  EXPECT_EQ(plan_refusal("[limits]\ntasks = 1\n" + task("a") + task("b")),
            "plan.toml: expected at most 1 tasks (limits.tasks), found 2");
  EXPECT_NE(plan_refusal("goal = \n").find("plan.toml, line 1"), std::string::npos);
  EXPECT_NE(plan_refusal("[proposals]\nroles = [\"nobody\"]\n" + task("a")).find("unknown role 'nobody'"),
            std::string::npos);
}

TEST(AgentsPlan, TasksGoThroughJsonUnchanged) {
  const Task task{.name = "a", .role = "coder", .prompt = "x\ny", .after = {"b"}, .checks = {{"make", "a b"}}};
  const auto back = task_of(to_json(task), "event");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json(*back), to_json(task));
  EXPECT_FALSE(task_of({{"name", "a"}}, "task"));
  EXPECT_FALSE(task_of({{"name", "A"}, {"prompt", "x"}}, "task"));
  EXPECT_FALSE(task_of({{"name", "a"}, {"prompt", "x"}, {"checks", {"make"}}}, "task"));
  EXPECT_FALSE(task_of({{"name", "a"}, {"prompt", std::string(kMostPrompt + 1, 'x')}}, "task"));
  EXPECT_FALSE(task_of("a", "task"));
}

}  // namespace
}  // namespace onsight::agents::config
