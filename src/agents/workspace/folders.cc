#include "agents/workspace/folders.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "agents/workspace/git.h"

namespace onsight::agents::workspace {
namespace {

tl::unexpected<Error> folder_error(const Path& path) {
  return make_error(ErrorCode::kIo, "{}: {}", printable(path.string()), std::strerror(errno));
}

// The names in an open folder; the handle stays with the caller.
Result<std::vector<std::string>> names_in(int folder, const Path& path) {
  const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = copy < 0 ? nullptr : ::fdopendir(copy);
  if (entries == nullptr) {
    if (copy >= 0) ::close(copy);
    return folder_error(path);
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(entries);
  return names;
}

// Moving a folder needs the right to write in it. By its descriptor, so that a link in its place is not followed.
void open_rights(int folder, const std::string& name) {
  const Handle handle(::openat(folder, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (handle) ::chmod(fmt::format("/proc/self/fd/{}", handle.get()).c_str(), 0700);
}

Status give_below(int folder, const Path& path, int uid, int gid, int depth) {
  constexpr int kDeepest = 512;  // of a tree that a git of ours made from checked names
  if (depth > kDeepest) return bad_input("{}: folders in folders, more than {}", printable(path.string()), kDeepest);
  TRY(const std::vector<std::string> names, names_in(folder, path));
  for (const std::string& name : names) {
    struct stat info {};
    if (::fchownat(folder, name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0 ||
        ::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return folder_error(path / name);
    if (!S_ISDIR(info.st_mode)) continue;
    const Handle below(::openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!below) return folder_error(path / name);
    TRY_STATUS(give_below(below.get(), path / name, uid, gid, depth + 1));
  }
  return {};
}

}  // namespace

Handle::~Handle() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Handle> open_folder(const Path& folder) {
  Handle handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle) return folder_error(folder);
  return handle;
}

Status make_folders(const Path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return make_error(ErrorCode::kIo, "{}: cannot be made ({})", printable(folder.string()), error.message());
  return {};
}

Result<Handle> lock_file(const Path& file, int seconds, std::string_view what) {
  Handle handle(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!handle) return folder_error(file);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (::flock(handle.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return folder_error(file);
    if (std::chrono::steady_clock::now() >= end) return make_error(ErrorCode::kBusy, "{} is under way", what);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return handle;
}

Path fresh_name(const Path& path) {
  static std::atomic<int> number{0};
  for (;;) {
    Path name = path;
    name += fmt::format(".tmp-{}-{}", ::getpid(), ++number);
    std::error_code error;
    if (!std::filesystem::exists(std::filesystem::symlink_status(name, error))) return name;
  }
}

// What lies deeper is first moved up beside the folders that are still to be emptied, so that no depth needs a stack,
// or a path longer than the system takes.
Status remove_tree(const Path& folder) {
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0) return errno == ENOENT ? Status() : Status(folder_error(folder));
  if (!S_ISDIR(info.st_mode)) {
    if (::unlink(folder.c_str()) != 0) return folder_error(folder);
    return {};
  }
  const Path top = fresh_name(folder.parent_path() / ".removing");
  if (::mkdir(top.c_str(), 0700) != 0) return folder_error(top);
  open_rights(AT_FDCWD, folder.string());
  if (::rename(folder.c_str(), (top / "0").c_str()) != 0) {
    Status failed = folder_error(folder);
    ::rmdir(top.c_str());
    return failed;
  }
  TRY(const Handle root, open_folder(top));
  std::vector<std::string> waiting = {"0"};
  uint64_t number = 0;
  while (!waiting.empty()) {
    const std::string one = waiting.back();
    waiting.pop_back();
    const Handle inside(::openat(root.get(), one.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inside) return folder_error(top / one);
    ::fchmod(inside.get(), 0700);
    TRY(const std::vector<std::string> names, names_in(inside.get(), top / one));
    for (const std::string& name : names) {
      if (::unlinkat(inside.get(), name.c_str(), 0) == 0) continue;
      if (errno != EISDIR && errno != EPERM) return folder_error(top / one / name);
      open_rights(inside.get(), name);
      std::string moved = std::to_string(++number);
      if (::renameat(inside.get(), name.c_str(), root.get(), moved.c_str()) != 0) return folder_error(top / one / name);
      waiting.push_back(std::move(moved));
    }
    if (::unlinkat(root.get(), one.c_str(), AT_REMOVEDIR) != 0) return folder_error(top / one);
  }
  if (::rmdir(top.c_str()) != 0) return folder_error(top);
  return {};
}

Status give_tree(const Path& folder, int uid, int gid) {
  TRY(const Handle root, open_folder(folder));
  if (::fchown(root.get(), uid, gid) != 0) return folder_error(folder);
  return give_below(root.get(), folder, uid, gid, 0);
}

int rename_new(int from_folder, const std::string& from, int to_folder, const std::string& to) {
  if (::renameat2(from_folder, from.c_str(), to_folder, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // Not every file system knows it; a second name, too, is refused where there is something.
  if (::linkat(from_folder, from.c_str(), to_folder, to.c_str(), 0) != 0) return errno;
  return ::unlinkat(from_folder, from.c_str(), 0) == 0 ? 0 : errno;
}

Result<Place> find_place(int root, std::string_view path, bool make) {
  Handle folder(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return folder_error(path);
  std::string_view rest = path;
  while (rest.find('/') != std::string_view::npos) {
    const std::string part(rest.substr(0, rest.find('/')));
    rest.remove_prefix(part.size() + 1);
    if (part.empty() || part == "." || part == "..") return bad_input("{}: no path in a repository", printable(path));
    if (make && ::mkdirat(folder.get(), part.c_str(), 0777) != 0 && errno != EEXIST) return folder_error(path);
    Handle next(::openat(folder.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) {
      const int error = errno;
      const auto failed = folder_error(path);
      errno = error;
      return failed;
    }
    folder = std::move(next);
  }
  if (rest.empty() || rest == "." || rest == "..") return bad_input("{}: no path in a repository", printable(path));
  return Place{.folder = std::move(folder), .name = std::string(rest)};
}

}  // namespace onsight::agents::workspace
