// Pods: the containers of one cluster, each a pod of its own, as Runtime means them.
//
//   Pods pods({.name_space = "bots"}, {.name_space = "bots"});
//   TRY(const std::string id, pods.create(spec));   // its name; it waits behind a scheduling gate
//   TRY_STATUS(pods.start(id));
#pragma once

#include <mutex>
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

constexpr std::chrono::minutes kStartTime{5};  // with what a node has to pull

// Thread safe. Errors as of a Runtime.
class Pods {
 public:
  Pods(Cluster cluster, KubectlOptions options) : cluster_(std::move(cluster)), kubectl_(std::move(options)) {}

  const Kubectl& kubectl() const { return kubectl_; }

  // The namespace, its policy and the claim first, where they are not; then the pod, which is not begun. A claim that
  // is new is filled with what is in the folder of this machine that the spec mounts at /agent; from then on the claim
  // is what counts, and the folder is the sign that there is one.
  Result<std::string> create(const ContainerSpec& spec) const;
  // Until its container runs or has ended; of one that cannot be run an error, and it is removed.
  Status start(const std::string& id, std::chrono::milliseconds limit = kStartTime) const;
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
  // What its container has printed, as far as its node has it in lines.
  Result<std::string> log(const std::string& id) const;
  // A copy of the file, written by the pod's user.
  Status put(const std::string& id, const Path& file, const std::string& place) const;
  // The claim of this folder, with all that is in it; returns when it is gone.
  Status remove_claim(std::string_view project, const Path& folder) const;

 private:
  Status prepare() const;
  Result<std::vector<PodInfo>> look_at_all(const Labels& labels) const;
  Result<std::string> make(const ContainerSpec& spec, const Json& more) const;
  Status until_it_runs(const std::string& id, std::chrono::milliseconds limit) const;
  // A pod that does nothing, as long as `work` takes.
  Status in_helper(ContainerSpec spec, const std::string& node,
                   const std::function<Status(const std::string& id)>& work) const;
  // Of a running pod that has this claim; empty: there is none.
  Result<std::string> node_with(const ContainerSpec& spec) const;
  Status ready_claim(const ContainerSpec& spec) const;
  Status fill_claim(const ContainerSpec& spec, const std::string& claim) const;
  const Cluster cluster_;
  const Kubectl kubectl_;
  mutable std::mutex preparing_;
  mutable bool prepared_ = false;
};

}  // namespace onsight::agents::runtime::kubernetes
