#include "agents/supervisor/steps.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agents/fleet.h"
#include "agents/harness/harness.h"
#include "agents/supervisor/collect.h"

namespace onsight::agents::supervisor {
namespace {

using state::AgentRow;
using state::Phase;

// What may pass by itself is tried again; all else is the agent's end, until somebody looks.
bool may_pass(const Error& error) { return error.code == ErrorCode::kBusy || error.code == ErrorCode::kIo; }

Status make_folder(const Path& folder, mode_t mode) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed || ::chmod(folder.c_str(), mode) != 0)
    return make_error(ErrorCode::kIo, "{}: cannot be made: {}", folder.string(),
                      failed ? failed.message() : std::strerror(errno));
  return {};
}

Status give_to(const Path& path, int uid) {
  if (::lchown(path.c_str(), static_cast<uid_t>(uid), static_cast<gid_t>(uid)) == 0 || ::geteuid() != 0) return {};
  return make_error(ErrorCode::kIo, "{}: cannot be given to user {}: {}", path.string(), uid, std::strerror(errno));
}

}  // namespace

Status Steps::phase(const AgentRow& agent, Phase to, Json more) {
  more["phase"] = state::name_of(to);
  return store_.write([&](state::Transaction& t) -> Status {
    return t.add({.actor = "supervisor", .agent = agent.name, .kind = "agent.phase", .body = more});
  });
}

Status Steps::fail(const AgentRow& agent, const Error& error) {
  if (may_pass(error)) return tl::unexpected<Error>(error);
  return phase(agent, Phase::kError, {{"detail", error.message}});
}

Status Steps::take(const Seen& seen, const Decision& decision, const config::Config& config) {
  const AgentRow& agent = seen.agent;
  const auto done = [&]() -> Status {
    switch (decision.step) {
      case Step::kNothing:
        return {};
      case Step::kProvision:
        return provision(agent, config);
      case Step::kCreate:
        return create(seen, config);
      case Step::kStart:
        return begin(agent, decision.container);
      case Step::kAttach:
        return terminals_.hold(agent.name, agent.generation, decision.container, Terminals::Of::kRunning, changed_);
      case Step::kStop:
        TRY_STATUS(phase(agent, Phase::kStopping,
                         decision.detail.empty() ? Json::object() : Json{{"detail", decision.detail}}));
        return runtime_.stop(decision.container, grace_);
      case Step::kFinish:
        return finish(agent, decision);
      case Step::kRemoveContainers:
        for (const std::string& id : decision.containers) {
          TRY_STATUS(runtime_.remove(id));
        }
        return {};
      case Step::kRemove:
        return remove(seen);
      case Step::kFail:
        return bad_input("{}", decision.detail);
    }
    return {};
  };
  const Status status = done();
  return status ? status : fail(agent, status.error());
}

Status Steps::provision(const AgentRow& agent, const config::Config& config) {
  TRY_STATUS(phase(agent, Phase::kProvisioning));
  TRY_STATUS(make_folder(project_.sockets(agent.name), 0755));
  std::string notes_text;
  if (!workspace_.has_clone(agent.name)) {
    const std::lock_guard lock(mirror_);
    std::vector<std::string> notes;
    TRY_STATUS(workspace_.make_clone(agent.name, agent.branch, agent.base_commit, agent.uid, agent.uid, notes));
    for (const std::string& note : notes) notes_text += (notes_text.empty() ? "" : "; ") + note;
  }
  TRY_STATUS(prepare_home(agent, config));
  return phase(agent, Phase::kStarting, notes_text.empty() ? Json::object() : Json{{"detail", notes_text}});
}

