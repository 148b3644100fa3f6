#include "agents/config/kubernetes.h"

#include <fmt/format.h>

#include <algorithm>

namespace onsight::agents::config {
namespace {

constexpr std::string_view kSmallNames = "abcdefghijklmnopqrstuvwxyz0123456789";

// Of these characters and `more`, which are not at its ends.
bool is_name_of(std::string_view text, const std::string& more) {
  return !text.empty() && text.find_first_not_of(std::string(kSmallNames) + more) == std::string_view::npos &&
         kSmallNames.find(text.front()) != std::string_view::npos &&
         kSmallNames.find(text.back()) != std::string_view::npos;
}

bool is_profile_path(std::string_view text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/";
  return text.find_first_not_of(kAllowed) == std::string_view::npos && text.front() != '/' &&
         text.find("..") == std::string_view::npos;
}

}  // namespace

bool is_dns_label(std::string_view text) { return text.size() <= 63 && is_name_of(text, "-"); }

std::optional<WrongKey> wrong_in(const Kubernetes& kubernetes) {
  const auto wrong = [](const char* key, const char* expected, const std::string& found) {
    return WrongKey{key, fmt::format("expected {}, found \"{}\"", expected, found)};
  };
  if (!is_dns_label(kubernetes.name_space))
    return wrong("namespace", "at most 63 lower-case letters, digits and dashes", kubernetes.name_space);
  if (std::any_of(kubernetes.context.begin(), kubernetes.context.end(),
                  [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return WrongKey{"context", "expected the name of a context of the kubeconfig, without control characters"};
  const std::string& storage = kubernetes.storage_class;
  if (!storage.empty() && (storage.size() > 253 || !is_name_of(storage, "-.")))
    return wrong("storage_class", "a name such as \"fast-ssd\"", storage);
  const std::string& registry = kubernetes.registry;
  if (!registry.empty() && (!is_name_of(registry, "-._:/") || registry.find("//") != std::string::npos))
    return wrong("registry", "\"HOST\" or \"HOST/PATH\" without a scheme", registry);
  const std::string& profile = kubernetes.seccomp_profile;
  if (!profile.empty() && !is_profile_path(profile))
    return wrong("seccomp_profile", "a path below the kubelet's folder of profiles", profile);
  return {};
}

}  // namespace onsight::agents::config
