#include "agents/bridge/bridge.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "agents/bridge/frames.h"

namespace onsight::agents::bridge {
namespace {

using BridgeClock = std::chrono::steady_clock;

constexpr size_t kMostConnections = 256;
constexpr uint32_t kWindowBytes = 64 << 10;     // that one connection may have on its way, each direction
constexpr size_t kMostQueuedBytes = 256 << 10;  // then nothing more is read of connections
constexpr size_t kMostUnreadBytes = 8 << 20;    // frames; an honest end reads what it asked for
constexpr std::chrono::milliseconds kDialPause{50}, kLookPause{500};

tl::unexpected<Error> bridge_failed(const std::string& what) {
  return make_error(ErrorCode::kIo, "{}: {}", what, std::strerror(errno));
}

Status set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return bridge_failed("the bridge's stream");
  return {};
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return bad_input("{}: expected a path of at most {} bytes for a socket", path, sizeof address.sun_path - 1);
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

// In place of one that a former bridge left: whoever dials meanwhile finds one or the other.
Result<int> listen_at(const std::string& path) {
  const std::string making = path + ".new";
  TRY(const sockaddr_un address, address_of(making));
  ::unlink(making.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return bridge_failed(path);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(fd, 128) != 0 ||
      ::rename(making.c_str(), path.c_str()) != 0) {
    auto error = bridge_failed(path);
    ::close(fd);
    return error;
  }
  return fd;
}

// What the path leads to; 0: nothing.
ino_t place_of(const std::string& path) {
  struct stat there = {};
  return ::lstat(path.c_str(), &there) == 0 ? there.st_ino : 0;
}

int dial_at(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return -1;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

struct Carried {
  int fd = -1;  // none yet: it is being dialled
  BridgeClock::time_point since, dial_at;
  std::string waiting;               // for the socket
  uint32_t may_send = kWindowBytes;  // to the other end
  uint32_t may_come = kWindowBytes;  // from there
  bool ended_here = false;           // the socket gives nothing more, and the other end knows
  bool ended_there = false;          // the other end gives nothing more
  bool told = false;                 // and the socket knows
};

class Bridge {
 public:
  explicit Bridge(const BridgeOptions& options) : options_(options) {}
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;
  ~Bridge() {
    for (auto& [number, one] : all_)
      if (one.fd >= 0) ::close(one.fd);
    if (listener_ >= 0) ::close(listener_);
  }

  Status run() {
    TRY_STATUS(set_nonblocking(options_.in));
    TRY_STATUS(set_nonblocking(options_.out));
    if (!options_.listen.empty()) {
      TRY(listener_, listen_at(options_.listen));
      place_ = place_of(options_.listen);
    }
    for (;;) {
      wait();
      if (listener_ >= 0) TRY_STATUS(look_after_socket());
      if (polled_[0].revents != 0) {
        TRY(const bool more, take());
        if (!more) return {};
      }
      if (polled_[1].revents != 0) {
        TRY(const bool more, give());
        if (!more) return {};
      }
      if (listener_ >= 0 && polled_[2].revents != 0) accept();
      for (size_t i = kFixed; i < polled_.size(); ++i) {
        const auto found = all_.find(numbers_[i - kFixed]);
        if (found == all_.end() || found->second.fd != polled_[i].fd || polled_[i].revents == 0) continue;
        if (polled_[i].revents & (POLLOUT | POLLERR | POLLHUP)) write_to(found->second, found->first);
        if (polled_[i].revents & (POLLIN | POLLERR | POLLHUP)) read_from(found->second, found->first);
      }
      dial_again();
      drop_what_is_over();
      TRY(const bool more, give());
      if (!more) return {};
    }
  }

 private:
  static constexpr size_t kFixed = 3;

  void wait() {
    polled_.assign(kFixed, {.fd = -1, .events = 0, .revents = 0});
    numbers_.clear();
    // It is always read: what comes is bounded by the credit that was given, and an end that does not read while the
    // other does not either would stand still.
    polled_[0] = {.fd = options_.in, .events = POLLIN, .revents = 0};
    if (!out_.empty()) polled_[1] = {.fd = options_.out, .events = POLLOUT, .revents = 0};
    if (all_.size() < kMostConnections) polled_[2] = {.fd = listener_, .events = POLLIN, .revents = 0};
    auto due = BridgeClock::time_point::max();
    for (const auto& [number, one] : all_) {
      if (one.fd < 0) {
        due = std::min(due, one.dial_at);
        continue;
      }
      short wanted = 0;
      if (!one.ended_here && one.may_send > 0 && out_.size() < kMostQueuedBytes) wanted |= POLLIN;
      if (!one.waiting.empty()) wanted |= POLLOUT;
      // poll() tells of a socket that has gone whether one asks or not, again and again.
      polled_.push_back({.fd = wanted != 0 ? one.fd : -1, .events = wanted, .revents = 0});
      numbers_.push_back(number);
    }
    if (listener_ >= 0) due = std::min(due, look_at_);
    int limit = -1;
    if (due != BridgeClock::time_point::max()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - BridgeClock::now()).count();
      limit = static_cast<int>(std::clamp<int64_t>(left + 1, 0, 1000));
    }
    if (::poll(polled_.data(), polled_.size(), limit) < 0)
      for (pollfd& each : polled_) each.revents = 0;
  }

  // A bridge that was begun before this one may come late, put its socket here, and end.
  Status look_after_socket() {
    if (BridgeClock::now() < look_at_) return {};
    look_at_ = BridgeClock::now() + kLookPause;
    if (place_of(options_.listen) == place_) return {};
    const int other = dial_at(options_.listen);
    if (other >= 0) {
      ::close(other);
      return {};
    }
    TRY(const int again, listen_at(options_.listen));
    ::close(std::exchange(listener_, again));
    place_ = place_of(options_.listen);
    polled_[2].revents = 0;  // of the former
    return {};
  }

  // Of the stream; false: it has ended.
  Result<bool> take() {
    const ssize_t got = ::read(options_.in, buffer_.data(), buffer_.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got < 0 && errno == ECONNRESET) return false;  // it ended before it had read all
    if (got < 0) return bridge_failed("the bridge");
    if (got == 0) {
      if (!reader_.between_frames()) return bad_input("the bridge: it broke off in the middle of a frame");
      return false;
    }
    TRY_STATUS(
        reader_.feed({buffer_.data(), static_cast<size_t>(got)}, [this](const Frame& frame) { return act(frame); }));
    return true;
  }

  // To the stream; false: nobody reads it any more, which may be seen before its end is.
  Result<bool> give() {
    size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t n = ::write(options_.out, out_.data() + sent, out_.size() - sent);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0 && errno == EPIPE) return false;
      if (n < 0) return bridge_failed("the bridge");
      sent += static_cast<size_t>(n);
    }
    out_.erase(0, sent);
    if (out_.size() > kMostUnreadBytes) return bad_input("the bridge: the other end sends and does not read");
    return true;
  }

