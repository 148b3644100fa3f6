#include "agents/runtime/kubernetes/pods.h"

#include <algorithm>
#include <thread>

#include "agents/runtime/owner.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

using std::chrono::milliseconds;
using PodClock = std::chrono::steady_clock;

constexpr milliseconds kPodPoll{250};
constexpr std::string_view kGate = "onsight.dev/start";

std::string text_at(const Json& object, std::string_view key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const Json& part_of(const Json& object, std::string_view key) {
  static const Json kNone;
  if (!object.is_object()) return kNone;
  const auto found = object.find(key);
  return found == object.end() ? kNone : *found;
}

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> all) {
  return std::find(all.begin(), all.end(), text) != all.end();
}

tl::unexpected<Error> late(const std::string& id, std::string_view what) {
  return tl::unexpected(Error{ErrorCode::kBusy, fmt::format("{}: {}", id, what), {}, "late"});
}

// What its one container does, and what keeps it from it.
void read_container(const Json& state, PodInfo& pod) {
  const Json& ended = part_of(state, "terminated");
  if (ended.is_object()) {
    pod.info.state = State::kExited;
    const Json& code = part_of(ended, "exitCode");
    if (code.is_number_integer()) pod.info.exit_code = code.get<int>();
    pod.info.out_of_memory = text_at(ended, "reason") == "OOMKilled";
  }
  const Json& waiting = part_of(state, "waiting");
  const std::string reason = text_at(waiting, "reason");
  pod.no_image = is_one_of(reason, {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"});
  if (pod.no_image || is_one_of(reason, {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}))
    pod.trouble = fmt::format("{}: {}", reason, text_at(waiting, "message"));
}

std::string selector_of(const Labels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) out += (out.empty() ? "" : ",") + name + "=" + value;
  return out;
}

}  // namespace

Result<PodInfo> parse_pod(const Json& pod) {
  const Json &meta = part_of(pod, "metadata"), &spec = part_of(pod, "spec"), &status = part_of(pod, "status");
  PodInfo out;
  out.info.id = out.info.name = text_at(meta, "name");
  const std::string phase = text_at(status, "phase");
  if (out.info.name.empty() || phase.empty()) return bad_input("kubectl: expected a pod with a name and a phase");
  const Json& labels = part_of(meta, "labels");
  if (labels.is_object())
    for (const auto& [name, value] : labels.items())
      if (value.is_string()) out.info.labels[name] = value.get<std::string>();
  out.info.state = phase == "Pending"                          ? State::kCreated
                   : phase == "Running"                        ? State::kRunning
                   : phase == "Succeeded" || phase == "Failed" ? State::kExited
                                                               : State::kUnknown;
  const Json& containers = part_of(status, "containerStatuses");
  if (containers.is_array())
    for (const Json& one : containers)
      if (text_at(one, "name") == "agent") read_container(part_of(one, "state"), out);
  const Json& conditions = part_of(status, "conditions");
  if (conditions.is_array() && out.info.state == State::kCreated)
    for (const Json& one : conditions)
      if (text_at(one, "reason") == "Unschedulable") out.trouble = "Unschedulable: " + text_at(one, "message");
  out.node = text_at(spec, "nodeName");
  const Json& volumes = part_of(spec, "volumes");
  if (volumes.is_array())
    for (const Json& one : volumes)
      if (const std::string claim = text_at(part_of(one, "persistentVolumeClaim"), "claimName"); !claim.empty())
        out.claim = claim;
  return out;
}

Result<std::string> Pods::make(const ContainerSpec& spec, const Json& more) const {
  TRY(Json list, manifests(spec, cluster_));
  TRY(Json pod, pod_of(spec, cluster_));
  list["items"].erase(list["items"].size() - 1);  // the pod, which must not be there yet
  TRY_STATUS(kubectl_.ask({"apply", "--filename=-"}, list.dump()));
  pod["spec"].update(more);
  TRY_STATUS(kubectl_.ask({"create", "--filename=-"}, pod.dump(-1, ' ', false, Json::error_handler_t::replace)));
  return spec.name;
}

Result<std::string> Pods::create(const ContainerSpec& spec) const {
  return make(spec, {{"schedulingGates", Json::array({{{"name", kGate}}})}});
}

Status Pods::start(const std::string& id, milliseconds limit) const {
  const auto until = PodClock::now() + limit;
  TRY_STATUS(kubectl_.ask({"patch", "pod", id, "--type=merge", R"(--patch={"spec":{"schedulingGates":null}})"}));
  for (;;) {
    TRY(const auto pod, look_at(id));
    if (!pod) return tl::unexpected(Error{ErrorCode::kBadInput, id + ": it was removed", {}, "gone"});
    if (pod->info.state == State::kRunning || pod->info.state == State::kExited) return {};
    const bool hopeless = !pod->trouble.empty() && !pod->trouble.starts_with("Unschedulable");
    if (hopeless || PodClock::now() > until) {
      TRY_STATUS(remove(id));
      if (pod->no_image) return tl::unexpected(Error{ErrorCode::kBadInput, id + ": " + pod->trouble, {}, "no_image"});
      return bad_input("{}: {}", id, pod->trouble.empty() ? "its container was not begun" : pod->trouble);
    }
    std::this_thread::sleep_for(kPodPoll);
  }
}

