// Kubectl: one cluster, asked through kubectl as a child process. Never a shell; what is made goes in as JSON on its
// standard input.
//
//   const Kubectl kubectl({.context = "kind-agents", .name_space = "bots"});
//   TRY(const std::string text, kubectl.ask({"get", "pods", "-o", "json"}));
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "agents/runtime/runtime.h"
#include "base/json.h"
#include "base/subprocess.h"

namespace onsight::agents::runtime::kubernetes {

struct KubectlOptions {
  std::string context;  // of the kubeconfig; empty: the current one
  std::string name_space;
  std::string program = "kubectl";
};

class Kubectl {
 public:
  explicit Kubectl(KubectlOptions options) : options_(std::move(options)) {}

  // What it prints. An error's `reason`: "gone", "name_taken", "unreachable", as of a Runtime, and "forbidden".
  Result<std::string> ask(const std::vector<std::string>& arguments, std::string_view input = {},
                          std::chrono::milliseconds limit = std::chrono::seconds(60)) const;
  // A command in the pod's container, as its user, whatever code it ends with. It reads `input`, a descriptor; -1:
  // nothing.
  Result<ExecResult> exec(const std::string& pod, const std::vector<std::string>& command,
                          const std::function<Status(std::string_view)>& out, int input,
                          std::chrono::milliseconds limit, uint64_t max_bytes) const;
  // For who runs it otherwise.
  std::vector<std::string> command_of(const std::vector<std::string>& arguments) const;
  const KubectlOptions& options() const { return options_; }

 private:
  const KubectlOptions options_;
};

// What kubectl said when it failed, as an error of a Runtime: its last line, with what a program can act on. One that
// says nothing was ended by somebody.
Error error_of(std::string_view said);
// Whether it says that the command in the pod ended with another code than 0, which tells that from its own failures.
bool command_ended(std::string_view said);

}  // namespace onsight::agents::runtime::kubernetes
