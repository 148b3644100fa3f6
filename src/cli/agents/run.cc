// onsight agents run: a plan, brought about by several agents; a live tree of its tasks, and a report.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/agents/agents.h"
#include "cli/interrupt.h"

namespace onsight::cli {
namespace {

using agents::orchestrator::Outcome;
using agents::orchestrator::Run;
using agents::orchestrator::RunView;
using agents::orchestrator::TaskState;
using agents::orchestrator::TaskStatus;
using OrderedJson = nlohmann::ordered_json;

std::string first_line(const std::string& text, size_t bytes) {
  return shortened(printable(text.substr(0, text.find('\n'))), bytes);
}

std::string mark_of(TaskState state) {
  switch (state) {
    case TaskState::kWaiting:
      return ".";
    case TaskState::kDone:
      return "+";
    case TaskState::kFailed:
      return "x";
    case TaskState::kSkipped:
      return "-";
    case TaskState::kWorking:
    case TaskState::kChecking:
    case TaskState::kMerging:
      break;
  }
  return ">";
}

// Each task below the first of those that it comes after.
struct TreeRow {
  const TaskStatus* task;
  int depth;
};
void add_below(const Run& run, const std::string& parent, int depth, std::vector<TreeRow>& rows) {
  for (const TaskStatus& one : run.tasks) {
    const bool below = parent.empty() ? one.task.after.empty() : !one.task.after.empty() && one.task.after[0] == parent;
    if (!below) continue;
    rows.push_back({&one, depth});
    add_below(run, one.task.name, depth + 1, rows);
  }
}

std::string doing(const TaskStatus& one, const std::vector<agents::state::AgentRow>& agents) {
  std::string text(agents::orchestrator::name_of(one.state));
  if (one.state == TaskState::kWaiting) {
    if (one.attempt > 0) text += ": " + first_line(one.detail, 60);
    return text;
  }
  if (is_final(one.state))
    return one.state == TaskState::kDone ? text + " " + one.commit.substr(0, 12)
                                         : text + ": " + first_line(one.detail, 60);
  for (const agents::state::AgentRow& row : agents)
    if (row.name == one.agent) {
      text += fmt::format(", {}: {}", row.name,
                          row.phase == agents::state::Phase::kRunning ? name_of(row.activity) : name_of(row.phase));
      if (!row.detail.empty()) text += " (" + first_line(row.detail, 40) + ")";
    }
  if (one.attempt > 1) text += fmt::format(", attempt {}", one.attempt);
  if (one.round > 0) text += fmt::format(", mended {} {}", one.round, one.round == 1 ? "time" : "times");
  return text;
}

// On standard error: a tree that is drawn over itself where that is a terminal, else a line for each change.
class Progress {
 public:
  Progress() : terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const RunView& view) {
    if (terminal_)
      draw(view);
    else
      say_changes(view);
  }

 private:
  void draw(const RunView& view) {
    struct winsize size {};
    const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 && size.ws_row > 4;
    const size_t columns = known ? size.ws_col : 100, height = known ? size.ws_row - 2 : 40;
    std::vector<TreeRow> rows;
    add_below(view.run, "", 0, rows);
    const auto done = std::count_if(view.run.tasks.begin(), view.run.tasks.end(),
                                    [](const TaskStatus& one) { return one.state == TaskState::kDone; });
    std::vector<std::string> lines = {fmt::format("{}: {} of {} tasks, {}, {}", first_line(view.run.goal, 50), done,
                                                  view.run.tasks.size(), dollars(view.spent.micro_usd),
                                                  ago(view.run.started_ms, agents::state::now_ms()))};
    for (const TreeRow& row : rows)
      lines.push_back(fmt::format("{:{}}{} {}  {}", "", 2 * row.depth, mark_of(row.task->state), row.task->task.name,
                                  doing(*row.task, view.agents)));
    if (lines.size() > height) {
      const size_t left = lines.size() - height + 1;
      lines.resize(height - 1);
      lines.push_back(fmt::format("... and {} more", left));
    }
    std::string text;
    for (const std::string& line : lines) text += shortened(line, columns - 1) + "\x1b[K\n";
    if (text == drawn_) return;
    const std::string up = drawn_lines_ > 0 ? fmt::format("\x1b[{}A", drawn_lines_) : "";
    Output(STDERR_FILENO).write(up + text + "\x1b[J");
    drawn_ = std::move(text);
    drawn_lines_ = lines.size();
  }

