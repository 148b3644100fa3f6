// onsight agents start, stop, resume, rm, list: agents come, are, and go.
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

using agents::Listed;
using agents::state::AgentRow;
using agents::state::Phase;
using agents::state::Wanted;

constexpr uint64_t kMostText = 1 << 20;
constexpr std::chrono::minutes kPatience{10};

class AgentVerb : public Verb {
 protected:
  void declare_project(Options& options) {
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }
  void declare_name(Options& options) { options.argument("NAME", name_, "of the agent"); }
  Result<std::string> name() const { return expected_name(name_, "the NAME of an agent"); }
  std::optional<std::string> project_, name_;
};

bool has_ended(const AgentRow& row) { return row.phase == Phase::kStopped || row.phase == Phase::kError; }

// Waits with a line that says what for, where a terminal can be written over.
Result<AgentRow> wait_shown(agents::Fleet& fleet, const std::string& name,
                            const std::function<bool(const AgentRow&)>& done) {
  ProgressBar bar;
  const auto shown = [&](const AgentRow& row) {
    bar.say(fmt::format("{}: {}", name, agents::state::name_of(row.phase)));
    return done(row);
  };
  return fleet.wait_until(name, shown, kPatience);
}

class AgentsStart : public AgentVerb {
 public:
  void declare(Options& options) override {
    declare_name(options);
    options.text("--role", "ROLE", role_, "of agents.toml: what it may do");
    options.text("--harness", "NAME", harness_, "in place of the role's: claude, gemini, codex, opencode, generic");
    options.text("--model", "MODEL", model_, "in place of the role's");
    options.text("--task", "TEXT", task_, "what it is to do; -: standard input");
    options.text("--from", "REVISION", revision_, "that its branch begins with (HEAD)");
    options.flag("--wait", wait_, "return when it runs");
    declare_project(options);
  }

  Status run(Context& context) override {
    agents::StartOptions start;
    TRY(start.name, name());
    start.role = role_.value_or("");
    start.harness = harness_.value_or("");
    start.model = model_.value_or("");
    start.task = task_.value_or("");
    start.revision = revision_.value_or("HEAD");
    if (start.task == "-") {
      TRY(start.task, read_stdin(kMostText));
    }
    TRY(auto fleet, open_fleet(project_));
    TRY(const AgentRow row, fleet->start(start));
    if (wait_) {
      const auto runs = [](const AgentRow& now) { return now.phase == Phase::kRunning || has_ended(now); };
      TRY_STATUS(wait_shown(*fleet, row.name, runs));
    }
    return context.out.write(fmt::format("{}: {} on {}\n", row.name, row.role, row.branch));
  }

 private:
  std::optional<std::string> role_, harness_, model_, task_, revision_;
  bool wait_ = false;
};

class AgentsStop : public AgentVerb {
 public:
  void declare(Options& options) override {
    declare_name(options);
    declare_project(options);
  }

  Status run(Context&) override {
    TRY(const std::string agent, name());
    TRY(auto fleet, open_fleet(project_));
    TRY_STATUS(fleet->stop(agent));
    TRY_STATUS(wait_shown(*fleet, agent, has_ended));
    return {};
  }
};

class AgentsResume : public AgentVerb {
 public:
  void declare(Options& options) override {
    declare_name(options);
    declare_project(options);
  }

  Status run(Context&) override {
    TRY(const std::string agent, name());
    TRY(auto fleet, open_fleet(project_));
    return fleet->resume(agent);
  }
};

class AgentsRemove : public AgentVerb {
 public:
  void declare(Options& options) override {
    declare_name(options);
    options.flag("--force", force_, "also with work that is not merged: it is kept under a ref");
    declare_project(options);
  }

  Status run(Context& context) override {
    TRY(const std::string agent, name());
    TRY(auto fleet, open_fleet(project_));
    TRY(const agents::RemoveResult removed, fleet->remove(agent, force_));
    const auto gone = [&]() -> Result<bool> {
      bool there = false;
      TRY_STATUS(fleet->store().read([&](agents::state::Transaction& t) -> Status {
        TRY(const auto row, t.agent(agent));
        there = row.has_value();
        return {};
      }));
      return !there;
    };
    const auto until = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      TRY(const bool done, gone());
      if (done) break;
      if (std::chrono::steady_clock::now() > until)
        return make_error(ErrorCode::kBusy, "{}: it is still being removed", agent);
      ::usleep(20'000);
    }
    if (removed.backup.empty()) return {};
    return context.out.write(fmt::format("{}: its work is kept as {}\n", agent, removed.backup));
  }

