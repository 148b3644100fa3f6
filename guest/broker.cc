#include "broker.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "outside_json.h"

namespace onsight::guest {
namespace {

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> absent(std::string_view why) {
  return tl::unexpected<Error>(
      Error{ErrorCode::kBusy, fmt::format("the broker did not answer ({})", why), {}, kNoBroker});
}

// Whether something can be done with it before the deadline.
bool ready(int fd, short what, Clock::time_point deadline) {
  for (;;) {
    const auto left = deadline - Clock::now();
    if (left <= Clock::duration::zero()) return false;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1;
    pollfd wanted = {.fd = fd, .events = what, .revents = 0};
    const int found = ::poll(&wanted, 1, static_cast<int>(std::min<int64_t>(ms, 60'000)));
    if (found > 0) return true;
    if (found < 0 && errno != EINTR) return false;
  }
}

// Of "http://vision/v1/models" its host; of a path alone our own.
std::string_view host_of(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (!target.starts_with(kScheme)) return "onsight";
  target.remove_prefix(kScheme.size());
  return target.substr(0, target.find('/'));
}

}  // namespace

int dial(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

Result<Answer> Broker::ask(std::string_view method, std::string_view target, std::string_view body,
                           Clock::time_point deadline) const {
  int fd = dial(socket_);
  while (fd < 0 && errno == EAGAIN && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    fd = dial(socket_);
  }
  if (fd < 0) return absent(fmt::format("{}: {}", socket_, std::strerror(errno)));
  const Socket socket(fd);
  const std::string request =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{}", method, target,
                  host_of(target), body.empty() ? "" : "Content-Type: application/json\r\n", body.size(), body);
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t n = ::send(fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (!ready(fd, POLLOUT, deadline)) return absent("it took too long");
    } else if (errno != EINTR) {
      break;  // it has perhaps answered all the same: that the request is too large, say
    }
  }
  AnswerReader reader;
  char buffer[16 << 10];
  for (;;) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n > 0) {
      TRY(const bool whole, reader.add({buffer, static_cast<size_t>(n)}));
      if (whole) return reader.take();
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      if (reader.finish()) return reader.take();
      return absent("it went away");
    } else if (errno == EAGAIN && !ready(fd, POLLIN, deadline)) {
      return absent("it took too long");
    }
  }
}

Result<Answer> Broker::insist(std::string_view method, std::string_view target, std::string_view body,
                              Clock::time_point deadline, std::string_view what) const {
  auto pause = std::chrono::milliseconds(100);
  for (bool said = false;;) {
    const auto one = std::min(deadline, Clock::now() + std::chrono::seconds(30));
    auto answer = ask(method, target, body, one);
    const bool again = answer ? answer->status >= 502 && answer->status <= 504 : answer.error().reason == kNoBroker;
    if (!again || Clock::now() + pause >= deadline) return answer;
    if (!said) {
      std::fprintf(stderr, "onsight-agent: %s: the broker does not answer, trying again\n", std::string(what).c_str());
      said = true;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(2000));
  }
}

tl::unexpected<Error> refused(const Answer& answer) {
  std::string said;
  if (auto json = parse_outside(answer.body, "broker"); json && json->is_object()) {
    const Json& error = json->value("error", Json::object());
    if (error.is_object() && error.contains("message") && error["message"].is_string())
      said = error["message"].get<std::string>();
    if (error.is_object() && error.contains("reason") && error["reason"].is_string())
      said += fmt::format(" ({})", error["reason"].get<std::string>());
  }
  if (said.empty()) said = fmt::format("it answered {}", answer.status);
  const bool late = answer.status >= 502 && answer.status <= 504;
  return tl::unexpected<Error>(
      Error{late ? ErrorCode::kBusy : ErrorCode::kBadInput, printable(said, false), {}, late ? kNoBroker : kRefused});
}

}  // namespace onsight::guest
