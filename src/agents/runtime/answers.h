// Answers: what an engine says, read with suspicion. Whatever is not as documented is an error that names it.
//
//   TRY(EngineVersion version, parse_version(response.body));
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/runtime/runtime.h"

namespace onsight::agents::runtime {

struct EngineVersion {
  bool podman = false;
  std::string version;  // "20.10.24"
  std::string prefix;   // of paths, as the newest that both understand: "/v1.40"
};
Result<EngineVersion> parse_version(std::string_view body);

// {"Id": "…"} of a container, an image or an exec.
Result<std::string> parse_id(std::string_view body, std::string_view where);

struct Inspected {
  ContainerInfo info;
  bool terminal = false;
};
Result<Inspected> parse_container(std::string_view body);
Result<std::vector<ContainerInfo>> parse_containers(std::string_view body);
Result<int> parse_wait(std::string_view body);
Result<std::optional<int>> parse_exec(std::string_view body);  // nullopt: it runs

struct ImageInfo {
  std::string id;
  Labels labels;
};
Result<ImageInfo> parse_image(std::string_view body);

// The lines that an engine writes while it works ("status", "progress", "error"); its error, if it says one.
class ProgressLines {
 public:
  Status feed(std::string_view bytes);
  Status end();

 private:
  Status line(std::string_view text);
  std::string held_;
};

// What /info says of the ways in which containers can be limited.
struct EngineInfo {
  bool rootless = false, memory = false, swap = false, pids = false, cpu = false, seccomp = false;
  std::string cgroup_version, cgroup_driver, storage;
};
Result<EngineInfo> parse_info(std::string_view body);

// The sentence in the body of an answer that is not 2xx.
std::string refusal(int status, std::string_view body);

}  // namespace onsight::agents::runtime
