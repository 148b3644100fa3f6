// Pods: the containers of one cluster, each a pod of its own, as Runtime means them.
//
//   Pods pods({.name_space = "bots"}, {.name_space = "bots"});
//   TRY(const std::string id, pods.create(spec));   // its name; it waits behind a scheduling gate
//   TRY_STATUS(pods.start(id));
#pragma once

#include <optional>

#include "agents/runtime/kubernetes/kubectl.h"
#include "agents/runtime/kubernetes/manifests.h"

namespace onsight::agents::runtime::kubernetes {

// What is seen of a pod.
struct PodInfo {
  ContainerInfo info;
  std::string node, claim;  // empty: none
  std::string trouble;      // a sentence: why its container cannot be run
  bool no_image = false;    // of the trouble
};
Result<PodInfo> parse_pod(const Json& pod);

// Thread safe. Errors as of a Runtime.
class Pods {
 public:
  Pods(Cluster cluster, KubectlOptions options) : cluster_(std::move(cluster)), kubectl_(std::move(options)) {}

  // The namespace, its policy and the claim first, where they are not; then the pod, which is not begun.
  Result<std::string> create(const ContainerSpec& spec) const;
  // Until its container runs or has ended; of one that cannot be run an error, and it is removed.
  Status start(const std::string& id, std::chrono::milliseconds limit = std::chrono::minutes(3)) const;
  Result<std::optional<PodInfo>> look_at(const std::string& id) const;
  Result<std::vector<ContainerInfo>> list(const Labels& labels) const;
  // TERM for its first process; what has not ended after `grace` is deleted.
  Status stop(const std::string& id, std::chrono::seconds grace) const;
  Status remove(const std::string& id) const;
  Result<int> wait(const std::string& id, std::chrono::milliseconds limit) const;
  Result<ExecResult> exec(const std::string& id, const std::vector<std::string>& command,
                          std::chrono::milliseconds limit, uint64_t max_bytes) const;
  // The command runs by exec in a pod that waits: what goes through a pod's log is neither whole nor told apart. On the
  // node of a pod that has the same claim, if there is one: a claim is of one node.
  Result<ExecResult> run(const ContainerSpec& spec, const std::function<Status(std::string_view)>& out,
                         std::chrono::milliseconds limit) const;
  // The claim of this folder, with all that is in it.
  Status remove_claim(const ContainerSpec& spec) const;

 private:
  Result<std::vector<PodInfo>> look_at_all(const Labels& labels) const;
  Result<std::string> make(const ContainerSpec& spec, const Json& more) const;
  const Cluster cluster_;
  const Kubectl kubectl_;
};

}  // namespace onsight::agents::runtime::kubernetes
