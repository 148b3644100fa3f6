#include "agents/image/recipe.h"

#include <algorithm>

#include "base/sha256.h"

namespace onsight::agents::image {
namespace {

// Counted up when an image is put together otherwise.
constexpr uint64_t kRevision = 1;
constexpr std::string_view kSuite = "bookworm";
constexpr std::string_view kPackages[] = {"bash", "ca-certificates", "curl", "git", "less", "procps", "ripgrep"};
#if defined(__aarch64__)
constexpr std::string_view kArchitecture = "arm64", kCpu = "arm64", kMachine = "aarch64";
#else
constexpr std::string_view kArchitecture = "amd64", kCpu = "x64", kMachine = "x86_64";
#endif

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

std::string eight_digits(Sha256& sum) { return to_hex(sum.finish()).substr(0, 8); }

}  // namespace

Recipe recipe_of(const harness::Harness& harness) {
  const auto of_machine = [&](const std::string& text) {
    return replaced(replaced(replaced(text, "{cpu}", kCpu), "{machine}", kMachine), "{version}", harness.version);
  };
  Recipe out;
  out.harness = harness.name;
  out.suite = kSuite;
  out.architecture = kArchitecture;
  out.packages.assign(std::begin(kPackages), std::end(kPackages));
  out.packages.insert(out.packages.end(), harness.install.packages.begin(), harness.install.packages.end());
  std::sort(out.packages.begin(), out.packages.end());
  out.packages.erase(std::unique(out.packages.begin(), out.packages.end()), out.packages.end());
  if (!harness.install.npm.empty()) {
    const std::string npm = of_machine(harness.install.npm);
    const size_t at = npm.find('@', 1);
    out.main_package = npm.substr(0, at);
    out.npm.push_back(at == std::string::npos ? npm + "@" + harness.version : npm);
  }
  if (!harness.install.node.empty()) {
    // The package `node` fetches this one, with a script.
    const std::string package = "node-linux-" + std::string(kCpu);
    out.npm.push_back(package + "@" + harness.install.node);
    out.links.emplace("node", package + "/bin/node");
  }
  for (const auto& [name, target] : harness.install.links) out.links[name] = of_machine(target);

  Sha256 base;
  base.field(kRevision).field(out.suite).field(out.architecture);
  for (const std::string& package : out.packages) base.field(package);
  const std::string base_digest = eight_digits(base);
  out.base = fmt::format("base-{}-{}-{}", out.suite, out.architecture, base_digest);

  Sha256 whole;
  whole.field(base_digest).field(guest_version());
  for (const std::string& package : out.npm) whole.field(package);
  for (const auto& [name, target] : out.links) whole.field(name).field(target);
  const std::string digest = eight_digits(whole);
  out.tag = fmt::format("onsight-agents/{}:{}-{}", harness.name, harness.version, digest);
  out.labels = {{std::string(kGuestLabel), std::string(guest_version())},
                {std::string(kHarnessLabel), harness.name},
                {std::string(kVersionLabel), harness.version},
                {std::string(kRecipeLabel), digest}};
  out.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"};
  return out;
}

}  // namespace onsight::agents::image

namespace onsight::agents::harness {

std::string image_tag(const Harness& harness) { return image::recipe_of(harness).tag; }

}  // namespace onsight::agents::harness
