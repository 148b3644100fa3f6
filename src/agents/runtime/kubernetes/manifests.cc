#include "agents/runtime/kubernetes/manifests.h"

#include <algorithm>
#include <cmath>

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr size_t kMostLabel = 63;
constexpr uint64_t kSocketFolderBytes = 1 << 20;
// The root is read-only and folders in memory do not count: what is left is the log of the terminal.
constexpr uint64_t kEphemeralBytes = uint64_t{256} << 20;
constexpr int kGraceSeconds = 10, kBrokerSeconds = 60;
constexpr std::string_view kWorkFolder = "/agent", kSocketFolder = "/run/onsight";
constexpr std::string_view kManagedBy = "app.kubernetes.io/managed-by", kProgramName = "onsight";
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool made_of_letters_and(std::string_view text, const std::string& more) {
  return text.find_first_not_of(std::string(kLetters) + more) == std::string_view::npos;
}

bool is_label_value(std::string_view text) {
  return text.empty() || (text.size() <= kMostLabel && made_of_letters_and(text, "-_.") &&
                          kLetters.find(text.front()) != std::string_view::npos &&
                          kLetters.find(text.back()) != std::string_view::npos);
}

bool is_variable_name(std::string_view text) {
  return !text.empty() && made_of_letters_and(text, "_-.") && (text.front() < '0' || text.front() > '9');
}

Status check_label(const ContainerSpec& spec, std::string_view name, std::string_view what) {
  if (config::is_dns_label(name)) return {};
  return make_error(ErrorCode::kUsage, "{}: {}: expected at most {} lower-case letters, digits and dashes, found '{}'",
                    spec.name, what, kMostLabel, name);
}

Status check_cluster(const Cluster& cluster) {
  const auto wrong = config::wrong_in(cluster);
  if (!wrong) return {};
  return make_error(ErrorCode::kUsage, "kubernetes: {}: {}", wrong->key, wrong->expected);
}

const Mount* mount_at(const ContainerSpec& spec, std::string_view place) {
  const auto found =
      std::find_if(spec.mounts.begin(), spec.mounts.end(), [&](const Mount& m) { return m.to == place; });
  return found == spec.mounts.end() ? nullptr : &*found;
}

// Of an agent, whatever its generation: the folder of a clone has its agent's name.
Result<std::string> claim_name_of(const ContainerSpec& spec, const Mount& mount) {
  const auto project = spec.labels.find(std::string(kProjectLabel));
  if (project == spec.labels.end())
    return make_error(ErrorCode::kUsage, "{}: expected the label {}", spec.name, kProjectLabel);
  return claim_name(project->second, mount.from);
}

Status check_pod(const ContainerSpec& spec) {
  TRY_STATUS(check_label(spec, spec.name, "its name"));
  if (spec.uid <= 0 || spec.gid <= 0)
    return make_error(ErrorCode::kUsage, "{}: expected an unprivileged user, found {}:{}", spec.name, spec.uid,
                      spec.gid);
  if (spec.image.empty() || spec.command.empty())
    return make_error(ErrorCode::kUsage, "{}: expected an image and a command", spec.name);
  for (const Mount& mount : spec.mounts)
    if (mount.to != kWorkFolder && mount.to != kSocketFolder)
      return make_error(ErrorCode::kUsage, "{}: a pod has no path of a host: expected mounts at {} and {}, found {}",
                        spec.name, kWorkFolder, kSocketFolder, mount.to);
  for (const auto& [name, value] : spec.environment)
    if (!is_variable_name(name))
      return make_error(ErrorCode::kUsage, "{}: expected letters, digits and _-. in the name of a variable, found '{}'",
                        spec.name, name);
  for (const auto& [name, value] : spec.labels)
    if (name.empty() || !is_label_value(name) || !is_label_value(value))
      return make_error(ErrorCode::kUsage,
                        "{}: a label: expected letters, digits and -_., at most {}, found '{}' = '{}'", spec.name,
                        kMostLabel, name, value);
  const config::Limits& limits = spec.limits;
  if (limits.memory_bytes < (6 << 20) || limits.cpus < 0.001 || limits.tmp_bytes < 4096 || limits.disk_bytes < 4096)
    return make_error(ErrorCode::kUsage, "{}: expected limits above nothing, and at least 6 MB of memory", spec.name);
  return {};
}

