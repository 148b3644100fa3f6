#include "forwarder.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <string_view>
#include <utility>
#include <vector>

namespace onsight::guest {
namespace {

constexpr size_t kBufferBytes = 32 << 10;
// Two descriptors each; a container may have 1024 (`--ulimit nofile`).
constexpr size_t kMaxLinks = 400;
constexpr auto kLinger = std::chrono::seconds(2);

constexpr std::string_view kNoBrokerAnswer =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    "Content-Length: 85\r\n\r\n"
    R"({"error":{"message":"the broker is not there","type":"refused","reason":"no_broker"}})";

// Bytes on their way from one end to the other.
struct Half {
  std::vector<char> buffer;
  size_t begin = 0, end = 0;
  bool ended = false;    // nothing more comes
  bool shut = false;     // and the other end has been told so
  bool discard = false;  // the other end takes no more
  bool empty() const { return begin == end; }
};

enum Side : int { kClient = 0, kUpstream = 1 };

struct Link {
  std::array<int, 2> fd = {-1, -1};
  std::array<Half, 2> half;  // half[side]: what comes from fd[side]
  Clock::time_point since, dial_at, linger_until = Clock::time_point::max();
  std::chrono::milliseconds dial_pause{25};
};

class EpollForwarder : public Forwarder {
 public:
  EpollForwarder(Events& events, const ForwarderOptions& options, int fd, int port)
      : events_(events), options_(options), listener_(fd), port_(port) {}
  EpollForwarder(const EpollForwarder&) = delete;
  EpollForwarder& operator=(const EpollForwarder&) = delete;
  ~EpollForwarder() override {
    while (!links_.empty()) close(links_.begin());
    events_.forget(listener_);
    ::close(listener_);
  }

  Status start() {
    return events_.watch(listener_, EPOLLIN, [this](uint32_t) { accept(); });
  }
  int port() const override { return port_; }

  void tick() override {
    const auto now = Clock::now();
    for (auto it = links_.begin(); it != links_.end();) {
      const auto link = it++;
      if (now >= link->linger_until)
        close(link);
      else if (link->fd[kUpstream] < 0 && now >= link->dial_at)
        reach(link);
    }
    if (resting_ && links_.size() < kMaxLinks) {
      resting_ = false;
      events_.change(listener_, EPOLLIN);
    }
  }

  std::chrono::milliseconds pause() const override {
    auto due = resting_ ? Clock::now() + std::chrono::milliseconds(100) : Clock::time_point::max();
    for (const Link& link : links_) {
      due = std::min(due, link.linger_until);
      if (link.fd[kUpstream] < 0) due = std::min(due, link.dial_at);
    }
    if (due == Clock::time_point::max()) return std::chrono::minutes(1);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - Clock::now());
    return std::max(left + std::chrono::milliseconds(1), std::chrono::milliseconds(0));
  }

 private:
  using Links = std::list<Link>;

