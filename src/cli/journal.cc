#include "cli/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace onsight::cli {
namespace {

constexpr size_t kLongestRow = size_t{64} << 20;

}  // namespace

Result<Journal> Journal::open(const Path& path, std::string_view start, const OnRow& on_row) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const bool made = fd >= 0;
  if (!made) fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  Journal journal(fd, made, path);
  if (fd < 0) return journal.cannot_write(errno);
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return journal.cannot_write(errno);
  if (!S_ISREG(facts.st_mode))
    return make_error(ErrorCode::kUsage, "{}: expected a plain file, which can be read again and gone on with",
                      path.string());
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    journal.made_ = false;  // it is the other's now
    return make_error(ErrorCode::kIo, "{}: another process writes to it", path.string());
  }
  TRY_STATUS(journal.read_rows(start, on_row));
  return journal;
}

Journal::~Journal() {
  if (fd_ < 0) return;
  if (made_ && size_ == 0)
    ::unlink(path_.c_str());
  else
    ::fsync(fd_);
  ::close(fd_);
}

tl::unexpected<Error> Journal::cannot_write(int error) const {
  return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path_.string(), std::strerror(error));
}

// Nothing is changed before all has been read.
Status Journal::read_rows(std::string_view start, const OnRow& on_row) {
  std::string rest;
  char buffer[1 << 16];
  int line = 1;
  const auto is_row = [&](std::string_view text) {
    const Result<Json> row = parse_json(text, path_.string());
    return row && row->is_object() && on_row(*row);
  };
  const auto refuse = [&] {
    return bad_input("{}:{}: expected a JSON object a line, as this verb writes", path_.string(), line);
  };
  for (;;) {
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return make_error(ErrorCode::kIo, "{}: {}", path_.string(), std::strerror(errno));
    if (got == 0) break;
    rest.append(buffer, static_cast<size_t>(got));
    size_t at = 0;
    for (size_t end; (end = rest.find('\n', at)) != std::string::npos; at = end + 1, ++line) {
      if (!is_row(std::string_view(rest).substr(at, end - at))) return refuse();
      size_ += static_cast<int64_t>(end - at + 1);
    }
    rest.erase(0, at);
    if (rest.size() > kLongestRow) return refuse();
  }
  if (rest.empty()) return {};
  if (is_row(rest)) {
    size_ += static_cast<int64_t>(rest.size());
    return write("\n");
  }
  const bool begins_as_ours = rest.starts_with(start) || start.starts_with(rest);
  if (!begins_as_ours || parse_json(rest, path_.string())) return refuse();
  if (::ftruncate(fd_, size_) != 0) return cannot_write(errno);
  return {};
}

Status Journal::append(std::string_view row) { return write(fmt::format("{}\n", row)); }

// Behind the whole lines, or not at all.
Status Journal::write(std::string_view bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t wrote = ::pwrite(fd_, bytes.data() + done, bytes.size() - done, size_ + static_cast<int64_t>(done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      const int error = errno;
      [[maybe_unused]] const int cut = ::ftruncate(fd_, size_);
      return cannot_write(error);
    }
    done += static_cast<size_t>(wrote);
  }
  size_ += static_cast<int64_t>(bytes.size());
  return {};
}

}  // namespace onsight::cli
