#include "agents/image/layer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include "agents/image/command.h"
#include "base/json.h"
#include "base/subprocess.h"

namespace onsight::agents::image {
namespace {

constexpr std::string_view kNpmFolder = "opt/agents";
constexpr std::chrono::seconds kReadTime{120};
// Users that agents can be: whoever starts them, or, for root, one of their own each.
constexpr std::pair<unsigned, unsigned> kUsers[] = {{1000, 1999}, {10'000, 10'999}};

constexpr std::string_view kGitConfig = R"([safe]
	directory = /agent/repo
[user]
	name = agent
	email = agent@onsight.invalid
[init]
	defaultBranch = main
[advice]
	detachedHead = false
[gc]
	auto = 0
)";

bool stays_below(std::string_view path) {
  return !path.empty() && path.front() != '/' && Path(path).lexically_normal().string().find("..") == std::string::npos;
}

std::string with_rows(std::string text, const std::function<std::string(unsigned)>& row) {
  std::set<unsigned> taken;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const size_t first = text.find(':', at), second = first < end ? text.find(':', first + 1) : end;
    if (second < end) taken.insert(static_cast<unsigned>(std::strtoul(text.c_str() + second + 1, nullptr, 10)));
    at = end + 1;
  }
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  for (const auto& [first, last] : kUsers)
    for (unsigned id = first; id <= last; ++id)
      if (taken.insert(id).second) text += row(id);
  if (const unsigned own = ::getuid(); taken.insert(own).second) text += row(own);
  return text;
}

std::string name_of_user(unsigned id) { return id == kUsers[0].first ? "agent" : fmt::format("agent{}", id); }

Status make_folders(const Path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return make_error(ErrorCode::kIo, "{}: {}", folder.string(), error.message());
  return {};
}

Status put(const Path& file, std::string_view bytes) {
  TRY_STATUS(make_folders(file.parent_path()));
  return write_file_atomically(file, bytes);
}

Status link_to(const Path& layer, const std::string& name, const std::string& target) {
  const Path below = Path(kNpmFolder) / "node_modules" / target;
  std::error_code error;
  if (!std::filesystem::is_regular_file(layer / below, error))
    return bad_input("npm: {} has no {}, expected the program {}", kNpmFolder, target, name);
  ::chmod((layer / below).c_str(), 0755);
  std::filesystem::create_symlink(Path("/") / below, layer / "usr/local/bin" / name, error);
  if (error) return make_error(ErrorCode::kIo, "{}: {}", name, error.message());
  return {};
}

Status install_npm(const Recipe& recipe, const Path& layer, const std::function<void(std::string_view)>& on_line,
                   const std::function<bool()>& stop) {
  if (recipe.npm.empty()) return {};
  if (!has_program("npm"))
    return bad_input(
        "the harness {} is installed with npm, which is not on this machine: install it (apt-get install npm)",
        recipe.harness);
  const Path folder = layer / kNpmFolder;
  TRY_STATUS(make_folders(folder));
  const std::string cpu = recipe.architecture == "amd64" ? "x64" : recipe.architecture;
  Command command;
  command.words = {"npm",
                   "install",
                   "--prefix",
                   folder.string(),
                   "--ignore-scripts",
                   "--no-audit",
                   "--no-fund",
                   "--no-update-notifier",
                   "--no-package-lock",
                   "--engine-strict=false",
                   "--os=linux",
                   "--cpu=" + cpu,
                   "--libc=glibc",
                   "--install-strategy=hoisted",
                   "--global=false"};
  command.words.insert(command.words.end(), recipe.npm.begin(), recipe.npm.end());
  command.folder = folder;
  TRY_STATUS(run_command(command, on_line, stop));
  if (recipe.main_package.empty()) return {};
  const Path package = folder / "node_modules" / recipe.main_package / "package.json";
  TRY(const std::string text, read_file(package, 1 << 20));
  TRY(const auto programs, programs_of(text, recipe.main_package + "/package.json"));
  for (const auto& [name, target] : programs)
    if (!recipe.links.count(name)) TRY_STATUS(link_to(layer, name, recipe.main_package + "/" + target));
  for (const auto& [name, target] : recipe.links) TRY_STATUS(link_to(layer, name, target));
  return {};
}

}  // namespace

Result<std::map<std::string, std::string>> programs_of(std::string_view package_json, std::string_view where) {
  TRY(const Json json, parse_json(package_json, where));
  std::map<std::string, std::string> out;
  const auto add = [&](std::string name, const Json& target) -> Status {
    if (const size_t slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
    if (!target.is_string() || name.empty() || name.front() == '.' ||
        !stays_below(target.get_ref<const std::string&>()))
      return bad_input("{}: bin: expected names of programs and paths in the package", where);
    out[name] = target.get<std::string>();
    return {};
  };
  const auto bin = json.is_object() ? json.find("bin") : json.end();
  if (bin == json.end()) return out;
  if (bin->is_string()) {
    TRY_STATUS(add(json.value("name", Json("")).is_string() ? json.value("name", "") : "", *bin));
  } else if (bin->is_object()) {
    for (const auto& [name, target] : bin->items()) TRY_STATUS(add(name, target));
  }
  return out;
}

std::string with_users(std::string passwd) {
  return with_rows(std::move(passwd), [](unsigned id) {
    return fmt::format("{0}:x:{1}:{1}:{0}:/agent/home:/bin/bash\n", name_of_user(id), id);
  });
}

std::string with_groups(std::string group) {
  return with_rows(std::move(group), [](unsigned id) { return fmt::format("{}:x:{}:\n", name_of_user(id), id); });
}

Status make_layer(const Recipe& recipe, const Path& guest, const Path& base, const Path& work, const Path& folder,
                  const std::function<void(std::string_view)>& on_line, const std::function<bool()>& stop) {
  (void)work;
  const auto of_base = [&](const std::string& path) {
    return output_of({"tar", "-xOf", base.string(), "./" + path}, 1 << 20, kReadTime);
  };
  TRY_STATUS(make_folders(folder / "usr/local/bin"));
  for (const char* point : {"agent", "run/onsight"}) TRY_STATUS(make_folders(folder / point));
  TRY_STATUS(install_npm(recipe, folder, on_line, stop));
  TRY(const std::string program, read_file(guest, 64 << 20));
  TRY_STATUS(put(folder / "usr/local/bin/onsight-agent", program));
  if (::chmod((folder / "usr/local/bin/onsight-agent").c_str(), 0755) != 0)
    return make_error(ErrorCode::kIo, "{}: cannot be made a program", folder.string());
  TRY(std::string passwd, of_base("etc/passwd"));
  TRY(std::string group, of_base("etc/group"));
  TRY_STATUS(put(folder / "etc/passwd", with_users(std::move(passwd))));
  TRY_STATUS(put(folder / "etc/group", with_groups(std::move(group))));
  return put(folder / "etc/gitconfig", kGitConfig);
}

}  // namespace onsight::agents::image