// Before the agent has run for the first time: nothing in there is its own yet.
Status Steps::prepare_home(const AgentRow& agent, const config::Config&) {
  const Path home = project_.clone(agent.name) / "home";
  std::error_code none;
  const bool empty = std::filesystem::is_empty(home, none);
  if (agent.generation > 0 || (!none && !empty)) return {};
  TRY(const harness::Harness harness, harness::find(agent.harness, project_.root));
  const Path making = project_.clone(agent.name) / "home.new";
  std::error_code ignored;
  std::filesystem::remove_all(making, ignored);
  TRY_STATUS(make_folder(making, 0700));
  const harness::Values values = {.task = agent.task,
                                  .model = agent.model,
                                  .name = agent.name,
                                  .role = agent.role,
                                  .home = "/agent/home",
                                  .placeholder = agent.placeholder};
  for (const auto& [name, text] : harness.files) {
    const Path file = (making / name).lexically_normal();
    if (Path(name).is_absolute() || name.find("..") != std::string::npos)
      return bad_input("harness {}: files.'{}': expected a path below the home", harness.name, name);
    std::filesystem::create_directories(file.parent_path(), ignored);
    TRY_STATUS(write_file_atomically(file, harness::fill(text, values)));
    std::filesystem::permissions(file, std::filesystem::perms(0600), ignored);
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(making, ignored)) {
    TRY_STATUS(give_to(entry.path(), agent.uid));
  }
  TRY_STATUS(give_to(making, agent.uid));
  if (std::rename(making.c_str(), home.c_str()) != 0)
    return make_error(ErrorCode::kIo, "{}: cannot be made: {}", home.string(), std::strerror(errno));
  return {};
}

Status Steps::create(const Seen& seen, const config::Config& config) {
  AgentRow next = seen.agent;
  ++next.generation;
  TRY_STATUS(phase(seen.agent, Phase::kStarting, {{"generation", next.generation}}));
  TRY(runtime::ContainerSpec spec, container_spec(project_, config, next));
  TRY(next.container, runtime_.create(spec));
  TRY_STATUS(phase(next, Phase::kStarting, {{"container", next.container}}));
  return begin(next, next.container);
}

Status Steps::begin(const AgentRow& agent, const std::string& container) {
  using Of = Terminals::Of;
  const auto hold = [&](Of state) { return terminals_.hold(agent.name, agent.generation, container, state, changed_); };
  const bool before = runtime_.attaches_before_start();
  if (before) TRY_STATUS(hold(Of::kCreated));
  if (Status started = runtime_.start(container); !started) {
    terminals_.let_go(agent.name);
    return started;
  }
  // First, so that whoever sees that it runs finds its terminal.
  if (before)
    terminals_.fit(agent.name);
  else
    TRY_STATUS(hold(Of::kRunning));
  return phase(agent, Phase::kRunning, {{"container", container}});
}

Status Steps::finish(const AgentRow& agent, const Decision& decision) {
  Json body = Json::object();
  if (decision.exit_code) body["exit_code"] = *decision.exit_code;
  if (!decision.detail.empty()) body["detail"] = decision.detail;
  if (workspace_.has_clone(agent.name)) {
    const std::lock_guard lock(mirror_);
    const auto work = collect_work(project_, runtime_, workspace_, store_, agent, "supervisor");
    if (!work && may_pass(work.error())) return tl::unexpected<Error>(work.error());
    // Its clone stays as it is: diff and merge fetch from there again.
    if (!work) body["detail"] = work.error().message;
  }
  terminals_.let_go(agent.name);
  return phase(agent, Phase::kStopped, std::move(body));
}

Status Steps::remove(const Seen& seen) {
  const AgentRow& agent = seen.agent;
  terminals_.let_go(agent.name);
  for (const runtime::ContainerInfo& one : seen.containers) {
    TRY_STATUS(runtime_.remove(one.id));
  }
  TRY_STATUS(runtime_.forget(project_.clone(agent.name)));
  {
    const std::lock_guard lock(mirror_);
    TRY_STATUS(workspace_.forget(agent.name));  // first: refs without a clone would keep the name
  }
  TRY_STATUS(workspace_.remove_clone(agent.name));  // may take long: others start and end meanwhile
  std::error_code ignored;
  std::filesystem::remove_all(project_.sockets(agent.name), ignored);
  std::filesystem::remove_all(log_file(project_, agent.name, 0).parent_path(), ignored);
  return store_.write([&](state::Transaction& t) -> Status {
    return t.add({.actor = "supervisor", .agent = agent.name, .kind = "agent.removed"});
  });
}

}  // namespace onsight::agents::supervisor