  void say_changes(const RunView& view) {
    for (const TaskStatus& one : view.run.tasks) {
      std::string now(agents::orchestrator::name_of(one.state));
      if (!one.agent.empty() && !is_final(one.state) && one.state != TaskState::kWaiting) now += ", " + one.agent;
      if (one.round > 0 && one.state == TaskState::kWorking) now += fmt::format(", round {}", one.round);
      if (!one.detail.empty() && one.state != TaskState::kDone) now += ": " + first_line(one.detail, 100);
      std::string& before = said_[one.task.name];
      if (before == now || (before.empty() && one.state == TaskState::kWaiting)) continue;
      before = now;
      Output(STDERR_FILENO).write(fmt::format("{}: {}\n", one.task.name, now));
    }
  }

  void clear() {
    if (drawn_lines_ > 0) Output(STDERR_FILENO).write(fmt::format("\x1b[{}A\x1b[J", drawn_lines_));
  }

  const bool terminal_;
  std::string drawn_;
  size_t drawn_lines_ = 0;
  std::map<std::string, std::string> said_;
};

agents::state::Spending spent_on(const Outcome& outcome, const TaskStatus& one) {
  agents::state::Spending sum;
  for (const std::string& agent : one.agents) {
    const auto it = outcome.by_agent.find(agent);
    if (it == outcome.by_agent.end()) continue;
    sum.micro_usd += it->second.micro_usd;
    sum.tokens_in += it->second.tokens_in;
    sum.tokens_out += it->second.tokens_out;
  }
  return sum;
}

std::string how_it_ended(const Outcome& outcome) {
  const Run& run = outcome.run;
  std::string text = run.result;
  if (!run.detail.empty()) text += ": " + run.detail;
  if (run.result != "done") text += "; onsight agents run --resume goes on";
  return text;
}

std::string where_it_is(const Outcome& outcome) {
  const Run& run = outcome.run;
  if (!outcome.merged.empty()) return fmt::format("merged into {} as {}", run.into, outcome.merged.substr(0, 12));
  std::string text = fmt::format("on the branch {}", run.branch);
  if (!outcome.not_merged.empty()) text += fmt::format("; not merged, {}", outcome.not_merged);
  return text;
}

std::string report_text(const Outcome& outcome) {
  const Run& run = outcome.run;
  size_t names = 4, roles = 4;
  for (const TaskStatus& one : run.tasks) {
    names = std::max(names, one.task.name.size());
    roles = std::max(roles, one.task.role.size());
  }
  std::string out =
      fmt::format("{}: {}\n\n{:<{}}  {:<{}}  {:<8}  {:>8}  {:>8}  {:>7}  {}\n", first_line(run.goal, 70),
                  how_it_ended(outcome), "task", names, "role", roles, "state", "attempts", "spent", "time", "what");
  for (const TaskStatus& one : run.tasks)
    out += fmt::format("{:<{}}  {:<{}}  {:<8}  {:>8}  {:>8}  {:>7}  {}\n", one.task.name, names, one.task.role, roles,
                       agents::orchestrator::name_of(one.state), one.attempt, dollars(spent_on(outcome, one).micro_usd),
                       one.ended_ms > 0 && one.started_ms > 0 ? ago(one.started_ms, one.ended_ms) : "-",
                       first_line(one.state == TaskState::kDone ? one.summary : one.detail, 80));
  out += fmt::format("\nspent {}, {} tokens in, {} out, in {}; {}\n", dollars(outcome.spent.micro_usd),
                     outcome.spent.tokens_in, outcome.spent.tokens_out, ago(run.started_ms, run.ended_ms),
                     where_it_is(outcome));
  for (const std::string& note : outcome.notes) out += printable(note) + "\n";
  if (!outcome.changes.empty()) out += "\n" + outcome.changes;
  return out;
}

// In a table's cell: no line ends, no bars.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : first_line(text, 200)) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string report_markdown(const Outcome& outcome) {
  const Run& run = outcome.run;
  std::string out = fmt::format(
      "# {}\n\n{}; {}.\n\n| task | role | state | agents | spent | tokens | commit | what "
      "|\n|---|---|---|---|---|---|---|---|\n",
      cell(run.goal), how_it_ended(outcome), where_it_is(outcome));
  for (const TaskStatus& one : run.tasks) {
    const agents::state::Spending spent = spent_on(outcome, one);
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", one.task.name, one.task.role,
                       agents::orchestrator::name_of(one.state), fmt::join(one.agents, ", "), dollars(spent.micro_usd),
                       spent.tokens_in + spent.tokens_out, one.commit.substr(0, 12),
                       cell(one.state == TaskState::kDone ? one.summary : one.detail));
  }
  out += fmt::format("\nSpent {}, {} tokens in and {} out.\n", dollars(outcome.spent.micro_usd),
                     outcome.spent.tokens_in, outcome.spent.tokens_out);
  if (!outcome.changes.empty()) out += fmt::format("\n```\n{}```\n", outcome.changes);
  return out;
}

