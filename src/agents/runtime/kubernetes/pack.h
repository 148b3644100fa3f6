// Pack: a folder of this machine on its way into a claim, as a tar that is read while it is made.
//
//   TRY_STATUS(with_tar(folder, [&](int tar) { return run({.command = {"tar", "-x"}, .input_file = tar}); }));
#pragma once

#include <functional>

#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::runtime::kubernetes {

// `use` gets a descriptor that the tar of the folders in `folder` can be read from, and returns when it has been; then
// the tar is whole, or there is an error.
Status with_tar(const Path& folder, const std::function<Status(int tar)>& use);

// Held by one process at a time, as long as it lives.
class FolderLock {
 public:
  static Result<FolderLock> take(const Path& folder);
  FolderLock(FolderLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace onsight::agents::runtime::kubernetes
