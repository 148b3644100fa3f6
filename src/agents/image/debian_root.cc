#include "agents/image/debian_root.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "agents/image/command.h"
#include "base/subprocess.h"

namespace onsight::agents::image {
namespace {

constexpr std::chrono::seconds kAptTime{30};
// What nobody reads in a container: half of what is installed beside the programs.
constexpr const char* kLeftOut[] = {"path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*",
                                    "path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright",
                                    "path-exclude=/usr/share/info/*"};
// A proxy or a mirror's address may hold a password, and agents see what is in the image.
constexpr const char* kCleanUp =
    R"(rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"; rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/resolv.conf "$1"/etc/hostname)";

std::string joined(const std::vector<std::string>& items) { return fmt::format("{}", fmt::join(items, ",")); }

// Lines of sources.list that lead to the suite; empty: this machine's apt has none.
std::string sources_of_apt(const Recipe& recipe) {
  if (const char* mirror = std::getenv("ONSIGHT_DEBIAN_MIRROR"); mirror && *mirror)
    return fmt::format("deb {} {} main\n", mirror, recipe.suite);
  const auto listed = output_of({"apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
                                 "Identifier: Packages", "Origin: Debian", "Architecture: " + recipe.architecture},
                                1 << 20, kAptTime);
  std::string out;
  bool has_suite = false;
  for (size_t at = 0; listed && at < listed->size();) {
    const size_t end = std::min(listed->find('\n', at), listed->size());
    const std::string line = listed->substr(at, end - at);
    at = end + 1;
    if (line.find(" " + recipe.suite + " ") == std::string::npos &&
        line.find(" " + recipe.suite + "-") == std::string::npos)
      continue;
    has_suite = has_suite || line.ends_with(" " + recipe.suite + " main");
    out += line + "\n";
  }
  return has_suite ? out : "";
}

std::string ways_of_apt() {
  const auto dump = output_of({"apt-config", "dump", "Acquire"}, 1 << 20, kAptTime);
  std::string out;
  for (size_t at = 0; dump && at < dump->size();) {
    const size_t end = std::min(dump->find('\n', at), dump->size());
    const std::string line = dump->substr(at, end - at);
    at = end + 1;
    if (line.find("IndexTargets") == std::string::npos) out += line + "\n";
  }
  return out;
}

}  // namespace

Status make_debian_root(const Recipe& recipe, const Path& work, const Path& out,
                        const std::function<void(std::string_view)>& on_line, const std::function<bool()>& stop) {
  const std::string sources = sources_of_apt(recipe);
  Command command;
  command.environment = {{"TMPDIR", work.string()}, {"LC_ALL", "C.UTF-8"}};
  if (has_program("mmdebstrap")) {
    command.words = {"mmdebstrap",
                     "--variant=minbase",
                     "--format=tar",
                     "--architectures=" + recipe.architecture,
                     "--include=" + joined(recipe.packages),
                     "--dpkgopt=force-unsafe-io"};
    for (const char* option : kLeftOut) command.words.push_back(std::string("--dpkgopt=") + option);
    if (const std::string ways = ways_of_apt(); !ways.empty()) command.words.push_back("--aptopt=" + ways);
    command.words.push_back(std::string("--customize-hook=") + kCleanUp);
    command.words.insert(command.words.end(), {recipe.suite, out.string()});
    if (!sources.empty()) {
      command.words.emplace_back("-");
      command.input = sources;
    }
    return run_command(command, on_line, stop);
  }
  if (!has_program("debootstrap") || ::geteuid() != 0)
    return bad_input(
        "the image is made of Debian's packages with mmdebstrap, which is not on this machine: install it "
        "(apt-get install mmdebstrap)");
  const Path root = work / "root";
  command.words = {
      "debootstrap", "--variant=minbase", "--arch=" + recipe.architecture, "--include=" + joined(recipe.packages),
      recipe.suite,  root.string()};
  if (const size_t at = sources.find("deb "); at == 0)
    command.words.push_back(sources.substr(4, sources.find(' ', 4) - 4));
  TRY_STATUS(run_command(command, on_line, stop));
  TRY_STATUS(run_command(
      {.words = {"sh", "-c",
                 std::string(kCleanUp) + R"(; rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*)", "sh",
                 root.string()}},
      on_line, stop));
  return run_command(
      {.words = {"tar", "--numeric-owner", "--one-file-system", "-C", root.string(), "-cf", out.string(), "."}},
      on_line, stop);
}

}  // namespace onsight::agents::image
