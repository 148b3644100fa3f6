#include "agents/runtime/kubernetes/kubernetes_runtime.h"

#include <cstdlib>

#include "agents/runtime/checks.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr LiveProgram::Size kFirstSize{40, 120};  // what the supervisor asks for next
constexpr std::string_view kGivenFolder = "/agent/";

// What a label says becomes part of a path here: only what is the name of an agent may.
std::string agent_of(const ContainerInfo& pod) {
  const auto name = pod.labels.find(std::string(kAgentLabel));
  return name != pod.labels.end() && config::check_name(name->second, "an agent") ? name->second : "";
}

tl::unexpected<Error> images_are_elsewhere() {
  return make_error(ErrorCode::kUsage,
                    "a cluster's images are made with docker or podman of this machine (--engine docker), and then "
                    "pushed to its registry");
}

// Read once, so that nobody who switches contexts meanwhile takes this process along. Inside of a cluster there is
// none.
Result<std::string> current_context() {
  const Kubectl kubectl({.context = {}, .name_space = "default"});
  auto context = kubectl.ask({"config", "current-context"});
  if (!context) {
    if (std::getenv("KUBERNETES_SERVICE_HOST")) return std::string();
    return bad_input(
        "kubectl has no current context: expected one, or its name as context in [runtime.kubernetes] of agents.toml");
  }
  while (context->ends_with('\n')) context->pop_back();
  return context;
}

}  // namespace

KubernetesRuntime::KubernetesRuntime(Cluster cluster, KubectlOptions kubectl, Place place)
    : cluster_(std::move(cluster)),
      place_(std::move(place)),
      name_(fmt::format("{}/{}", kubectl.context, kubectl.name_space)),
      pods_(cluster_, std::move(kubectl)) {}

Result<std::unique_ptr<Attachment>> KubernetesRuntime::attach(const std::string& id, bool replay) {
  TRY(const auto pod, pods_.look_at(id));
  if (!pod) return tl::unexpected(Error{ErrorCode::kBadInput, id + ": the pod is gone", {}, "gone"});
  const std::string agent = agent_of(pod->info);
  const Path broker = agent.empty() || place_.sockets.empty() ? Path() : place_.sockets / agent / "broker.sock";
  auto line = std::make_shared<Line>(kFirstSize);
  auto terminal = std::make_unique<PodTerminal>(pods_, id, replay, line);
  TRY_STATUS(terminal->begin(broker));
  const std::lock_guard lock(mutex_);
  lines_[id] = line;
  return std::unique_ptr<Attachment>(std::move(terminal));
}

std::shared_ptr<Line> KubernetesRuntime::line_of(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = lines_.find(name);
  return found == lines_.end() ? nullptr : found->second.lock();
}

Status KubernetesRuntime::resize(const std::string& id, int rows, int columns) {
  const auto line = line_of(id);
  if (!line) return bad_input("{}: its terminal is not attached", id);
  return line->resize({rows, columns});
}

Result<std::optional<ContainerInfo>> KubernetesRuntime::inspect(const std::string& id) {
  TRY(auto pod, pods_.look_at(id));
  if (!pod) return std::optional<ContainerInfo>();
  return std::optional(std::move(pod->info));
}

