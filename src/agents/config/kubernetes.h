// Kubernetes: what [runtime.kubernetes] of agents.toml says of a cluster.
//
//   if (const auto wrong = wrong_in(kubernetes)) return table.error(wrong->key, wrong->expected);
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace onsight::agents::config {

struct Kubernetes {
  std::string context;  // of the kubeconfig; empty: the current one
  // For the agents of this machine alone: its policies hold every pod that is in it.
  std::string name_space = "onsight-agents";
  std::string storage_class;    // empty: the cluster's default
  std::string registry;         // that images were pushed to, "registry.shop.example/team"; empty: nodes have them
  std::string seccomp_profile;  // a file below the kubelet's folder of profiles; empty: the container engine's default
};

struct WrongKey {
  std::string key;       // as in agents.toml
  std::string expected;  // and what was found
};
// The first that a cluster would not take.
std::optional<WrongKey> wrong_in(const Kubernetes& kubernetes);

// 1 to 63 lower-case letters, digits and dashes, with a letter or digit at both ends.
bool is_dns_label(std::string_view text);

}  // namespace onsight::agents::config
