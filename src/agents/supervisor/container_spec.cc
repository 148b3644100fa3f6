// What a container of an agent is made of.
#include <algorithm>

#include "agents/fleet.h"
#include "agents/harness/harness.h"
#include "agents/supervisor/phases.h"

namespace onsight::agents {
namespace {

constexpr std::string_view kProxy = "http://127.0.0.1:8080", kHome = "/agent/home";

std::string whole_task(const config::Role& role, const state::AgentRow& agent) {
  if (role.instructions.empty() || agent.task.empty()) return role.instructions + agent.task;
  return role.instructions + "\n\n" + agent.task;
}

// An argument that is nothing but an empty task would be an empty question.
std::vector<std::string> without_empty_task(std::vector<std::string> command, const std::string& task) {
  if (task.empty()) command.erase(std::remove(command.begin(), command.end(), "{task}"), command.end());
  return command;
}

}  // namespace

Result<runtime::ContainerSpec> container_spec(const Project& project, const config::Config& config,
                                              const state::AgentRow& agent) {
  const config::Role* role = config.role(agent.role);
  if (!role) return bad_input("{}: its role '{}' is no longer in agents.toml", agent.name, agent.role);
  TRY(const harness::Harness harness, harness::find(agent.harness, project.root));
  const harness::Values values = {.task = whole_task(*role, agent),
                                  .model = agent.model,
                                  .name = agent.name,
                                  .role = agent.role,
                                  .home = std::string(kHome),
                                  .placeholder = agent.placeholder};
  const bool resumes = agent.resume && !harness.resume.empty();
  const std::vector<std::string>& command =
      !role->command.empty() ? role->command : (resumes ? harness.resume : harness.command);

  runtime::ContainerSpec spec;
  spec.name = supervisor::container_name(project.id, agent.name, agent.generation);
  spec.image = agent.image;
  spec.command = {"/usr/local/bin/onsight-agent", "init", "--"};
  for (std::string& word : harness::fill(without_empty_task(command, values.task), values))
    spec.command.push_back(std::move(word));
  spec.environment = {{"HOME", std::string(kHome)},
                      {"TERM", "xterm-256color"},
                      {"COLORTERM", "truecolor"},
                      {"LANG", "C.UTF-8"},
                      {"USER", "agent"},
                      {"ONSIGHT_AGENT", agent.name},
                      {"ONSIGHT_ROLE", agent.role},
                      {"ONSIGHT_TASK", values.task}};
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"})
    spec.environment.emplace_back(name, kProxy);
  for (const char* name : {"NO_PROXY", "no_proxy"}) spec.environment.emplace_back(name, "127.0.0.1,localhost");
  for (const auto& [name, provider] : harness.base_urls)
    spec.environment.emplace_back(name, fmt::format("{}/upstream/{}", kProxy, provider));
  for (const auto& [name, provider] : harness.keys) spec.environment.emplace_back(name, agent.placeholder);
  for (const auto& [name, value] : harness.environment)
    spec.environment.emplace_back(name, harness::fill(value, values));
  spec.uid = spec.gid = agent.uid;
  spec.mounts = {{project.clone(agent.name), "/agent", false}, {project.sockets(agent.name), "/run/onsight", true}};
  spec.labels = {{std::string(runtime::kProjectLabel), project.id},
                 {std::string(runtime::kAgentLabel), agent.name},
                 {std::string(runtime::kGenerationLabel), std::to_string(agent.generation)},
                 {std::string(runtime::kPurposeLabel), "agent"}};
  spec.limits = role->limits;
  return spec;
}

}  // namespace onsight::agents
