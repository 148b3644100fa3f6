#include "cli/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace onsight::cli {
namespace {

constexpr size_t kLongestRow = size_t{64} << 20;

}  // namespace

Result<Journal> Journal::open(const Path& path, const std::function<Status(const Json&)>& on_row) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path.string(), std::strerror(errno));
  Journal journal(fd, path);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return make_error(ErrorCode::kIo, "{}: another process writes to it", path.string());
  TRY_STATUS(journal.read_rows(on_row));
  if (::ftruncate(fd, journal.size_) != 0)
    return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path.string(), std::strerror(errno));
  return journal;
}

Journal::~Journal() {
  if (fd_ < 0) return;
  ::fsync(fd_);
  ::close(fd_);
}

Status Journal::read_rows(const std::function<Status(const Json&)>& on_row) {
  std::string rest;
  char buffer[1 << 16];
  for (int line = 1;;) {
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return make_error(ErrorCode::kIo, "{}: {}", path_.string(), std::strerror(errno));
    if (got == 0) return {};
    rest.append(buffer, static_cast<size_t>(got));
    size_t at = 0;
    for (size_t end; (end = rest.find('\n', at)) != std::string::npos; at = end + 1, ++line) {
      const std::string where = fmt::format("{}:{}", path_.string(), line);
      const Result<Json> row = parse_json(std::string_view(rest).substr(at, end - at), where);
      if (!row || !row->is_object()) return bad_input("{}: expected a JSON object a line, as this verb writes", where);
      TRY_STATUS(on_row(*row));
      size_ += static_cast<int64_t>(end - at + 1);
    }
    rest.erase(0, at);
    if (rest.size() > kLongestRow)
      return bad_input("{}:{}: expected a JSON object a line, as this verb writes", path_.string(), line);
  }
}

Status Journal::append(std::string_view row) {
  const std::string line = fmt::format("{}\n", row);
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t wrote = ::pwrite(fd_, line.data() + done, line.size() - done, size_ + static_cast<int64_t>(done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      const int error = errno;
      [[maybe_unused]] const int cut = ::ftruncate(fd_, size_);
      return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path_.string(), std::strerror(error));
    }
    done += static_cast<size_t>(wrote);
  }
  size_ += static_cast<int64_t>(line.size());
  return {};
}

}  // namespace onsight::cli