  void accept() {
    while (links_.size() < kMaxLinks) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN) rest();
        return;
      }
      const int one = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const auto link = links_.emplace(links_.end());
      link->fd[kClient] = fd;
      link->since = link->dial_at = Clock::now();
      if (!events_.watch(fd, EPOLLIN, [this, link](uint32_t what) { happened(link, kClient, what); }))
        close(link);
      else
        reach(link);
    }
    rest();
  }

  // Who comes now waits in the kernel's queue.
  void rest() {
    resting_ = true;
    events_.change(listener_, 0);
  }

  void reach(Links::iterator link) {
    const int fd = dial(options_.broker);
    if (fd >= 0) {
      link->fd[kUpstream] = fd;
      if (!events_.watch(fd, EPOLLIN, [this, link](uint32_t what) { happened(link, kUpstream, what); })) {
        close(link);
        return;
      }
      pump(link, kClient);
      settle(link);
      return;
    }
    const auto now = Clock::now();
    if (now - link->since < options_.patience) {
      link->dial_at = now + link->dial_pause;
      link->dial_pause = std::min(link->dial_pause * 2, std::chrono::milliseconds(400));
      return;
    }
    // Nobody is there: the client is told, in the language that it speaks.
    Half& down = link->half[kUpstream];
    down.buffer.assign(kNoBrokerAnswer.begin(), kNoBrokerAnswer.end());
    down.end = down.buffer.size();
    down.ended = true;
    link->half[kClient].discard = true;
    link->dial_at = Clock::time_point::max();
    flush(link, kUpstream);
    settle(link);
  }

  void happened(Links::iterator link, Side side, uint32_t what) {
    if (what & (EPOLLIN | EPOLLHUP | EPOLLERR)) pump(link, side);
    if (what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) pump(link, side == kClient ? kUpstream : kClient);
    settle(link);
  }

  // Reads what `from` has and gives it to the other end, as far as both will.
  void pump(Links::iterator link, Side from) {
    Half& half = link->half[from];
    for (int round = 0; round < 4; ++round) {
      flush(link, from);
      if (half.ended || !half.empty() || link->fd[from] < 0) return;
      if (half.buffer.size() < kBufferBytes) half.buffer.resize(kBufferBytes);
      const ssize_t n = ::recv(link->fd[from], half.buffer.data(), half.buffer.size(), 0);
      if (n > 0) {
        half.begin = 0;
        half.end = static_cast<size_t>(n);
      } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        half.ended = true;
      } else {
        return;
      }
    }
    flush(link, from);
  }

  void flush(Links::iterator link, Side from) {
    Half& half = link->half[from];
    const int to = link->fd[1 - from];
    if (half.discard) half.begin = half.end = 0;
    while (!half.empty() && to >= 0) {
      const ssize_t n = ::send(to, half.buffer.data() + half.begin, half.end - half.begin, MSG_NOSIGNAL);
      if (n > 0) {
        half.begin += static_cast<size_t>(n);
      } else if (n < 0 && errno == EAGAIN) {
        return;
      } else if (n < 0 && errno != EINTR) {
        half.discard = true;
        half.begin = half.end = 0;
      }
    }
    if (half.ended && half.empty() && !half.shut && to >= 0) {
      ::shutdown(to, SHUT_WR);
      half.shut = true;
    }
  }

  void settle(Links::iterator link) {
    Half &up = link->half[kClient], &down = link->half[kUpstream];
    const bool reached = link->fd[kUpstream] >= 0;
    if ((up.shut && down.shut) || (down.discard && up.ended) || (!reached && up.ended && up.empty()))
      return close(link);
    // The broker is gone with its last word: what the client still sends is read away for a while, for closing the
    // connection over it would reset it, and take that word with it.
    if (up.discard && down.shut) {
      if (up.ended) return close(link);
      if (link->linger_until == Clock::time_point::max()) link->linger_until = Clock::now() + kLinger;
    }
    for (const Side side : {kClient, kUpstream}) {
      const Half &in = link->half[side], &out = link->half[1 - side];
      uint32_t want = 0;
      if (!in.ended && in.empty()) want |= EPOLLIN;
      if (!out.empty()) want |= EPOLLOUT;
      if (link->fd[side] >= 0) events_.change(link->fd[side], want);
    }
  }

  void close(Links::iterator link) {
    for (const int fd : link->fd) {
      if (fd < 0) continue;
      events_.forget(fd);
      ::close(fd);
    }
    links_.erase(link);
  }

  Events& events_;
  ForwarderOptions options_;
  int listener_, port_;
  bool resting_ = false;
  Links links_;
};

}  // namespace

Result<std::unique_ptr<Forwarder>> Forwarder::listen(Events& events, const ForwarderOptions& options) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const auto failed = [&] {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    return make_error(ErrorCode::kIo, "127.0.0.1:{}: {}", options.port, std::strerror(error));
  };
  if (fd < 0) return failed();
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(options.port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd, raw, size) != 0 || ::listen(fd, 128) != 0 || ::getsockname(fd, raw, &size) != 0) return failed();
  auto forwarder = std::make_unique<EpollForwarder>(events, options, fd, ntohs(address.sin_port));
  TRY_STATUS(forwarder->start());
  return std::unique_ptr<Forwarder>(std::move(forwarder));
}

}  // namespace onsight::guest
