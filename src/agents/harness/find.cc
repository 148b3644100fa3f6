// Where the files of harnesses lie, and which of them counts.
#include <algorithm>
#include <cstdlib>
#include <set>

#include "agents/harness/embedded.h"
#include "agents/harness/harness.h"

namespace onsight::agents::harness {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;

bool is_harness_name(std::string_view name) {
  return !name.empty() && name.size() <= 30 && name.front() >= 'a' && name.front() <= 'z' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

// Those that come before the embedded ones, the first first.
std::vector<Path> folders(const Path& project_root) {
  std::vector<Path> out;
  if (!project_root.empty()) out.push_back(project_root / ".onsight/harness");
  const char* settings = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  if (settings && *settings == '/')
    out.push_back(Path(settings) / "onsight/harness");
  else if (home && *home == '/')
    out.push_back(Path(home) / ".config/onsight/harness");
  return out;
}

}  // namespace

Result<Harness> find(std::string_view name, const Path& project_root) {
  const std::vector<std::string> known = names(project_root);
  if (is_harness_name(name)) {
    for (const Path& folder : folders(project_root)) {
      const Path file = folder / (std::string(name) + ".toml");
      std::error_code error;
      if (!std::filesystem::exists(std::filesystem::symlink_status(file, error))) continue;
      TRY(const std::string text, read_file(file, kMaxFileBytes));
      return parse(text, name, file.string());
    }
    for (const EmbeddedFile& file : embedded_files())
      if (file.name == name) return parse(file.text, name, std::string(name) + ".toml");
  }
  return make_error(ErrorCode::kUsage, "'{}': there is no such harness, expected one of {}", name,
                    fmt::join(known, ", "));
}

std::vector<std::string> names(const Path& project_root) {
  std::set<std::string> out;
  for (const EmbeddedFile& file : embedded_files()) out.emplace(file.name);
  for (const Path& folder : folders(project_root))
    for (const Path& file : children_of(folder))
      if (file.extension() == ".toml" && is_harness_name(file.stem().string())) out.insert(file.stem().string());
  return {out.begin(), out.end()};
}

std::vector<std::string> hosts_of_key(std::string_view key) {
  std::set<std::string> out;
  for (const EmbeddedFile& file : embedded_files()) {
    const auto harness = parse(file.text, file.name, file.name);
    if (!harness) continue;
    for (const auto& [name, provider] : harness->own_providers) {
      if (provider.key != key) continue;
      const size_t host = provider.url.find("//") + 2;
      out.insert(provider.url.substr(host, provider.url.find('/', host) - host));
    }
  }
  return {out.begin(), out.end()};
}

}  // namespace onsight::agents::harness
