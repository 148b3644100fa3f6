#include "net/raw_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace onsight::net {
namespace {

constexpr size_t kRawReadBytes = 32 << 10;
constexpr std::chrono::milliseconds kRelayWriteTime{30'000};

int milliseconds_until(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000));
}

}  // namespace

bool wait_for(int socket, short events, Deadline deadline) {
  for (;;) {
    pollfd one{socket, events, 0};
    const int ready = ::poll(&one, 1, milliseconds_until(deadline));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // what is called next says what is wrong
    if (std::chrono::steady_clock::now() >= deadline) return false;
  }
}

Result<int> connect_unix(const std::string& path, Deadline deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path) || path.find('\0') != std::string::npos)
    return bad_input("{}: expected the path of a socket, of at most {} bytes", path, sizeof(address.sun_path) - 1);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return make_error(ErrorCode::kIo, "{}: cannot open a socket ({})", path, std::strerror(errno));
  for (;;) {
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return socket;
    const int error = errno;
    if (error == EINTR) continue;
    // A full queue of who listens: nothing tells when there is room.
    if (error == EAGAIN && std::chrono::steady_clock::now() < deadline) {
      ::poll(nullptr, 0, std::min(10, milliseconds_until(deadline)));
      continue;
    }
    ::close(socket);
    return make_error(ErrorCode::kIo, "{}: cannot connect to it ({})", path, std::strerror(error));
  }
}

RawStream::RawStream(int socket, std::string first) : socket_(socket), first_(std::move(first)) {
  ::fcntl(socket_, F_SETFL, ::fcntl(socket_, F_GETFL) | O_NONBLOCK);
}

RawStream::~RawStream() { ::close(socket_); }

Result<std::optional<std::string>> RawStream::read(std::chrono::milliseconds wait) {
  if (!first_.empty()) return std::optional(std::exchange(first_, {}));
  const Deadline deadline = std::chrono::steady_clock::now() + wait;
  std::array<char, kRawReadBytes> bytes;
  for (;;) {
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    if (got >= 0) return std::optional(std::string(bytes.data(), static_cast<size_t>(got)));
    if (errno == EINTR) continue;
    if (errno == ECONNRESET && shut_) return std::optional(std::string());
    if (errno != EAGAIN) return make_error(ErrorCode::kIo, "the connection: cannot be read ({})", std::strerror(errno));
    if (!wait_for(socket_, POLLIN, deadline)) return std::optional<std::string>();
  }
}

Status RawStream::write(std::string_view bytes, std::chrono::milliseconds limit) {
  const std::lock_guard lock(writing_);
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN)
      return make_error(ErrorCode::kIo, "the connection: the other side has gone ({})", std::strerror(errno));
    if (!wait_for(socket_, POLLOUT, std::chrono::steady_clock::now() + limit))
      return make_error(ErrorCode::kIo, "the connection: the other side has taken nothing for {} s",
                        limit.count() / 1000);
  }
  return {};
}

void RawStream::end_sending() { ::shutdown(socket_, SHUT_WR); }

void RawStream::shut() {
  shut_ = true;
  ::shutdown(socket_, SHUT_RDWR);
}

Relayed relay(RawStream& a, RawStream& b, std::chrono::milliseconds idle) {
  Relayed relayed;
  struct Way {
    RawStream &from, &to;
    uint64_t& bytes;
    bool open = true;
  };
  std::array<Way, 2> ways{Way{a, b, relayed.there}, Way{b, a, relayed.back}};
  while (ways[0].open || ways[1].open) {
    std::array<pollfd, 2> sockets{};
    bool waiting = true;
    for (size_t i = 0; i < 2; ++i) {
      sockets[i] = {ways[i].open ? ways[i].from.socket() : -1, POLLIN, 0};
      if (ways[i].open && ways[i].from.has_bytes()) waiting = false;
    }
    const Deadline deadline = std::chrono::steady_clock::now() + idle;
    int ready = 0;
    while (waiting && (ready = ::poll(sockets.data(), 2, milliseconds_until(deadline))) <= 0) {
      if ((ready < 0 && errno != EINTR) || std::chrono::steady_clock::now() >= deadline) return relayed;
    }
    for (size_t i = 0; i < 2; ++i) {
      Way& way = ways[i];
      if (!way.open || (sockets[i].revents == 0 && !way.from.has_bytes())) continue;
      const auto bytes = way.from.read(std::chrono::milliseconds(0));
      if (!bytes) return relayed;
      if (!*bytes) continue;
      if ((*bytes)->empty()) {
        way.open = false;
        way.to.end_sending();
        continue;
      }
      if (!way.to.write(**bytes, std::min(idle, kRelayWriteTime))) return relayed;
      way.bytes += (*bytes)->size();
    }
  }
  return relayed;
}

}  // namespace onsight::net