// The API server's controllers replace $(NAME) in commands and variables, and read $$ as $: what a task says is text.
std::string literal(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '$' ? std::string("$$") : std::string(1, c);
  return out;
}

Json meta(std::string_view name, const Cluster& cluster, const Labels& labels) {
  Json all = labels;
  all[kManagedBy] = kProgramName;
  return {{"name", name}, {"namespace", cluster.name_space}, {"labels", std::move(all)}};
}

Json memory_folder(std::string_view name, uint64_t bytes) {
  return {{"name", name}, {"emptyDir", {{"medium", "Memory"}, {"sizeLimit", std::to_string(bytes)}}}};
}

Json seccomp_of(const Cluster& cluster) {
  if (cluster.seccomp_profile.empty()) return {{"type", "RuntimeDefault"}};
  return {{"type", "Localhost"}, {"localhostProfile", cluster.seccomp_profile}};
}

// As the API server writes it again: whole processors without a unit.
std::string processors(double cpus) {
  const int64_t thousandths = std::llround(cpus * 1000);
  return thousandths % 1000 == 0 ? std::to_string(thousandths / 1000) : fmt::format("{}m", thousandths);
}

// Requests that are the limits: the pod is then of the class that is evicted last and gets no swap.
Json resources_of(const config::Limits& limits) {
  const Json amounts = {{"memory", std::to_string(limits.memory_bytes)},
                        {"cpu", processors(limits.cpus)},
                        {"ephemeral-storage", std::to_string(kEphemeralBytes)}};
  return {{"requests", amounts}, {"limits", amounts}};
}

Json container_of(const ContainerSpec& spec, const Cluster& cluster) {
  Json command = Json::array(), environment = Json::array();
  for (const std::string& word : spec.command) command.push_back(literal(word));
  for (const auto& [name, value] : spec.environment) environment.push_back({{"name", name}, {"value", literal(value)}});
  // Its first process waits for the socket, which is made from outside when the pod runs.
  if (mount_at(spec, kSocketFolder))
    environment.push_back({{"name", "ONSIGHT_BROKER_TIME"}, {"value", std::to_string(kBrokerSeconds)}});
  Json mounts = Json::array({{{"name", "tmp"}, {"mountPath", "/tmp"}}});
  if (const Mount* work = mount_at(spec, kWorkFolder))
    mounts.push_back({{"name", "work"}, {"mountPath", kWorkFolder}, {"readOnly", work->read_only}});
  // Its socket is made by a process of the pod itself, so it is not read-only: nothing of the host is there.
  if (mount_at(spec, kSocketFolder)) mounts.push_back({{"name", "sockets"}, {"mountPath", kSocketFolder}});
  return {{"name", "agent"},
          {"image", image_reference(spec.image, cluster)},
          {"imagePullPolicy", "IfNotPresent"},
          {"command", std::move(command)},
          {"env", std::move(environment)},
          {"workingDir", spec.working_folder},
          {"tty", spec.terminal},
          {"stdin", spec.terminal},
          {"stdinOnce", false},
          {"resources", resources_of(spec.limits)},
          {"volumeMounts", std::move(mounts)},
          {"securityContext",
           {{"runAsNonRoot", true},
            {"privileged", false},
            {"allowPrivilegeEscalation", false},
            {"readOnlyRootFilesystem", true},
            {"capabilities", {{"drop", Json::array({"ALL"})}}}}}};
}

}  // namespace

Result<std::string> claim_name(std::string_view project, const Path& folder) {
  std::string name = fmt::format("onsight-{}-{}", project, folder.filename().string());
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (config::is_dns_label(name)) return name;
  return make_error(ErrorCode::kUsage,
                    "the name of a claim: expected at most {} lower-case letters, digits and dashes, found '{}'",
                    kMostLabel, name);
}

std::string image_reference(const std::string& image, const Cluster& cluster) {
  return cluster.registry.empty() ? image : cluster.registry + "/" + image;
}

