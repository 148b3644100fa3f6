#include "agents/supervisor/collect.h"

namespace onsight::agents::supervisor {
namespace {

constexpr std::chrono::minutes kCollectTime{10};
constexpr uint64_t kCollectMemory = uint64_t{1} << 30;

runtime::ContainerSpec collecting(const Project& project, const state::AgentRow& agent) {
  runtime::ContainerSpec spec;
  spec.name = fmt::format("onsight-{}-{}-collect-{}", project.id, agent.name, state::new_id());
  spec.image = agent.image;
  spec.command = {"/usr/local/bin/onsight-agent", "collect", "--branch", agent.branch, "--base", agent.base_commit};
  spec.environment = {{"HOME", "/tmp"}, {"LANG", "C.UTF-8"}, {"ONSIGHT_AGENT", agent.name}};
  spec.working_folder = "/";
  spec.uid = spec.gid = agent.uid;
  spec.terminal = false;
  spec.mounts = {{project.clone(agent.name), "/agent", true}};
  spec.labels = {{std::string(runtime::kProjectLabel), project.id}, {std::string(runtime::kPurposeLabel), "collect"}};
  // What was not committed becomes objects in /tmp, which counts as memory.
  spec.limits.memory_bytes = kCollectMemory;
  spec.limits.tmp_bytes = kCollectMemory * 3 / 4;
  spec.limits.pids = 64;
  return spec;
}

}  // namespace

Result<workspace::Collected> collect_work(const Project& project, runtime::Runtime& runtime,
                                          workspace::Workspace& workspace, state::Store& store,
                                          const state::AgentRow& agent, std::string_view actor) {
  const auto pack = [&](const std::function<Status(std::string_view)>& sink) -> Status {
    TRY(const runtime::ExecResult result, runtime.run(collecting(project, agent), sink, kCollectTime));
    if (result.exit_code != 0)
      return bad_input("{}: its clone could not be packed: {}", agent.name,
                       result.err.empty() ? fmt::format("exit code {}", result.exit_code) : result.err);
    return {};
  };
  TRY(workspace::Collected work, workspace.collect(agent.name, agent.base_commit, pack));
  if (work.commit == agent.collected && work.wip == agent.collected_wip) return work;
  TRY_STATUS(store.write([&](state::Transaction& t) -> Status {
    return t.add({.actor = std::string(actor),
                  .agent = agent.name,
                  .kind = "work.collected",
                  .body = {{"commit", work.commit}, {"wip", work.wip}, {"ahead", work.ahead}}});
  }));
  return work;
}

// Through the folder of its sockets, which a container of this machine sees and cannot write: nothing of the host's
// follows a link that an agent made.
Status give_bundle(const Project& project, runtime::Runtime& runtime, const state::AgentRow& agent,
                   std::string_view bundle) {
  const Path file = project.sockets(agent.name) / "sync.bundle";
  TRY_STATUS(write_file_atomically(file, bundle));
  std::error_code ignored;
  std::filesystem::permissions(file, std::filesystem::perms(0644), ignored);
  const auto fetched = [&]() -> Result<runtime::ExecResult> {
    TRY(const std::string place, runtime.give(agent.container, file));
    auto done =
        runtime.exec(agent.container,
                     {"git", "-C", "/agent/repo", "fetch", "--no-tags", place, "+refs/heads/*:refs/remotes/origin/*"},
                     std::chrono::minutes(2), 1 << 20);
    (void)runtime.take_back(agent.container, place);
    return done;
  }();
  std::filesystem::remove(file, ignored);
  if (!fetched) return tl::unexpected<Error>(fetched.error());
  if (fetched->exit_code != 0) return bad_input("{}: its git could not take the commits: {}", agent.name, fetched->err);
  return {};
}

}  // namespace onsight::agents::supervisor
