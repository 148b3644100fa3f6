#include "repository.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace onsight::guest {
namespace {

constexpr size_t kMaxRefBytes = 4096;
constexpr size_t kMaxPackedRefsBytes = size_t{64} << 20;
constexpr int kMaxFolderDepth = 256;

bool is_folder(const std::string& path) {
  struct stat found = {};
  return ::lstat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

std::string without_end(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

// A path in a file of git's: absolute, or from `folder` on.
std::string joined(const std::string& folder, const std::string& path) {
  return path.starts_with('/') ? path : folder + "/" + path;
}

void walk(const std::string& tree, const std::string& folder, int depth, Survey& found) {
  DIR* const open = depth > kMaxFolderDepth ? nullptr : ::opendir((tree + "/" + folder).c_str());
  if (!open) {
    found.skipped.push_back(folder);
    return;
  }
  std::vector<std::string> below;
  bool nested = false;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (name == ".git") {
      nested = true;
      continue;
    }
    unsigned char type = entry->d_type;
    const std::string path = folder.empty() ? name : folder + "/" + name;
    if (type == DT_UNKNOWN) {
      struct stat status = {};
      if (::lstat((tree + "/" + path).c_str(), &status) != 0) continue;
      type = S_ISDIR(status.st_mode)   ? DT_DIR
             : S_ISREG(status.st_mode) ? DT_REG
             : S_ISLNK(status.st_mode) ? DT_LNK
                                       : DT_FIFO;
    }
    if (type == DT_DIR) below.push_back(path);
    const bool of_git = name == ".gitignore" || name == ".gitattributes" || name == ".gitmodules";
    if (of_git && type != DT_REG && type != DT_LNK && type != DT_DIR) found.strange.push_back(path);
  }
  ::closedir(open);
  if (nested && !folder.empty()) {
    found.nested.push_back(folder);
    return;
  }
  std::sort(below.begin(), below.end());
  for (const std::string& path : below) walk(tree, path, depth + 1, found);
}

}  // namespace

std::optional<std::string> read_plain(const std::string& path, size_t max_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  struct stat found = {};
  std::string out;
  bool good = ::fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && static_cast<uint64_t>(found.st_size) <= max_bytes;
  while (good) {
    char buffer[64 << 10];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    good = n >= 0 && out.size() + static_cast<size_t>(n) <= max_bytes;
    if (n <= 0) break;
    out.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  return good ? std::optional(std::move(out)) : std::nullopt;
}

bool is_branch_name(std::string_view name) {
  if (name.empty() || name.size() > 200 || name.front() == '-' || name.front() == '/' || name.back() == '/' ||
      name.back() == '.')
    return false;
  for (const char c : name)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F || std::strchr("~^:?*[\\", c)) return false;
  for (const std::string_view bad : {"..", "//", "@{", "/.", ".lock/"})
    if (name.find(bad) != std::string_view::npos) return false;
  return name.front() != '.' && !name.ends_with(".lock");
}

bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<Repository> Repository::open(const std::string& tree) {
  std::string git = tree + "/.git";
  if (!is_folder(git)) {
    const auto link = read_plain(git, kMaxRefBytes);
    if (!link || !link->starts_with("gitdir: ")) return bad_input("{}: expected a git repository", tree);
    git = joined(tree, without_end(link->substr(8)));
  }
  std::string common = git;
  if (const auto elsewhere = read_plain(git + "/commondir", kMaxRefBytes))
    common = joined(git, without_end(*elsewhere));
  if (!is_folder(common + "/objects") && !is_folder(common + "/refs"))
    return bad_input("{}: expected a git repository", tree);
  if (common.find('\n') != std::string::npos) return bad_input("{}: expected a path without line ends", tree);
  return Repository(tree, std::move(git), std::move(common));
}

std::optional<std::string> Repository::resolve(std::string_view ref) const {
  std::string name(ref);
  for (int step = 0; step < 6; ++step) {
    if (name != "HEAD" && !(name.starts_with("refs/") && is_branch_name(std::string_view(name).substr(5))))
      return std::nullopt;
    const std::string& folder = name.starts_with("refs/heads/") || name.starts_with("refs/tags/") ? common_ : git_;
    auto text = read_plain(folder + "/" + name, kMaxRefBytes);
    if (!text && folder != common_) text = read_plain(common_ + "/" + name, kMaxRefBytes);
    if (text) {
      const std::string value = without_end(*text);
      if (is_object_id(value)) return value;
      if (!value.starts_with("ref: ")) return std::nullopt;
      name = value.substr(5);
      continue;
    }
    const auto packed = read_plain(common_ + "/packed-refs", kMaxPackedRefsBytes);
    if (!packed) return std::nullopt;
    for (std::string_view rest = *packed; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      const size_t space = line.find(' ');
      if (space != std::string_view::npos && line.substr(space + 1) == name && is_object_id(line.substr(0, space)))
        return std::string(line.substr(0, space));
    }
    return std::nullopt;
  }
  return std::nullopt;
}

Survey survey(const std::string& tree) {
  Survey found;
  walk(tree, "", 0, found);
  return found;
}

}  // namespace onsight::guest
