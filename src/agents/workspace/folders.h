// Folders: making, locking, moving and removing what an agent may have filled, never through a symbolic link.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"

namespace onsight::agents::workspace {

// A descriptor that is closed when it goes.
class Handle {
 public:
  explicit Handle(int fd = -1) : fd_(fd) {}
  Handle(Handle&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Handle& operator=(Handle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Handle();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

Result<Handle> open_folder(const Path& folder);
Status make_folders(const Path& folder);
// An flock on a file, which is made; waits for it at most `seconds`. `what` is under way where it is held.
Result<Handle> lock_file(const Path& file, int seconds, std::string_view what);
// Beside `path`, a name that nothing has: PATH.tmp-PID-N.
Path fresh_name(const Path& path);
// A folder with all in it, however deep it is and whatever rights were taken from it.
Status remove_tree(const Path& folder);
// All in it is given to uid:gid.
Status give_tree(const Path& folder, int uid, int gid);
// Where nothing is yet, or EEXIST. Returns 0 or the errno.
int rename_new(int from_folder, const std::string& from, int to_folder, const std::string& to);

// The folder of a path below `root`, and the path's last part. Each step is opened without following links; `make`
// makes those that are missing. errno says what is in the way: ELOOP or ENOTDIR, no folder.
struct Place {
  Handle folder;
  std::string name;
};
Result<Place> find_place(int root, std::string_view path, bool make);

}  // namespace onsight::agents::workspace
