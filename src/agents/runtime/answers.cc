#include "agents/runtime/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/json.h"

namespace onsight::agents::runtime {
namespace {

constexpr size_t kMaxLineBytes = 64 << 10;
constexpr std::pair<int, int> kWantedApi{1, 40};

// "1.41"
std::optional<std::pair<int, int>> api_version(std::string_view text) {
  int parts[2] = {0, 0};
  size_t part = 0, digits = 0;
  for (const char c : text) {
    if (c == '.') {
      if (++part > 1 || digits == 0) return {};
      digits = 0;
      continue;
    }
    if (c < '0' || c > '9' || ++digits > 4) return {};
    parts[part] = parts[part] * 10 + (c - '0');
  }
  if (part != 1 || digits == 0) return {};
  return std::pair(parts[0], parts[1]);
}

Result<Labels> read_labels(const JsonView& view, std::string_view key) {
  Labels labels;
  if (!view.has(key)) return labels;
  const JsonView inside = view.at(key);
  if (!inside.json().is_object()) return bad_input("{}: expected an object", inside.where());
  for (const auto& [name, value] : inside.json().items()) {
    if (!value.is_string()) return bad_input("{}.{}: expected a string", inside.where(), name);
    labels.emplace(name, value.get<std::string>());
  }
  return labels;
}

bool is_object_id(std::string_view id) {
  if (id.starts_with("sha256:")) id.remove_prefix(std::string_view("sha256:").size());
  return id.size() >= 12 && id.size() <= 64 &&
         std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<std::string> read_id(const JsonView& view, std::string_view key) {
  TRY(std::string id, view.string(key));
  if (!is_object_id(id)) return bad_input("{}.{}: expected hexadecimal digits", view.where(), key);
  return id;
}

State state_of(std::string_view word) {
  if (word == "created" || word == "configured" || word == "initialized") return State::kCreated;
  if (word == "running" || word == "paused" || word == "restarting" || word == "stopping") return State::kRunning;
  if (word == "exited" || word == "stopped" || word == "dead") return State::kExited;
  return State::kUnknown;
}

std::string without_slash(std::string name) {
  if (name.starts_with('/')) name.erase(0, 1);
  return name;
}

Result<int> read_exit_code(const JsonView& view, std::string_view key) {
  TRY(const int64_t code, view.integer(key, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
  return static_cast<int>(code);
}

}  // namespace

Result<EngineVersion> parse_version(std::string_view body) {
  constexpr std::string_view kWhere = "the engine's version";
  TRY(const Json json, parse_json(body, kWhere));
  if (!json.is_object()) return bad_input("{}: expected an object", kWhere);
  const JsonView view(json, std::string(kWhere));
  EngineVersion out;
  TRY(out.version, view.string("Version"));
  if (view.has("Components") && view.at("Components").json().is_array())
    for (const Json& one : view.at("Components").json())
      if (one.is_object() && one.value("Name", Json()) == "Podman Engine") out.podman = true;
  TRY(const std::string newest, view.string("ApiVersion"));
  TRY(const std::string oldest, view.string_or("MinAPIVersion", "1.12"));
  const auto most = api_version(newest), least = api_version(oldest);
  if (!most || !least)
    return bad_input("{}: expected versions of its API, found '{}' and '{}'", kWhere, newest, oldest);
  if (*most < kWantedApi)
    return bad_input("the engine, {}: expected its API {}.{} or newer, found {}", out.version, kWantedApi.first,
                     kWantedApi.second, newest);
  const auto used = std::max(kWantedApi, *least);
  out.prefix = fmt::format("/v{}.{}", used.first, used.second);
  return out;
}

Result<std::string> parse_id(std::string_view body, std::string_view where) {
  TRY(const Json json, parse_json(body, where));
  if (!json.is_object()) return bad_input("{}: expected an object", where);
  return read_id(JsonView(json, std::string(where)), "Id");
}

Result<Inspected> parse_container(std::string_view body) {
  TRY(const Json json, parse_json(body, "the engine's container"));
  if (!json.is_object()) return bad_input("the engine's container: expected an object");
  const JsonView view(json, "the engine's container"), state = view.at("State"), config = view.at("Config");
  Inspected out;
  TRY(out.info.id, read_id(view, "Id"));
  TRY(std::string name, view.string("Name"));
  out.info.name = without_slash(std::move(name));
  TRY(const std::string word, state.string("Status"));
  out.info.state = state_of(word);
  if (out.info.state == State::kExited) {
    TRY(out.info.exit_code, read_exit_code(state, "ExitCode"));
  }
  TRY(out.info.out_of_memory, state.boolean_or("OOMKilled", false));
  TRY(out.info.labels, read_labels(config, "Labels"));
  TRY(out.terminal, config.boolean_or("Tty", false));
  return out;
}

Result<std::vector<ContainerInfo>> parse_containers(std::string_view body) {
  TRY(const Json json, parse_json(body, "the engine's list"));
  if (!json.is_array()) return bad_input("the engine's list: expected a list of containers");
  std::vector<ContainerInfo> out;
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string where = fmt::format("the engine's list[{}]", i);
    if (!json[i].is_object()) return bad_input("{}: expected an object", where);
    const JsonView view(json[i], where);
    ContainerInfo info;
    TRY(info.id, read_id(view, "Id"));
    if (view.has("Names") && view.at("Names").json().is_array() && !view.at("Names").json().empty() &&
        view.at("Names").json()[0].is_string())
      info.name = without_slash(view.at("Names").json()[0].get<std::string>());
    TRY(const std::string word, view.string_or("State", ""));
    info.state = state_of(word);
    TRY(info.labels, read_labels(view, "Labels"));
    out.push_back(std::move(info));
  }
  return out;
}

Result<int> parse_wait(std::string_view body) {
  TRY(const Json json, parse_json(body, "the engine's wait"));
  if (!json.is_object()) return bad_input("the engine's wait: expected an object");
  return read_exit_code(JsonView(json, "the engine's wait"), "StatusCode");
}

Result<std::optional<int>> parse_exec(std::string_view body) {
  TRY(const Json json, parse_json(body, "the engine's exec"));
  if (!json.is_object()) return bad_input("the engine's exec: expected an object");
  const JsonView view(json, "the engine's exec");
  TRY(const bool running, view.boolean_or("Running", false));
  if (running || !view.has("ExitCode")) return std::optional<int>();
  TRY(const int code, read_exit_code(view, "ExitCode"));
  return std::optional(code);
}

Result<ImageInfo> parse_image(std::string_view body) {
  TRY(const Json json, parse_json(body, "the engine's image"));
  if (!json.is_object()) return bad_input("the engine's image: expected an object");
  const JsonView view(json, "the engine's image");
  ImageInfo out;
  TRY(out.id, read_id(view, "Id"));
  TRY(out.labels, read_labels(view.at("Config"), "Labels"));
  return out;
}

Status ProgressLines::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    held_ += bytes.substr(0, end);
    if (held_.size() > kMaxLineBytes)
      return bad_input("the engine's progress: expected lines of at most {} bytes", kMaxLineBytes);
    if (end == std::string_view::npos) return {};
    bytes.remove_prefix(end + 1);
    TRY_STATUS(line(std::exchange(held_, {})));
  }
  return {};
}

Status ProgressLines::end() { return line(std::exchange(held_, {})); }

Status ProgressLines::line(std::string_view text) {
  if (text.find_first_not_of(" \r\t") == std::string_view::npos) return {};
  TRY(const Json json, parse_json(text, "the engine's progress"));
  if (!json.is_object()) return {};
  const JsonView view(json, "the engine's progress");
  if (!view.has("error")) return {};
  TRY(const std::string why, view.string("error"));
  return bad_input("{}", why.empty() ? "it failed, and says nothing more" : why);
}

Result<EngineInfo> parse_info(std::string_view body) {
  TRY(const Json json, parse_json(body, "the engine's info"));
  if (!json.is_object()) return bad_input("the engine's info: expected an object");
  const JsonView view(json, "the engine's info");
  EngineInfo out;
  TRY(out.memory, view.boolean_or("MemoryLimit", false));
  TRY(out.swap, view.boolean_or("SwapLimit", false));
  TRY(out.pids, view.boolean_or("PidsLimit", false));
  // Podman spells it otherwise.
  TRY(const bool cpu_quota, view.boolean_or("CpuCfsQuota", false));
  TRY(out.cpu, view.boolean_or("CPUCfsQuota", cpu_quota));
  TRY(out.cgroup_version, view.string_or("CgroupVersion", "1"));
  TRY(out.cgroup_driver, view.string_or("CgroupDriver", ""));
  TRY(out.storage, view.string_or("Driver", ""));
  if (view.has("SecurityOptions") && view.at("SecurityOptions").json().is_array()) {
    for (const Json& one : view.at("SecurityOptions").json()) {
      if (!one.is_string()) continue;
      const auto& text = one.get_ref<const std::string&>();
      out.rootless = out.rootless || text.starts_with("name=rootless");
      out.seccomp = out.seccomp || text.starts_with("name=seccomp");
    }
  }
  return out;
}

std::string refusal(int status, std::string_view body) {
  std::string why;
  if (const auto json = parse_json(body, "the engine's answer"); json && json->is_object())
    for (const char* key : {"message", "cause"})
      if (why.empty() && json->contains(key) && (*json)[key].is_string()) why = (*json)[key].get<std::string>();
  if (why.empty()) why = body.substr(0, body.find('\n'));
  constexpr size_t kMaxBytes = 500;
  why.resize(std::min(why.size(), kMaxBytes));
  for (char& c : why)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  while (!why.empty() && (why.back() == '.' || why.back() == ' ')) why.pop_back();
  return why.empty() ? fmt::format("status {}", status) : why;
}

}  // namespace onsight::agents::runtime