  Status act(const Frame& frame) {
    if (frame.kind == Kind::kOpen) return opened(frame.connection);
    const auto found = all_.find(frame.connection);
    if (found == all_.end()) return {};  // it was closed here while this was on its way
    Carried& one = found->second;
    switch (frame.kind) {
      case Kind::kOpen:
        break;
      case Kind::kData:
        if (one.ended_there || frame.bytes.size() > one.may_come)
          return bad_input("the bridge: {} bytes came that nobody asked for", frame.bytes.size());
        one.may_come -= static_cast<uint32_t>(frame.bytes.size());
        one.waiting += frame.bytes;
        write_to(one, found->first);
        break;
      case Kind::kCredit:
        if (frame.credit > kWindowBytes - one.may_send) return bad_input("the bridge: more credit came than was used");
        one.may_send += frame.credit;
        break;
      case Kind::kEnd:
        one.ended_there = true;
        write_to(one, found->first);
        break;
      case Kind::kClose:
        if (one.fd >= 0) ::close(one.fd);
        all_.erase(found);
        break;
    }
    return {};
  }

  Status opened(uint32_t number) {
    if (options_.dial.empty() || all_.count(number) != 0)
      return bad_input("the bridge: a connection came that nobody waits for");
    if (all_.size() >= kMostConnections) {
      append_frame(out_, Kind::kClose, number);
      return {};
    }
    Carried& one = all_[number];
    one.since = one.dial_at = BridgeClock::now();
    return {};
  }