Result<std::pair<std::string, std::unique_ptr<Attachment>>> KubernetesRuntime::exec_terminal(
    const std::string& id, const std::vector<std::string>& command, int rows, int columns) {
  std::vector<std::string> arguments = {"exec", id, "--container=agent", "--stdin", "--tty", "--"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  const LiveProgram::Size size{rows, columns};
  TRY(std::shared_ptr<LiveProgram> program, LiveProgram::start(pods_.kubectl().command_of(arguments), size));
  auto line = std::make_shared<Line>(size);
  line->set(program);
  auto terminal = std::make_unique<ExecTerminal>(std::move(program), line);
  const std::lock_guard lock(mutex_);
  std::string name = fmt::format("{}-{}", id, ++last_command_);
  commands_[name] = std::move(line);
  return std::pair<std::string, std::unique_ptr<Attachment>>(std::move(name), std::move(terminal));
}

Result<int> KubernetesRuntime::exec_exit_code(const std::string& exec) {
  std::shared_ptr<Line> line;
  {
    const std::lock_guard lock(mutex_);
    const auto found = commands_.find(exec);
    if (found != commands_.end()) line = found->second;
  }
  if (!line) return bad_input("{}: there is no such command", exec);
  TRY(const int code, line->exit_code());
  const std::lock_guard lock(mutex_);
  commands_.erase(exec);
  return code;
}

Status KubernetesRuntime::resize_exec(const std::string& exec, int rows, int columns) {
  const std::lock_guard lock(mutex_);
  const auto found = commands_.find(exec);
  if (found == commands_.end()) return bad_input("{}: there is no such command", exec);
  return found->second->resize({rows, columns});
}

// Into the volume of its clone: what lies in memory counts as the agent's.
Result<std::string> KubernetesRuntime::give(const std::string& id, const Path& file) {
  std::string place = std::string(kGivenFolder) + file.filename().string();
  TRY_STATUS(pods_.put(id, file, place));
  return place;
}

Status KubernetesRuntime::take_back(const std::string& id, const std::string& path) {
  TRY_STATUS(pods_.exec(id, {"/bin/rm", "-f", path}, std::chrono::seconds(20), 1 << 16));
  return {};
}

Result<std::optional<std::string>> KubernetesRuntime::image_id(const std::string& tag) {
  return std::optional(image_reference(tag, cluster_));
}

Status KubernetesRuntime::import_image(const Path&, const std::string&, const Labels&, const std::vector<std::string>&,
                                       const std::function<void(uint64_t)>&) {
  return images_are_elsewhere();
}

Status KubernetesRuntime::remove_image(const std::string&) { return images_are_elsewhere(); }

Result<std::vector<Check>> KubernetesRuntime::check(const std::string& image) {
  constexpr size_t kMostBytes = 256 << 10;
  ContainerSpec spec = pod_check_spec(image);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  spec.name = fmt::format("onsight-check-{:x}", std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  spec.labels = {{std::string(kProjectLabel), place_.project}, {std::string(kPurposeLabel), "doctor"}};
  std::string printed;
  const auto keep = [&](std::string_view bytes) {
    printed += bytes.substr(0, kMostBytes - std::min(kMostBytes, printed.size()));
    return Status();
  };
  const auto ended = pods_.run(spec, keep, std::chrono::minutes(1));
  // Its last try may end the pod, and then there is nobody to say how it ended.
  if (!ended && printed.find("\nlast\n") == std::string::npos) return tl::unexpected(ended.error());
  if (printed.empty())
    return bad_input("kubernetes: trying what it enforces in {}: expected /bin/sh to run there, it ended with {} ({})",
                     image, ended->exit_code, ended->err.substr(0, ended->err.find('\n')));
  return judge_pod(printed, spec);
}

Result<std::unique_ptr<Runtime>> connect_cluster(const ConnectOptions& options) {
  if (!has_program("kubectl")) return bad_input("engine = \"kubernetes\": expected kubectl in PATH");
  std::string context = options.kubernetes.context;
  if (context.empty()) {
    TRY(context, current_context());
  }
  KubectlOptions of = {.context = std::move(context), .name_space = options.kubernetes.name_space};
  const Kubectl kubectl(of);
  TRY(const std::string text, kubectl.ask({"version", "--output=json"}, {}, std::chrono::seconds(20)));
  TRY(const Json told, parse_json(text, "kubectl version"));
  const auto server = told.find("serverVersion");
  const Json* version = server != told.end() && server->is_object() && server->contains("gitVersion")
                            ? &(*server)["gitVersion"]
                            : nullptr;
  if (!version || !version->is_string()) return bad_input("kubectl version: expected the API server's");
  return std::make_unique<KubernetesRuntime>(
      options.kubernetes, std::move(of),
      KubernetesRuntime::Place{
          .version = version->get<std::string>(), .project = options.project, .sockets = options.sockets});
}

}  // namespace onsight::agents::runtime::kubernetes