std::string report_json(const Outcome& outcome) {
  const Run& run = outcome.run;
  OrderedJson tasks = OrderedJson::array();
  for (const TaskStatus& one : run.tasks) {
    const agents::state::Spending spent = spent_on(outcome, one);
    tasks.push_back({{"name", one.task.name},
                     {"role", one.task.role},
                     {"state", agents::orchestrator::name_of(one.state)},
                     {"attempts", one.attempt},
                     {"agents", one.agents},
                     {"proposed_by", one.by},
                     {"summary", one.summary},
                     {"detail", one.detail},
                     {"commit", one.commit},
                     {"usd", static_cast<double>(spent.micro_usd) / 1e6},
                     {"tokens_in", spent.tokens_in},
                     {"tokens_out", spent.tokens_out},
                     {"started_ms", one.started_ms},
                     {"ended_ms", one.ended_ms}});
  }
  const OrderedJson whole = {{"goal", run.goal},
                             {"result", run.result},
                             {"detail", run.detail},
                             {"branch", run.branch},
                             {"base", run.base},
                             {"commit", run.tip},
                             {"merged", outcome.merged},
                             {"not_merged", outcome.not_merged},
                             {"usd", static_cast<double>(outcome.spent.micro_usd) / 1e6},
                             {"tokens_in", outcome.spent.tokens_in},
                             {"tokens_out", outcome.spent.tokens_out},
                             {"started_ms", run.started_ms},
                             {"ended_ms", run.ended_ms},
                             {"tasks", std::move(tasks)}};
  return whole.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

class AgentsRun : public Verb {
 public:
  void declare(Options& options) override {
    options.argument("PLAN", plan_, "a TOML file: tasks, roles, checks, limits, budget");
    options.argument("GOAL", goal_, "what it is for; otherwise the plan's `goal`");
    options.flag("--resume", resume_, "go on with the last run, which was stopped, killed or failed");
    options.flag("--no-merge", no_merge_, "leave the result on its branch");
    options.flag("--keep", keep_, "keep the agents of tasks that are done");
    options.flag("--json", json_, "print the report as one JSON object");
    options.text("--report", "FILE", report_, "write the report as Markdown too");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    if (!plan_ && !resume_) return make_error(ErrorCode::kUsage, "expected a PLAN, or --resume");
    auto progress = std::make_unique<Progress>();
    const CatchInterrupts catching(Interrupts::kFlagOnce);
    interrupted() = false;
    agents::orchestrator::RunOptions options;
    options.plan = plan_.value_or("");
    options.goal = goal_.value_or("");
    options.resume = resume_;
    options.merge = !no_merge_;
    options.keep = keep_;
    options.stop = &interrupted();
    options.show = [&progress](const RunView& view) { progress->show(view); };
    const Path folder = project_ ? Path(*project_) : std::filesystem::current_path();
    TRY(const Outcome outcome, agents::orchestrator::orchestrate(folder, options));
    progress.reset();  // the tree goes, the report comes
    if (report_) TRY_STATUS(write_file_atomically(*report_, report_markdown(outcome)));
    TRY_STATUS(context.out.write(json_ ? report_json(outcome) : report_text(outcome)));
    if (outcome.run.result == "done") return {};
    if (outcome.run.result == "stopped") return make_error(ErrorCode::kInterrupted, "stopped");
    return bad_input("{}; onsight agents run --resume goes on", outcome.run.detail);
  }

 private:
  std::optional<std::string> plan_, goal_, report_, project_;
  bool resume_ = false, no_merge_ = false, keep_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_agents_run() { return std::make_unique<AgentsRun>(); }

}  // namespace onsight::cli