  void accept() {
    while (all_.size() < kMostConnections) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      all_[++last_].fd = fd;
      append_frame(out_, Kind::kOpen, last_);
    }
  }

  void dial_again() {
    const auto now = BridgeClock::now();
    for (auto it = all_.begin(); it != all_.end();) {
      auto& [number, one] = *it;
      if (one.fd >= 0 || now < one.dial_at) {
        ++it;
        continue;
      }
      one.fd = dial_at(options_.dial);
      if (one.fd < 0 && now - one.since >= options_.patience) {
        append_frame(out_, Kind::kClose, number);
        it = all_.erase(it);
        continue;
      }
      one.dial_at = now + kDialPause;
      if (one.fd >= 0) write_to(one, number);
      ++it;
    }
  }

  void read_from(Carried& one, uint32_t number) {
    if (one.ended_here || one.may_send == 0) return;
    const ssize_t got = ::recv(one.fd, buffer_.data(), std::min<size_t>(one.may_send, kMostFrameBytes), 0);
    if (got > 0) {
      one.may_send -= static_cast<uint32_t>(got);
      append_frame(out_, Kind::kData, number, {buffer_.data(), static_cast<size_t>(got)});
    } else if (got == 0) {
      one.ended_here = true;
      append_frame(out_, Kind::kEnd, number);
    } else if (errno != EAGAIN && errno != EINTR) {
      broken_.push_back(number);
    }
  }

  void write_to(Carried& one, uint32_t number) {
    if (one.fd < 0) return;
    size_t sent = 0;
    while (sent < one.waiting.size()) {
      const ssize_t n = ::send(one.fd, one.waiting.data() + sent, one.waiting.size() - sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN) broken_.push_back(number);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    one.waiting.erase(0, sent);
    if (sent > 0) {
      one.may_come += static_cast<uint32_t>(sent);
      append_credit(out_, number, static_cast<uint32_t>(sent));
    }
    if (one.ended_there && one.waiting.empty() && !one.told) {
      ::shutdown(one.fd, SHUT_WR);
      one.told = true;
    }
  }

  void drop_what_is_over() {
    for (const uint32_t number : broken_) {
      const auto found = all_.find(number);
      if (found == all_.end()) continue;
      append_frame(out_, Kind::kClose, number);
      ::close(found->second.fd);
      all_.erase(found);
    }
    broken_.clear();
    for (auto it = all_.begin(); it != all_.end();) {
      const bool over = it->second.ended_here && it->second.told;
      if (over) ::close(it->second.fd);
      it = over ? all_.erase(it) : std::next(it);
    }
  }

  const BridgeOptions& options_;
  int listener_ = -1;
  ino_t place_ = 0;  // of its socket
  BridgeClock::time_point look_at_;
  uint32_t last_ = 0;  // number that was given to a connection of this end
  std::map<uint32_t, Carried> all_;
  std::vector<uint32_t> broken_;
  FrameReader reader_;
  std::string out_;  // frames for the stream
  std::vector<pollfd> polled_;
  std::vector<uint32_t> numbers_;  // of the connections in polled_
  std::array<char, size_t{64} << 10> buffer_{};
};

}  // namespace

Status run_bridge(const BridgeOptions& options) {
  Bridge bridge(options);
  return bridge.run();
}

}  // namespace onsight::agents::bridge
