// Runtime: containers of one engine. Docker and Podman by the Engine API over their unix socket; the pods of a cluster
// through kubectl.
//
//   TRY(auto runtime, runtime::connect({.engine = "auto"}));
//   TRY(std::string id, runtime->create(spec));
//   TRY_STATUS(runtime->start(id));
//   TRY(auto terminal, runtime->attach(id));
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agents/config/config.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::runtime {

using Labels = std::map<std::string, std::string>;
constexpr std::string_view kProjectLabel = "onsight.project", kAgentLabel = "onsight.agent",
                           kGenerationLabel = "onsight.generation", kPurposeLabel = "onsight.purpose";

struct Mount {
  Path from;
  std::string to;
  bool read_only = true;
};

// Every container has, whatever the spec says: no network but its own loopback, all capabilities dropped, no new
// privileges, our seccomp profile, a read-only root, tmpfs on /tmp, private IPC and cgroup namespaces, no device but
// those that every container has, and the limits.
struct ContainerSpec {
  std::string name;
  std::string image;
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string working_folder = "/agent/repo";
  int uid = 0, gid = 0;  // never 0
  bool terminal = true;  // else output and errors are told apart
  std::vector<Mount> mounts;
  Labels labels;
  config::Limits limits;
};

enum class State { kCreated, kRunning, kExited, kUnknown };
struct ContainerInfo {
  std::string id, name;
  State state = State::kUnknown;
  std::optional<int> exit_code;
  bool out_of_memory = false;
  Labels labels;
};

// The two ends of an attached terminal, or of a command in a container. Thread safe; read() by one thread at a time.
class Attachment {
 public:
  virtual ~Attachment() = default;  // lets go; the container goes on
  // Bytes as they come; waits up to `wait`. nullopt: nothing yet; empty: the end.
  virtual Result<std::optional<std::string>> read(std::chrono::milliseconds wait) = 0;
  virtual Status write(std::string_view bytes) = 0;
};

struct ExecResult {
  int exit_code = 0;
  std::string out, err;
};

// What this machine can and cannot enforce, each found out by trying (doctor).
struct Check {
  std::string name;  // "memory limit"
  bool enforced = false;
  bool required = true;  // start refuses without it
  std::string detail;    // how it was tried, and what was seen
};

// An error's `reason` says what a program can act on: "unreachable" (the engine), "gone" (the container), "name_taken",
// "no_image", "late" (a limit of time has passed).
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual std::string_view engine() const = 0;  // "docker", "podman", "kubernetes"
  virtual std::string_view version() const = 0;
  virtual const Path& socket() const = 0;  // where it is; of a cluster "CONTEXT/NAMESPACE"

  virtual Result<std::string> create(const ContainerSpec& spec) = 0;  // its id; a name that is taken is an error
  virtual Status start(const std::string& id) = 0;                    // after an error the container is removed
  virtual Result<std::unique_ptr<Attachment>> attach(const std::string& id,
                                                     bool replay) = 0;  // replay: what was printed before, first
  // Whether attach() takes containers that are still to be started: then nothing that they print is missed, whereas a
  // replay knows no line that has not ended.
  virtual bool attaches_before_start() const { return false; }
  virtual Status resize(const std::string& id, int rows, int columns) = 0;
  virtual Result<std::optional<ContainerInfo>> inspect(const std::string& id) = 0;
  virtual Result<std::vector<ContainerInfo>> list(const Labels& labels) = 0;  // running or not, with all of these
  virtual Status stop(const std::string& id,
                      std::chrono::seconds grace) = 0;  // TERM, then KILL; of one that has ended: nothing
  virtual Status remove(const std::string& id) = 0;     // also a running one; of one that is gone: nothing
  virtual Result<int> wait(const std::string& id, std::chrono::milliseconds limit) = 0;

  // Runs a command in a running container as its user, without a terminal.
  virtual Result<ExecResult> exec(const std::string& id, const std::vector<std::string>& command,
                                  std::chrono::milliseconds limit, uint64_t max_bytes) = 0;
  // With one: for `onsight agents exec`.
  virtual Result<std::pair<std::string, std::unique_ptr<Attachment>>> exec_terminal(
      const std::string& id, const std::vector<std::string>& command, int rows, int columns) = 0;
  virtual Result<int> exec_exit_code(const std::string& exec) = 0;
  virtual Status resize_exec(const std::string& exec, int rows, int columns) = 0;
  // A container of its own (spec.terminal is false), run to its end, whose standard output goes to `out`; removed
  // whatever happens.
  virtual Result<ExecResult> run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                                 std::chrono::milliseconds limit) = 0;

  // Containers of a cluster see no folder of this machine: what its engine keeps in place of one that a spec mounted
  // goes before the folder does. Of an engine that keeps nothing: nothing.
  virtual Status forget(const Path& /*folder*/) { return {}; }
  // A file of the folder that the container sees as /run/onsight; its place in there, until it is taken back.
  virtual Result<std::string> give(const std::string& /*id*/, const Path& file) {
    return "/run/onsight/" + file.filename().string();
  }
  virtual Status take_back(const std::string& /*id*/, const std::string& /*path*/) { return {}; }

  virtual Result<std::optional<std::string>> image_id(const std::string& tag) = 0;
  virtual Result<Labels> image_labels(const std::string& tag) = 0;
  // A tar of a root file system becomes an image; `progress` takes bytes sent.
  virtual Status import_image(const Path& tar, const std::string& tag, const Labels& labels,
                              const std::vector<std::string>& environment,
                              const std::function<void(uint64_t)>& progress) = 0;
  virtual Status remove_image(const std::string& tag) = 0;

  // Tries each of them with a container of `image`, which has /bin/sh and Debian's core utilities.
  virtual Result<std::vector<Check>> check(const std::string& image) = 0;
};

struct ConnectOptions {
  std::string engine = "auto";
  std::string socket;  // empty: DOCKER_HOST, then the usual places
  // Of a cluster:
  config::Kubernetes kubernetes = {};
  std::string project = {};  // its id
  Path sockets = {};         // the broker of the agent NAME listens on NAME/broker.sock in it
};
Result<std::unique_ptr<Runtime>> connect(const ConnectOptions& options);

}  // namespace onsight::agents::runtime
