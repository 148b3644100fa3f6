#include "agents/fleet.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <thread>

#include "agents/broker_process.h"
#include "agents/config/toml_reader.h"
#include "agents/harness/harness.h"
#include "agents/supervisor/collect.h"
#include "agents/supervisor/launch.h"
#include "base/subprocess.h"

namespace onsight::agents {
namespace {

constexpr size_t kMostTask = 64 << 10;
constexpr int kFirstUid = 10'000;  // of agents, where the user is root
constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::seconds kGitTime{20};

std::string plural(int64_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

class OpenFleet : public Fleet {
 public:
  OpenFleet(Project project, config::Config config, std::unique_ptr<state::Store> store,
            std::unique_ptr<workspace::Workspace> workspace)
      : project_(std::move(project)),
        config_(std::move(config)),
        store_(std::move(store)),
        workspace_(std::move(workspace)) {}

  const Project& project() const override { return project_; }
  const config::Config& config() const override { return config_; }
  state::Store& store() override { return *store_; }
  workspace::Workspace& workspace() override { return *workspace_; }

  Result<runtime::Runtime*> runtime() override {
    const std::lock_guard lock(connecting_);
    if (!runtime_) {
      TRY(runtime_, runtime::connect(engine_of(project_, config_)));
    }
    return runtime_.get();
  }

  Result<state::AgentRow> start(const StartOptions& options) override {
    TRY_STATUS(config::check_name(options.name, "an agent"));
    if (options.name == "human" || options.name == "supervisor" || options.name == "broker")
      return make_error(ErrorCode::kUsage, "'{}' is taken, choose another name", options.name);
    if (options.task.size() > kMostTask)
      return make_error(ErrorCode::kUsage, "the task: expected at most {} bytes, found {}", kMostTask,
                        options.task.size());
    if (options.task.find('\0') != std::string::npos)
      return make_error(ErrorCode::kUsage, "the task: expected no zero bytes");
    TRY(const config::Role* role, role_for(options));
    const std::string harness_name = options.harness.empty() ? role->harness : options.harness;
    TRY(const harness::Harness harness, harness::find(harness_name, project_.root));
    TRY(const std::string base, commit_of(options.revision));
    const std::string image = harness::image_tag(harness);
    TRY_STATUS(refuse_what_is_not_enforced(image, harness_name));
    TRY_STATUS(check_keys(project_, config_, *role, harness));

    state::AgentRow created;
    TRY_STATUS(store_->write([&](state::Transaction& t) -> Status {
      TRY(const auto taken, t.agent(options.name));
      if (taken)
        return make_error(ErrorCode::kUsage,
                          "{}: there is an agent of this name ({}): choose another, or remove it with: onsight agents "
                          "rm {}",
                          options.name, state::name_of(taken->phase), options.name);
      TRY(const int uid, free_uid(t));
      const std::string branch = "agents/" + options.name;
      TRY_STATUS(t.add({.actor = options.actor,
                        .agent = options.name,
                        .kind = "agent.created",
                        .body = {{"role", role->name},
                                 {"harness", harness_name},
                                 {"model", options.model.empty() ? role->model : options.model},
                                 {"task", options.task},
                                 {"branch", branch},
                                 {"base", base},
                                 {"image", image},
                                 {"placeholder", fmt::format("onsight-{}-{}", options.name, state::new_id())},
                                 {"uid", uid}}}));
      TRY(auto row, t.agent(options.name));
      created = std::move(*row);
      return {};
    }));
    TRY_STATUS(wake());
    return created;
  }

  Status stop(const std::string& name) override { return want(name, "stopped", false); }

  Status resume(const std::string& name) override {
    TRY(const state::AgentRow row, agent(name));
    if (row.wanted == state::Wanted::kRunning && row.phase != state::Phase::kStopped &&
        row.phase != state::Phase::kError)
      return make_error(ErrorCode::kUsage, "{}: it is {}", name, state::name_of(row.phase));
    TRY_STATUS(refuse_what_is_not_enforced(row.image, row.harness));
    return want(name, "running", true);
  }

  Result<RemoveResult> remove(const std::string& name, bool force) override {
    TRY(state::AgentRow row, agent(name));
    RemoveResult result;
    if (workspace_->has_clone(name)) {
      // What is being written right now would be lost between looking and removing: it stops first.
      if (row.wanted == state::Wanted::kRunning) {
        TRY_STATUS(stop(name));
      }
      const auto ended = [](const state::AgentRow& now) {
        return now.phase == state::Phase::kStopped || now.phase == state::Phase::kError;
      };
      TRY(row, wait_until(name, ended, std::chrono::minutes(2)));
      TRY(workspace::Collected work, collect(name));
      TRY(bool merged, workspace_->is_merged(name));
      if (work.commit == row.merged) {
        // As a run brings it: made anew on top of what others did, so that the commits themselves are nowhere else.
        merged = merged || work.wip.empty();
        work.ahead = 0;
      }
      if (!merged && !force)
        return bad_input("{}: {} not merged: onsight agents merge {}, or rm --force, which keeps it under a ref", name,
                         unmerged(work), name);
      if (!merged) {
        TRY(result.backup, workspace_->back_up(name));
      }
    }
    TRY_STATUS(store_->write([&](state::Transaction& t) -> Status {
      if (!result.backup.empty()) {
        TRY_STATUS(
            t.add({.actor = "human", .agent = name, .kind = "work.backed_up", .body = {{"ref", result.backup}}}));
      }
      return t.add({.actor = "human", .agent = name, .kind = "agent.wanted", .body = {{"wanted", "removed"}}});
    }));
    TRY_STATUS(wake());
    return result;
  }

  Result<std::vector<Listed>> list() override {
    std::vector<Listed> all;
    TRY_STATUS(store_->read([&](state::Transaction& t) -> Status {
      TRY(auto rows, t.agents());
      for (state::AgentRow& row : rows) {
        Listed one;
        TRY(one.spent, t.spent(row.name));
        TRY(const auto unread, t.inbox(row.name, 0, true, 1000));
        one.unread = static_cast<int>(unread.size());
        one.agent = std::move(row);
        all.push_back(std::move(one));
      }
      return {};
    }));
    for (Listed& one : all) {
      if (one.agent.collected.empty()) continue;
      auto work = workspace_->collected(one.agent.name, one.agent.base_commit);
      if (work && *work) one.ahead = (*work)->ahead;
      auto merged = workspace_->is_merged(one.agent.name);
      one.merged =
          merged.value_or(false) || (one.agent.collected == one.agent.merged && one.agent.collected_wip.empty());
    }
    return all;
  }

  Result<state::AgentRow> agent(const std::string& name) override {
    std::optional<state::AgentRow> found;
    std::vector<std::string> names;
    TRY_STATUS(store_->read([&](state::Transaction& t) -> Status {
      TRY(found, t.agent(name));
      if (found) return {};
      TRY(const auto rows, t.agents());
      for (const state::AgentRow& row : rows) names.push_back(row.name);
      return {};
    }));
    if (found) return std::move(*found);
    return make_error(ErrorCode::kUsage, "{}: there is no such agent{}", name, config::did_you_mean(name, names));
  }

  Result<state::AgentRow> wait_until(const std::string& name, const std::function<bool(const state::AgentRow&)>& done,
                                     std::chrono::milliseconds limit) override {
    const auto until = std::chrono::steady_clock::now() + limit;
    for (;;) {
      TRY(state::AgentRow row, agent(name));
      if (done(row)) return row;
      if (row.phase == state::Phase::kError) return bad_input("{}: {}", name, row.detail);
      if (std::chrono::steady_clock::now() >= until)
        return make_error(ErrorCode::kBusy, "{}: it is still {} after {} s", name, state::name_of(row.phase),
                          limit.count() / 1000);
      std::this_thread::sleep_for(kPoll);
    }
  }

  Result<workspace::Collected> collect(const std::string& name) override {
    TRY(const state::AgentRow row, agent(name));
    if (!workspace_->has_clone(name)) {
      TRY(const auto kept, workspace_->collected(name, row.base_commit));
      if (kept) return *kept;
      return bad_input("{}: it has no clone yet ({})", name, state::name_of(row.phase));
    }
    TRY(runtime::Runtime * engine, runtime());
    return supervisor::collect_work(project_, *engine, *workspace_, *store_, row, "human");
  }

  Result<workspace::Merged> merge(const std::string& name) override {
    TRY(const workspace::Collected work, collect(name));
    TRY(const state::AgentRow row, agent(name));
    std::string subject = row.task.substr(0, std::min(row.task.find('\n'), row.task.size()));
    if (subject.size() > 72) subject = subject.substr(0, 69) + "...";
    const std::string message = fmt::format("Merge {}{}{}", row.branch, subject.empty() ? "" : ": ", subject);
    TRY(const workspace::Merged merged, workspace_->merge(name, message));
    if (!merged.commit.empty() && !merged.nothing) {
      TRY_STATUS(store_->write([&](state::Transaction& t) -> Status {
        return t.add({.actor = "human", .agent = name, .kind = "work.merged", .body = {{"commit", work.commit}}});
      }));
    }
    return merged;
  }

  Result<std::string> diff(const std::string& name, bool stat, bool colour) override {
    TRY(const workspace::Collected work, collect(name));
    TRY(const state::AgentRow row, agent(name));
    return workspace_->diff(name, row.base_commit, !work.wip.empty(), stat, colour);
  }

  Result<std::string> sync(const std::string& name, const std::string& revision) override;

  Result<std::vector<runtime::Check>> doctor(const std::string& image, bool anew) override;

  Status wake() override {
    TRY_STATUS(supervisor::wake(project_, supervisor::Duty::kBroker));
    return supervisor::wake(project_, supervisor::Duty::kSupervisor);
  }

 private:
  static std::string unmerged(const workspace::Collected& work) {
    const std::string commits = work.ahead > 0 ? plural(work.ahead, "commit", "commits") : "";
    if (work.wip.empty()) return commits + (work.ahead == 1 ? " is" : " are");
    return commits + (commits.empty() ? "" : " and ") + "what it did not commit" + (commits.empty() ? " is" : " are");
  }

  Status want(const std::string& name, const char* wanted, bool resumes) {
    TRY(const state::AgentRow row, agent(name));
    TRY_STATUS(store_->write([&](state::Transaction& t) -> Status {
      Json body = {{"wanted", wanted}};
      if (resumes) body["resume"] = true;
      return t.add({.actor = "human", .agent = row.name, .kind = "agent.wanted", .body = std::move(body)});
    }));
    return wake();
  }

  Result<const config::Role*> role_for(const StartOptions& options) const {
    std::vector<std::string> names;
    for (const auto& [name, role] : config_.roles) names.push_back(name);
    if (names.empty())
      return bad_input("agents.toml: expected a role, such as [roles.coder] with harness = \"claude\"");
    if (!options.role.empty()) {
      if (const config::Role* role = config_.role(options.role)) return role;
      return make_error(ErrorCode::kUsage, "unknown role '{}'{} (agents.toml has {})", options.role,
                        config::did_you_mean(options.role, names), fmt::join(names, ", "));
    }
    if (const config::Role* role = config_.role(options.name)) return role;  // of the agent's own name
    std::vector<const config::Role*> fitting;
    for (const auto& [name, role] : config_.roles)
      if (options.harness.empty() || role.harness == options.harness) fitting.push_back(&role);
    if (fitting.size() == 1) return fitting.front();
    if (config_.roles.size() == 1) return &config_.roles.begin()->second;
    return make_error(ErrorCode::kUsage, "expected --role: one of {}", fmt::join(names, ", "));
  }

  // A name is not an option of git, and nothing is checked out.
  Result<std::string> commit_of(const std::string& revision) const {
    auto commit = output_of({"git", "-C", project_.root.string(), "rev-parse", "--verify", "--quiet",
                             "--end-of-options", revision + "^{commit}"},
                            1000, kGitTime);
    if (!commit && revision == "HEAD")
      return bad_input("{}: the repository has no commit yet: expected at least one", project_.root.string());
    if (!commit)
      return make_error(ErrorCode::kUsage, "--from {}: expected a branch, a tag or a commit of {}", revision,
                        project_.root.string());
    while (!commit->empty() && commit->back() == '\n') commit->pop_back();
    return *commit;
  }

  Status refuse_what_is_not_enforced(const std::string& image, const std::string& harness) {
    TRY(runtime::Runtime * engine, runtime());
    TRY(const auto id, engine->image_id(image));
    if (!id)
      return bad_input("there is no image for {}: make it with: onsight agents image build --harness {}", harness,
                       harness);
    TRY(const std::vector<runtime::Check> checks, doctor(image, false));
    for (const runtime::Check& check : checks)
      if (check.required && !check.enforced)
        return bad_input("{} is not enforced by {} at {} ({}): see onsight agents doctor", check.name, engine->engine(),
                         engine->socket().string(), check.detail);
    return {};
  }

  // Files of one agent are not another's: each has a user of its own, where we may choose.
  static Result<int> free_uid(state::Transaction& t) {
    if (geteuid() != 0) return static_cast<int>(geteuid());
    TRY(const auto rows, t.agents());
    std::set<int> taken;
    for (const state::AgentRow& row : rows) taken.insert(row.uid);
    int uid = kFirstUid;
    while (taken.count(uid)) ++uid;
    return uid;
  }

  Project project_;
  config::Config config_;
  std::unique_ptr<state::Store> store_;
  std::unique_ptr<workspace::Workspace> workspace_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::mutex connecting_;
};

Json to_json(const std::vector<runtime::Check>& checks) {
  Json out = Json::array();
  for (const runtime::Check& check : checks)
    out.push_back(
        {{"name", check.name}, {"enforced", check.enforced}, {"required", check.required}, {"detail", check.detail}});
  return out;
}

std::optional<std::vector<runtime::Check>> checks_of(const Json& document, const std::string& machine) {
  const auto of = JsonView(document, "doctor.json").string_or("machine", "");
  if (!of || *of != machine || !document.contains("checks")) return {};
  std::vector<runtime::Check> checks;
  for (const Json& one : document["checks"]) {
    const JsonView view(one, "doctor.json");
    auto name = view.string("name"), detail = view.string("detail");
    auto enforced = view.boolean_or("enforced", false), required = view.boolean_or("required", true);
    if (!name || !detail || !enforced || !required) return {};
    checks.push_back({std::move(*name), *enforced, *required, std::move(*detail)});
  }
  return checks;
}

}  // namespace

// Kept in a file of the user's own, under all that the outcome depends on: engine, image, and this boot's kernel.
Result<std::vector<runtime::Check>> OpenFleet::doctor(const std::string& image, bool anew) {
  TRY(runtime::Runtime * engine, runtime());
  TRY(const auto id, engine->image_id(image));
  if (!id) return bad_input("{}: there is no such image: make it with: onsight agents image build", image);
  const auto boot = read_file("/proc/sys/kernel/random/boot_id", 100);
  const std::string machine = fmt::format("{} {} {} {} {}", engine->engine(), engine->version(),
                                          engine->socket().string(), *id, boot.value_or(""));
  const Path file = project_.state / "doctor.json";
  if (!anew) {
    if (const auto kept = load_json(file)) {
      if (auto checks = checks_of(*kept, machine); checks && !checks->empty()) return std::move(*checks);
    }
  }
  TRY(std::vector<runtime::Check> checks, engine->check(image));
  TRY_STATUS(write_file_atomically(file, Json{{"machine", machine}, {"checks", to_json(checks)}}.dump(1)));
  return checks;
}

Result<std::string> OpenFleet::sync(const std::string& name, const std::string& revision) {
  TRY(const state::AgentRow row, agent(name));
  if (row.phase != state::Phase::kRunning)
    return make_error(ErrorCode::kUsage, "{}: it is {}; what is new reaches an agent that runs", name,
                      state::name_of(row.phase));
  TRY(const std::string commit, commit_of(revision));
  TRY(const std::string bundle, workspace_->bundle_for(name, revision));
  TRY(runtime::Runtime * engine, runtime());
  TRY_STATUS(supervisor::give_bundle(project_, *engine, row, bundle));
  return commit;
}

runtime::ConnectOptions engine_of(const Project& project, const config::Config& config) {
  return {.engine = config.engine,
          .socket = config.socket,
          .kubernetes = config.kubernetes,
          .project = project.id,
          .sockets = project.run / "agents"};
}

Result<std::unique_ptr<Fleet>> Fleet::open(const Path& folder, const Path& plan) {
  TRY(Project project, Project::find(folder));
  if (!std::filesystem::exists(project.config()))
    return bad_input("{}: expected .onsight/agents.toml: onsight agents init writes one", project.root.string());
  TRY(config::Config config, config::load(project.config(), plan.empty() ? project.plan() : plan));
  TRY(auto store, state::Store::open(project.database()));
  TRY(auto workspace, workspace::Workspace::open(project));
  return std::make_unique<OpenFleet>(std::move(project), std::move(config), std::move(store), std::move(workspace));
}

}  // namespace onsight::agents