Result<Json> namespace_of(const Cluster& cluster) {
  TRY_STATUS(check_cluster(cluster));
  Json labels = {{kManagedBy, kProgramName}};
  for (const char* mode : {"enforce", "audit", "warn"}) {
    labels[fmt::format("pod-security.kubernetes.io/{}", mode)] = "restricted";
    labels[fmt::format("pod-security.kubernetes.io/{}-version", mode)] = "latest";
  }
  return Json{{"apiVersion", "v1"},
              {"kind", "Namespace"},
              {"metadata", {{"name", cluster.name_space}, {"labels", std::move(labels)}}}};
}

Result<Json> network_policy_of(const Cluster& cluster) {
  TRY_STATUS(check_cluster(cluster));
  return Json{{"apiVersion", "networking.k8s.io/v1"},
              {"kind", "NetworkPolicy"},
              {"metadata", meta("onsight-deny-all", cluster, {})},
              {"spec", {{"podSelector", Json::object()}, {"policyTypes", Json::array({"Ingress", "Egress"})}}}};
}

Result<Json> claim_of(const ContainerSpec& spec, const Cluster& cluster) {
  TRY_STATUS(check_cluster(cluster));
  TRY_STATUS(check_pod(spec));
  const Mount* work = mount_at(spec, kWorkFolder);
  if (!work) return make_error(ErrorCode::kUsage, "{}: expected a mount at {}", spec.name, kWorkFolder);
  TRY(const std::string name, claim_name_of(spec, *work));
  Labels labels = spec.labels;
  labels.erase(std::string(kGenerationLabel));
  Json claim = {{"accessModes", Json::array({"ReadWriteOnce"})},
                {"resources", {{"requests", {{"storage", std::to_string(spec.limits.disk_bytes)}}}}}};
  if (!cluster.storage_class.empty()) claim["storageClassName"] = cluster.storage_class;
  return Json{{"apiVersion", "v1"},
              {"kind", "PersistentVolumeClaim"},
              {"metadata", meta(name, cluster, labels)},
              {"spec", std::move(claim)}};
}

Result<Json> pod_of(const ContainerSpec& spec, const Cluster& cluster) {
  TRY_STATUS(check_cluster(cluster));
  TRY_STATUS(check_pod(spec));
  Json volumes = Json::array({memory_folder("tmp", spec.limits.tmp_bytes)});
  if (const Mount* work = mount_at(spec, kWorkFolder)) {
    TRY(const std::string claim, claim_name_of(spec, *work));
    volumes.push_back(
        {{"name", "work"}, {"persistentVolumeClaim", {{"claimName", claim}, {"readOnly", work->read_only}}}});
  }
  if (mount_at(spec, kSocketFolder)) volumes.push_back(memory_folder("sockets", kSocketFolderBytes));
  Json pod = {{"automountServiceAccountToken", false},
              {"enableServiceLinks", false},
              {"hostname", "agent"},
              {"restartPolicy", "Never"},
              {"terminationGracePeriodSeconds", kGraceSeconds},
              // Its own loopback, where nobody answers: no name leaves the pod even where its network is not shut.
              {"dnsPolicy", "None"},
              {"dnsConfig", {{"nameservers", Json::array({"127.0.0.1"})}}},
              {"securityContext",
               {{"runAsNonRoot", true},
                {"runAsUser", spec.uid},
                {"runAsGroup", spec.gid},
                {"fsGroup", spec.gid},
                {"fsGroupChangePolicy", "OnRootMismatch"},
                {"seccompProfile", seccomp_of(cluster)}}},
              {"volumes", std::move(volumes)},
              {"containers", Json::array({container_of(spec, cluster)})}};
  return Json{{"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata", meta(spec.name, cluster, spec.labels)},
              {"spec", std::move(pod)}};
}

Result<Json> manifests(const ContainerSpec& spec, const Cluster& cluster) {
  Json items = Json::array();
  TRY(Json name_space, namespace_of(cluster));
  TRY(Json policy, network_policy_of(cluster));
  TRY(Json pod, pod_of(spec, cluster));
  items.push_back(std::move(name_space));
  items.push_back(std::move(policy));
  if (mount_at(spec, kWorkFolder)) {
    TRY(Json claim, claim_of(spec, cluster));
    items.push_back(std::move(claim));
  }
  items.push_back(std::move(pod));
  return Json{{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}};
}

}  // namespace onsight::agents::runtime::kubernetes
