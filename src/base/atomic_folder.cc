#include "base/atomic_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

namespace onsight {
namespace {

namespace fs = std::filesystem;

// The folder itself, not a link to it, and without a slash at its end: it has a name to be renamed to.
Path without_links(const Path& path) {
  std::error_code error;
  const Path full = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) return path;
  return full.has_filename() ? full : full.parent_path();
}

// Two names change places in one step; where the file system cannot do that, in two.
bool exchange(const Path& a, const Path& b) {
#ifdef RENAME_EXCHANGE
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
#endif
  Path aside = a;
  aside += "-before";
  if (::rename(b.c_str(), aside.c_str()) != 0) return false;
  if (::rename(a.c_str(), b.c_str()) != 0) {
    const int why = errno;
    (void)::rename(aside.c_str(), b.c_str());
    errno = why;
    return false;
  }
  return ::rename(aside.c_str(), a.c_str()) == 0;
}

}  // namespace

Result<AtomicFolder> AtomicFolder::create(const Path& target) {
  const Path full = without_links(target);
  struct stat own {};
  struct stat parent {};
  const bool is_there = ::stat(full.c_str(), &own) == 0 && S_ISDIR(own.st_mode);
  const bool is_mounted = is_there && ::stat(full.parent_path().c_str(), &parent) == 0 && own.st_dev != parent.st_dev;
  std::error_code ignored;
  if (!is_mounted && full != fs::current_path(ignored)) {
    Result<AtomicFolder> beside = make(target, false);
    if (beside || !is_there) return beside;
  }
  return make(target, true);
}

Result<AtomicFolder> AtomicFolder::create_inside(const Path& target) { return make(target, true); }

Result<AtomicFolder> AtomicFolder::make(const Path& target, bool inside) {
  static std::atomic<unsigned> counter{0};
  AtomicFolder folder;
  folder.target_ = without_links(target);
  folder.inside_ = inside;
  Path temporary = inside ? folder.target_ / "" : folder.target_;
  temporary += fmt::format(".tmp-{}-{}", ::getpid(), counter++);
  if (::mkdir(temporary.c_str(), 0755) != 0) {
    if (errno == ENOENT)
      return make_error(ErrorCode::kIo, "{}: cannot be written, expected the folder {} to be there", target.string(),
                        temporary.parent_path().string());
    return make_error(ErrorCode::kIo, "{}: cannot be written ({})", target.string(), std::strerror(errno));
  }
  folder.temporary_ = std::move(temporary);
  return folder;
}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : target_(std::move(other.target_)), temporary_(std::exchange(other.temporary_, {})), inside_(other.inside_) {}

AtomicFolder& AtomicFolder::operator=(AtomicFolder&& other) noexcept {
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  std::swap(inside_, other.inside_);
  return *this;
}

AtomicFolder::~AtomicFolder() { discard(); }

void AtomicFolder::discard() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(std::exchange(temporary_, {}), ignored);
}

// What no new file replaces goes first, so that nothing old stands beside what is new.
Status AtomicFolder::move_up() {
  std::error_code error, ignored;
  for (const Path& old : children_of(target_)) {
    const Path name = old.filename();
    const bool is_replaced = fs::is_regular_file(temporary_ / name, ignored) && !fs::is_directory(old, ignored);
    if (!is_replaced && old != temporary_) fs::remove_all(old, ignored);
  }
  for (const Path& made : children_of(temporary_))
    if (!error) fs::rename(made, target_ / made.filename(), error);
  discard();
  if (!error) return {};
  return make_error(ErrorCode::kIo, "{}: cannot be written ({})", target_.string(), error.message());
}

Status AtomicFolder::commit() {
  if (inside_) return move_up();
  // An empty folder gives way at once.
  if (::rename(temporary_.c_str(), target_.c_str()) == 0) {
    temporary_.clear();
    return {};
  }
  if ((errno == ENOTEMPTY || errno == EEXIST) && exchange(temporary_, target_)) {
    discard();  // what was there before
    return {};
  }
  Status failed = make_error(ErrorCode::kIo, "{}: cannot be written ({})", target_.string(), std::strerror(errno));
  discard();
  return failed;
}

Error AtomicFolder::placed(Error error) const {
  const std::string from = temporary_.string();
  for (size_t at = 0; !from.empty() && (at = error.message.find(from, at)) != std::string::npos;)
    error.message.replace(at, from.size(), target_.string());
  return error;
}

}  // namespace onsight
