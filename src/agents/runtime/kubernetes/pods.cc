#include "agents/runtime/kubernetes/pods.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "agents/runtime/kubernetes/pack.h"
#include "agents/runtime/owner.h"
#include "base/sha256.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

using std::chrono::milliseconds;
using PodClock = std::chrono::steady_clock;

constexpr milliseconds kPodPoll{250};
constexpr std::chrono::hours kFillTime{1};
constexpr std::chrono::minutes kPutTime{10};
constexpr std::string_view kGate = "onsight.dev/start", kFilled = "onsight.dev/filled";
constexpr size_t kMostName = 63;

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

// A name of a pod, of a text that may be longer or in capitals.
std::string short_name(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (text.size() <= kMostName) return text;
  constexpr size_t kSumDigits = 16;
  const std::string sum = to_hex(Sha256().add(text).finish()).substr(0, kSumDigits);
  text.resize(kMostName - kSumDigits - 1);
  return text + "-" + sum;
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

// Once: what holds every pod of the namespace is there before the first of them.
Status Pods::prepare() const {
  const std::lock_guard lock(preparing_);
  if (prepared_) return {};
  TRY(const Json name_space, namespace_of(cluster_));
  TRY(const Json policy, network_policy_of(cluster_));
  const Json both = {{"apiVersion", "v1"}, {"kind", "List"}, {"items", Json::array({name_space, policy})}};
  const auto made = kubectl_.ask({"apply", "--filename=-"}, both.dump());
  if (!made && made.error().reason != "forbidden") return tl::unexpected(made.error());
  // Who may not write namespaces works in one that somebody made for them.
  if (!made) TRY_STATUS(kubectl_.ask({"apply", "--filename=-"}, policy.dump()));
  prepared_ = true;
  return {};
}

Result<std::string> Pods::make(const ContainerSpec& spec, const Json& more) const {
  TRY(Json pod, pod_of(spec, cluster_));
  pod["spec"].update(more);
  const auto made = kubectl_.ask({"create", "--filename=-"}, pod.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (made) return spec.name;
  const std::lock_guard lock(preparing_);
  prepared_ = false;  // somebody may have removed the namespace
  return tl::unexpected(made.error());
}

Result<std::string> Pods::create(const ContainerSpec& spec) const {
  TRY_STATUS(prepare());
  TRY_STATUS(ready_claim(spec));
  return make(spec, {{"schedulingGates", Json::array({{{"name", kGate}}})}});
}

Status Pods::start(const std::string& id, milliseconds limit) const {
  TRY_STATUS(kubectl_.ask({"patch", "pod", id, "--type=merge", R"(--patch={"spec":{"schedulingGates":null}})"}));
  return until_it_runs(id, limit);
}

Status Pods::until_it_runs(const std::string& id, milliseconds limit) const {
  const auto until = PodClock::now() + limit;
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
    // Who is told may end so fast that the telling is ended with it.
    (void)exec(id, {"/bin/sh", "-c", "kill -TERM 1"}, std::chrono::seconds(20), 1 << 16);
    const auto ended = wait(id, grace);
    if (ended || ended.error().reason == "gone") return {};
    if (ended.error().reason != "late") return tl::unexpected(ended.error());
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
  TRY(ExecResult result, kubectl_.exec(id, command, keep, /*input=*/-1, limit, max_bytes));
  result.out = std::move(out);
  return result;
}

Result<std::string> Pods::log(const std::string& id) const { return kubectl_.ask({"logs", id, "--container=agent"}); }

Status Pods::put(const std::string& id, const Path& file, const std::string& place) const {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return make_error(ErrorCode::kIo, "{}: {}", file.string(), std::strerror(errno));
  const auto done = kubectl_.exec(id, {"/bin/sh", "-c", "exec cat >\"$1\"", "sh", place}, {}, fd, kPutTime, 1 << 16);
  ::close(fd);
  if (!done) return tl::unexpected(done.error());
  if (done->exit_code != 0) return bad_input("{}: {}: {}", id, place, done->err);
  return {};
}

Result<std::string> Pods::node_with(const ContainerSpec& spec) const {
  const auto work =
      std::find_if(spec.mounts.begin(), spec.mounts.end(), [](const Mount& m) { return m.to == "/agent"; });
  if (work == spec.mounts.end()) return std::string();
  const std::string& project = spec.labels.at(std::string(kProjectLabel));
  TRY(const std::string claim, claim_name(project, work->from));
  TRY(const auto pods, look_at_all({{std::string(kProjectLabel), project}}));
  for (const PodInfo& pod : pods)
    if (pod.claim == claim && pod.info.state == State::kRunning && !pod.node.empty()) return pod.node;
  return std::string();
}

Status Pods::in_helper(ContainerSpec spec, const std::string& node,
                       const std::function<Status(const std::string& id)>& work) const {
  spec.labels[std::string(kOwnerLabel)] = this_process();
  // Who is told to go goes at once, and is not waited for.
  spec.command = {"/bin/sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"};
  spec.terminal = false;
  TRY(const std::string id, make(spec, node.empty() ? Json::object() : Json{{"nodeName", node}}));
  const auto worked = [&]() -> Status {
    TRY_STATUS(until_it_runs(id, kStartTime));
    return work(id);
  }();
  const Status removed = remove(id);
  return worked ? removed : worked;
}

Result<ExecResult> Pods::run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                             milliseconds limit) const {
  if (spec.terminal)
    return make_error(ErrorCode::kUsage, "{}: expected a container without a terminal to run to its end", spec.name);
  ContainerSpec waiting = spec;
  waiting.name = short_name(spec.name);
  TRY_STATUS(prepare());
  TRY_STATUS(ready_claim(waiting));
  TRY(const std::string node, node_with(waiting));
  ExecResult result;
  TRY_STATUS(in_helper(std::move(waiting), node, [&](const std::string& id) -> Status {
    TRY(result, kubectl_.exec(id, spec.command, out, /*input=*/-1, limit, uint64_t{1} << 40));
    return {};
  }));
  return result;
}

// Whoever fills it is on this machine, where the folder is: one at a time, and who comes after finds it full. What was
// filled once is never filled again, whatever became of it: it would be an agent's work that is written over.
Status Pods::ready_claim(const ContainerSpec& spec) const {
  const auto work =
      std::find_if(spec.mounts.begin(), spec.mounts.end(), [](const Mount& m) { return m.to == "/agent"; });
  if (work == spec.mounts.end()) return {};
  TRY(const Json wanted, claim_of(spec, cluster_));
  const auto name = wanted["metadata"]["name"].get<std::string>();
  TRY(const FolderLock lock, FolderLock::take(work->from));
  const Path sign = work->from / "claim";
  std::error_code none;
  const bool was_filled = std::filesystem::exists(std::filesystem::symlink_status(sign, none));
  TRY(const std::string text,
      kubectl_.ask({"get", "persistentvolumeclaim", name, "--ignore-not-found", "--output=json"}));
  const bool is_there = text.find_first_not_of(" \n") != std::string::npos;
  if (is_there) {
    TRY(const Json claim, parse_json(text, "kubectl get persistentvolumeclaim"));
    const Json& meta = part_of(claim, "metadata");
    if (!text_at(meta, "deletionTimestamp").empty())
      return make_error(ErrorCode::kBusy, "{}: the claim {} of a former one is being deleted", spec.name, name);
    if (text_at(part_of(meta, "annotations"), kFilled) == "yes")
      return was_filled ? Status() : write_file_atomically(sign, name + "\n");
  }
  if (was_filled)
    return bad_input("{}: its files were in the claim {} of the namespace {}, which is {}", spec.name, name,
                     cluster_.name_space, is_there ? "another now" : "gone");
  if (!is_there) TRY_STATUS(kubectl_.ask({"create", "--filename=-"}, wanted.dump()));
  TRY_STATUS(fill_claim(spec, name));
  TRY_STATUS(kubectl_.ask({"annotate", "persistentvolumeclaim", name, fmt::format("{}=yes", kFilled)}));
  return write_file_atomically(sign, name + "\n");
}

Status Pods::fill_claim(const ContainerSpec& spec, const std::string& claim) const {
  const std::string& project = spec.labels.at(std::string(kProjectLabel));
  ContainerSpec filling = spec;
  filling.name = short_name(fmt::format("onsight-{}-fill-{}", project, claim));
  filling.environment.clear();
  filling.working_folder = "/";
  filling.labels = {{std::string(kProjectLabel), project}, {std::string(kPurposeLabel), "fill"}};
  filling.mounts.clear();
  for (const Mount& mount : spec.mounts)
    if (mount.to == "/agent") filling.mounts = {{mount.from, mount.to, /*read_only=*/false}};
  const auto fill = [&](const std::string& id) {
    return with_tar(filling.mounts.front().from, [&](int tar) -> Status {
      TRY(const ExecResult done,
          kubectl_.exec(id, {"/bin/tar", "--extract", "--preserve-permissions", "--file=-", "--directory=/agent"}, {},
                        tar, kFillTime, 1 << 20));
      if (done.exit_code == 0) return {};
      return bad_input("{}: its claim cannot be filled: {}", spec.name, done.err);
    });
  };
  Status filled = in_helper(filling, /*node=*/"", fill);
  if (filled || filled.error().reason != "name_taken") return filled;
  // Of one that was killed: what it had filled is filled over.
  TRY_STATUS(remove(filling.name));
  return in_helper(filling, /*node=*/"", fill);
}

Status Pods::remove_claim(std::string_view project, const Path& folder) const {
  TRY(const std::string name, claim_name(project, folder));
  TRY_STATUS(kubectl_.ask({"delete", "persistentvolumeclaim", name, "--ignore-not-found", "--wait=true"}, {},
                          std::chrono::minutes(2)));
  return {};
}

}  // namespace onsight::agents::runtime::kubernetes
