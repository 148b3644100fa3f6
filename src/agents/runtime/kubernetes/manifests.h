// Manifests: what a Kubernetes cluster is asked for, so that a pod is held as a container of docker and podman is.
//
//   TRY(const Json list, kubernetes::manifests(spec, {.name_space = "onsight-agents"}));
//   list.dump(2);   // what `kubectl apply -f -` reads
//
// Functions of what they are given and nothing else. What a cluster does with them is its own: a NetworkPolicy is
// enforced by its network plugin or not at all, and the number of processes is limited by its nodes' kubelet.
#pragma once

#include "agents/config/kubernetes.h"
#include "agents/runtime/runtime.h"
#include "base/json.h"

namespace onsight::agents::runtime::kubernetes {

using Cluster = config::Kubernetes;

// With the Pod Security standard `restricted` for every pod: who breaks it is refused by the API server.
Result<Json> namespace_of(const Cluster& cluster);
// No pod of the namespace sends or receives anything.
Result<Json> network_policy_of(const Cluster& cluster);
// What the spec mounts at /agent: the clone and the home, which outlive the pod.
Result<Json> claim_of(const ContainerSpec& spec, const Cluster& cluster);
// Its name: of a folder of this project's, whatever is done with it.
Result<std::string> claim_name(std::string_view project, const Path& folder);
// What nodes know the image as.
std::string image_reference(const std::string& image, const Cluster& cluster);
// Refuses the user 0, and every path of a host: what the spec mounts at /agent is the claim, at /run/onsight a folder
// in memory for the broker's socket, and there is no third.
Result<Json> pod_of(const ContainerSpec& spec, const Cluster& cluster);
// All of them, as a List in the order in which they are to be made.
Result<Json> manifests(const ContainerSpec& spec, const Cluster& cluster);

}  // namespace onsight::agents::runtime::kubernetes
