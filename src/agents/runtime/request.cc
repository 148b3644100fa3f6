#include "agents/runtime/request.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>

#include "base/json.h"

namespace onsight::agents::runtime {
namespace {

constexpr uint64_t kLogBytes = 4 << 20;  // what an attachment with replay can show again
constexpr uint64_t kSharedMemoryBytes = 64 << 20;
constexpr uint64_t kMostFiles = 1 << 20;

// The hard limit of this process, as a number: an engine without CAP_SYS_RESOURCE may set it, and no more.
uint64_t hard_limit(__rlimit_resource_t which, uint64_t most) {
  rlimit now{};
  if (::getrlimit(which, &now) != 0) return most;
  return now.rlim_max == RLIM_INFINITY ? most : std::min<uint64_t>(now.rlim_max, most);
}

// Podman lowers its own limit of processes to the number that the kernel has.
uint64_t most_processes() {
  constexpr uint64_t kLeast = 32768;  // of any kernel
  const auto text = read_file("/proc/sys/kernel/pid_max", 64);
  uint64_t number = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), number);
  return std::max(number, kLeast);
}

Json ulimit(std::string_view name, uint64_t value) { return {{"Name", name}, {"Soft", value}, {"Hard", value}}; }

bool is_plain(std::string_view text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+:/@,=";
  return text.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Status check_spec(const ContainerSpec& spec) {
  if (spec.uid <= 0 || spec.gid <= 0)
    return make_error(ErrorCode::kUsage, "{}: expected an unprivileged user, found {}:{}", spec.name, spec.uid,
                      spec.gid);
  if (spec.command.empty()) return make_error(ErrorCode::kUsage, "{}: expected a command", spec.name);
  for (const Mount& mount : spec.mounts)
    if (!mount.from.is_absolute() || !mount.to.starts_with('/'))
      return make_error(ErrorCode::kUsage, "{}: expected absolute paths to mount, found {} at {}", spec.name,
                        mount.from.string(), mount.to);
  const config::Limits& limits = spec.limits;
  if (limits.memory_bytes < (6 << 20) || limits.cpus <= 0 || limits.pids < 1 || limits.tmp_bytes < 4096)
    return make_error(ErrorCode::kUsage, "{}: expected limits above nothing, and at least 6 MB of memory", spec.name);
  return {};
}

}  // namespace

std::string escaped(std::string_view text, bool slashes) {
  constexpr std::string_view kKept = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~:";
  std::string out;
  for (const char c : text) {
    if (kKept.find(c) != std::string_view::npos || (slashes && c == '/'))
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Result<std::string> creation(const ContainerSpec& spec, const Dialect& dialect, std::string_view seccomp) {
  TRY_STATUS(check_spec(spec));
  Json mounts = Json::array();
  for (const Mount& mount : spec.mounts)
    mounts.push_back({{"Type", "bind"},
                      {"Source", mount.from.string()},
                      {"Target", mount.to},
                      {"ReadOnly", mount.read_only},
                      {"BindOptions", {{"Propagation", "rprivate"}}}});
  Json environment = Json::array();
  for (const auto& [name, value] : spec.environment) environment.push_back(name + "=" + value);
  const auto memory = static_cast<int64_t>(spec.limits.memory_bytes);
  Json host = {
      {"NetworkMode", "none"},
      {"ReadonlyRootfs", true},
      {"Privileged", false},
      {"CapDrop", {"ALL"}},
      {"SecurityOpt", {"no-new-privileges", "seccomp=" + std::string(seccomp)}},
      {"IpcMode", "private"},
      {"CgroupnsMode", "private"},
      {"PidMode", ""},
      {"UTSMode", ""},
      {"Memory", memory},
      {"MemorySwap", memory},  // of both together: no swap
      {"NanoCpus", static_cast<int64_t>(spec.limits.cpus * 1e9)},
      {"PidsLimit", spec.limits.pids},
      {"ShmSize", std::min<uint64_t>(kSharedMemoryBytes, spec.limits.memory_bytes / 2)},
      {"Tmpfs", {{"/tmp", fmt::format("rw,exec,nosuid,nodev,size={},mode=1777", spec.limits.tmp_bytes)}}},
      {"Mounts", std::move(mounts)},
      {"RestartPolicy", {{"Name", "no"}}},
      {"AutoRemove", false},
      {"LogConfig", {{"Type", dialect.log_driver}, {"Config", {{"max-size", std::to_string(kLogBytes)}}}}},
  };
  if (dialect.wants_ulimits)
    host["Ulimits"] = Json::array({ulimit("nofile", hard_limit(RLIMIT_NOFILE, kMostFiles)),
                                   ulimit("nproc", hard_limit(RLIMIT_NPROC, most_processes()))});
  return dumped({{"Image", spec.image},
                 {"User", fmt::format("{}:{}", spec.uid, spec.gid)},
                 {"Entrypoint", Json::array()},
                 {"Cmd", spec.command},
                 {"Env", std::move(environment)},
                 {"WorkingDir", spec.working_folder},
                 {"Labels", spec.labels},
                 {"Hostname", "agent"},
                 {"Tty", spec.terminal},
                 {"OpenStdin", spec.terminal},
                 {"StdinOnce", false},
                 {"AttachStdin", spec.terminal},
                 {"AttachStdout", true},
                 {"AttachStderr", true},
                 {"HostConfig", std::move(host)}});
}

std::string exec_creation(const std::vector<std::string>& command, bool terminal) {
  Json body = {{"AttachStdin", terminal}, {"AttachStdout", true}, {"AttachStderr", true},
               {"Tty", terminal},         {"Privileged", false},  {"Cmd", command}};
  // Docker lets go at Ctrl-P Ctrl-Q otherwise, which programs use.
  if (terminal) body["DetachKeys"] = "ctrl-^,ctrl-_,ctrl-^,ctrl-_";
  return dumped(body);
}

std::string label_filter(const Labels& labels) {
  Json list = Json::array();
  for (const auto& [name, value] : labels) list.push_back(name + "=" + value);
  return dumped({{"label", std::move(list)}});
}

Result<std::vector<std::string>> import_changes(const Labels& labels, const std::vector<std::string>& environment) {
  std::vector<std::string> changes;
  for (const auto& [name, value] : labels) {
    if (name.empty() || !is_plain(name) || !is_plain(value) || name.find('=') != std::string::npos)
      return make_error(ErrorCode::kUsage, "the label {}: expected letters, digits and ._-+:/@,= in it, found '{}'",
                        name, value);
    changes.push_back(fmt::format("LABEL {}={}", name, value));
  }
  for (const std::string& one : environment) {
    if (!is_plain(one) || one.find('=') == std::string::npos || one.starts_with('='))
      return make_error(ErrorCode::kUsage, "the variable of an image: expected NAME=VALUE without quotes, found '{}'",
                        one);
    changes.push_back("ENV " + one);
  }
  return changes;
}

}  // namespace onsight::agents::runtime