Result<std::optional<PodInfo>> Pods::look_at(const std::string& id) const {
  TRY(const std::string text, kubectl_.ask({"get", "pod", id, "--ignore-not-found", "--output=json"}));
  if (text.find_first_not_of(" \n") == std::string::npos) return std::optional<PodInfo>();
  TRY(const Json pod, parse_json(text, "kubectl get pod"));
  TRY(PodInfo info, parse_pod(pod));
  return std::optional(std::move(info));
}

Result<std::vector<PodInfo>> Pods::look_at_all(const Labels& labels) const {
  TRY(const std::string text, kubectl_.ask({"get", "pods", "--selector=" + selector_of(labels), "--output=json"}));
  TRY(const Json list, parse_json(text, "kubectl get pods"));
  const Json& items = part_of(list, "items");
  if (!items.is_array()) return bad_input("kubectl get pods: expected a list with items");
  std::vector<PodInfo> out;
  for (const Json& pod : items) {
    TRY(PodInfo info, parse_pod(pod));
    out.push_back(std::move(info));
  }
  return out;
}

Result<std::vector<ContainerInfo>> Pods::list(const Labels& labels) const {
  TRY(std::vector<PodInfo> pods, look_at_all(labels));
  std::vector<ContainerInfo> out;
  for (PodInfo& pod : pods) out.push_back(std::move(pod.info));
  return out;
}

Status Pods::stop(const std::string& id, std::chrono::seconds grace) const {
  TRY(const auto pod, look_at(id));
  if (!pod || pod->info.state == State::kExited) return {};
  if (pod->info.state == State::kRunning) {
    const auto told = exec(id, {"/bin/kill", "-TERM", "1"}, std::chrono::seconds(20), 1 << 16);
    if (told && told->exit_code == 0) {
      const auto ended = wait(id, grace);
      if (ended || ended.error().reason == "gone") return {};
      if (ended.error().reason != "late") return tl::unexpected(ended.error());
    }
  }
  return remove(id);
}

Status Pods::remove(const std::string& id) const {
  TRY_STATUS(kubectl_.ask({"delete", "pod", id, "--ignore-not-found", "--grace-period=1", "--wait=true"}, {},
                          std::chrono::minutes(2)));
  return {};
}

Result<int> Pods::wait(const std::string& id, milliseconds limit) const {
  const auto until = PodClock::now() + limit;
  for (;;) {
    TRY(const auto pod, look_at(id));
    if (!pod) return tl::unexpected(Error{ErrorCode::kBadInput, id + ": it was removed", {}, "gone"});
    // One that its node threw out has no code.
    if (pod->info.state == State::kExited) return pod->info.exit_code.value_or(137);
    if (PodClock::now() > until) return late(id, "it has not ended");
    std::this_thread::sleep_for(std::min(kPodPoll, limit));
  }
}

Result<ExecResult> Pods::exec(const std::string& id, const std::vector<std::string>& command, milliseconds limit,
                              uint64_t max_bytes) const {
  std::string out;
  const auto keep = [&](std::string_view bytes) {
    out += bytes;
    return Status();
  };
  TRY(ExecResult result, kubectl_.exec(id, command, keep, {}, limit, max_bytes));
  result.out = std::move(out);
  return result;
}

Result<ExecResult> Pods::run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                             milliseconds limit) const {
  if (spec.terminal)
    return make_error(ErrorCode::kUsage, "{}: expected a container without a terminal to run to its end", spec.name);
  ContainerSpec waiting = spec;
  waiting.labels[std::string(kOwnerLabel)] = this_process();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit).count() + 60;
  waiting.command = {"/bin/sleep", std::to_string(seconds)};
  TRY(const Json pod, pod_of(waiting, cluster_));
  TRY(const PodInfo mine,
      parse_pod({{"metadata", pod["metadata"]}, {"spec", pod["spec"]}, {"status", {{"phase", "Pending"}}}}));
  Json more = Json::object();
  if (!mine.claim.empty()) {
    TRY(const auto others, look_at_all({{std::string(kProjectLabel), spec.labels.at(std::string(kProjectLabel))}}));
    for (const PodInfo& other : others)
      if (other.claim == mine.claim && other.info.state == State::kRunning && !other.node.empty())
        more["nodeName"] = other.node;
  }
  TRY(const std::string id, make(waiting, more));
  auto result = [&]() -> Result<ExecResult> {
    TRY_STATUS(start(id));
    return kubectl_.exec(id, spec.command, out, {}, limit, uint64_t{1} << 40);
  }();
  const Status removed = remove(id);
  if (result && !removed) return tl::unexpected(removed.error());
  return result;
}

Status Pods::remove_claim(const ContainerSpec& spec) const {
  TRY(const Json claim, claim_of(spec, cluster_));
  TRY_STATUS(kubectl_.ask({"delete", "persistentvolumeclaim", claim["metadata"]["name"].get<std::string>(),
                           "--ignore-not-found", "--wait=false"}));
  return {};
}

}  // namespace onsight::agents::runtime::kubernetes