 private:
  bool force_ = false;
};

class AgentsList : public AgentVerb {
 public:
  void declare(Options& options) override {
    options.flag("--json", json_, "print one JSON object a line");
    declare_project(options);
  }

  Status run(Context& context) override {
    TRY(auto fleet, open_fleet(project_));
    TRY(const std::vector<Listed> all, fleet->list());
    // Where the two processes were killed, or the machine was started anew, whoever looks is who sets them going again.
    const auto is_on_its_way = [](const Listed& one) {
      return one.agent.wanted == Wanted::kRemoved ||
             (one.agent.phase != Phase::kStopped && one.agent.phase != Phase::kError);
    };
    if (std::any_of(all.begin(), all.end(), is_on_its_way)) {
      if (Status woken = fleet->wake(); !woken) print_error(woken.error().message);
    }
    if (json_) return context.out.write(to_json(all));
    if (all.empty()) return context.out.write("no agents yet: onsight agents start NAME --task TEXT\n");
    return context.out.write(to_table(all));
  }

 private:
  static std::string to_json(const std::vector<Listed>& all) {
    std::string out;
    for (const Listed& one : all) {
      const AgentRow& row = one.agent;
      nlohmann::ordered_json object = {{"name", row.name},
                                       {"role", row.role},
                                       {"harness", row.harness},
                                       {"phase", agents::state::name_of(row.phase)},
                                       {"activity", agents::state::name_of(row.activity)},
                                       {"detail", row.detail},
                                       {"task", row.task},
                                       {"branch", row.branch},
                                       {"ahead", one.ahead},
                                       {"merged", one.merged},
                                       {"unread", one.unread},
                                       {"usd", static_cast<double>(one.spent.micro_usd) / 1e6},
                                       {"tokens_in", one.spent.tokens_in},
                                       {"tokens_out", one.spent.tokens_out},
                                       {"created_ms", row.created_ms},
                                       {"started_ms", row.started_ms},
                                       {"stopped_ms", row.stopped_ms}};
      if (row.exit_code) object["exit_code"] = *row.exit_code;
      out += object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    }
    return out;
  }

  static std::string to_table(const std::vector<Listed>& all) {
    size_t names = 4, roles = 4;
    for (const Listed& one : all) {
      names = std::max(names, one.agent.name.size());
      roles = std::max(roles, one.agent.role.size());
    }
    const int64_t now = agents::state::now_ms();
    std::string out = fmt::format("{:<{}}  {:<{}}  {:<12}  {:<9}  {:>6}  {:>5}  {:>6}  {:>8}  {}\n", "name", names,
                                  "role", roles, "phase", "activity", "since", "ahead", "unread", "spent", "task");
    for (const Listed& one : all) {
      const AgentRow& row = one.agent;
      const bool up = row.phase == Phase::kRunning;
      const std::string about = row.phase == Phase::kError || !row.detail.empty() ? row.detail : row.task;
      out += fmt::format("{:<{}}  {:<{}}  {:<12}  {:<9}  {:>6}  {:>5}  {:>6}  {:>8}  {}\n", row.name, names, row.role,
                         roles, agents::state::name_of(row.phase),
                         up ? agents::state::name_of(row.activity) : std::string_view("-"),
                         ago(up ? row.started_ms : std::max(row.stopped_ms, row.created_ms), now), one.ahead,
                         one.unread, dollars(one.spent.micro_usd), shortened(printable(about), 60));
    }
    return out;
  }

  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_agents_start() { return std::make_unique<AgentsStart>(); }
std::unique_ptr<Verb> make_agents_stop() { return std::make_unique<AgentsStop>(); }
std::unique_ptr<Verb> make_agents_resume() { return std::make_unique<AgentsResume>(); }
std::unique_ptr<Verb> make_agents_rm() { return std::make_unique<AgentsRemove>(); }
std::unique_ptr<Verb> make_agents_list() { return std::make_unique<AgentsList>(); }

}  // namespace onsight::cli
