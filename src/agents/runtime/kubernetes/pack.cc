#include "agents/runtime/kubernetes/pack.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/subprocess.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr std::chrono::hours kPackTime{1};
constexpr uint64_t kMostPacked = uint64_t{1} << 42;

Result<std::vector<std::string>> folders_in(const Path& folder) {
  std::vector<std::string> out;
  std::error_code failed;
  for (std::filesystem::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    if (it->is_directory(failed) && !it->is_symlink(failed)) out.push_back("./" + it->path().filename().string());
  if (failed) return make_error(ErrorCode::kIo, "{}: {}", folder.string(), failed.message());
  if (out.empty()) return bad_input("{}: expected a clone in it", folder.string());
  std::sort(out.begin(), out.end());
  return out;
}

// What tar writes goes into the socket `into`; kBusy: nobody reads it any more.
Status pack_into(int into, const std::vector<std::string>& command) {
  const auto send_all = [into](std::string_view bytes) -> Status {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(into, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return make_error(ErrorCode::kBusy, "tar: {}", std::strerror(errno));
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return {};
  };
  TRY(const Ended ended,
      run({.command = command, .output = send_all, .limit = kPackTime, .max_output_bytes = kMostPacked}));
  if (ended.code == 0) return {};
  return bad_input("tar: {}", ended.errors.substr(0, ended.errors.find('\n')));
}

}  // namespace

Status with_tar(const Path& folder, const std::function<Status(int tar)>& use) {
  std::vector<std::string> command = {"tar", "--create", "--file=-", "--directory=" + folder.string(), "--"};
  TRY(const std::vector<std::string> folders, folders_in(folder));
  command.insert(command.end(), folders.begin(), folders.end());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return make_error(ErrorCode::kIo, "{}: {}", folder.string(), std::strerror(errno));
  Status packed;
  std::thread packing([&] {
    packed = pack_into(ends[0], command);
    // What is not whole does not end as if it were: its reader looks for the end that a tar has.
    ::close(ends[0]);
  });
  Status used = use(ends[1]);
  ::close(ends[1]);
  packing.join();
  // Each breaks off because of the other: who stopped reading says why.
  if (!packed && (used || packed.error().code != ErrorCode::kBusy)) return packed;
  return used;
}

Result<FolderLock> FolderLock::take(const Path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return bad_input("{}: {}", folder.string(), std::strerror(errno));
  FolderLock lock(fd);
  while (::flock(fd, LOCK_EX) != 0)
    if (errno != EINTR) return make_error(ErrorCode::kIo, "{}: {}", folder.string(), std::strerror(errno));
  return lock;
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace onsight::agents::runtime::kubernetes
