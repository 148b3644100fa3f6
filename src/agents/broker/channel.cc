#include "agents/broker/channel.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/fetch.h"

namespace onsight::agents::broker {
namespace {

// How late a wait finds out that the broker stops.
constexpr std::chrono::milliseconds kSlice{500};

template <class... Args>
tl::unexpected<Error> because(std::string_view reason, fmt::format_string<Args...> format, Args&&... args) {
  auto out = make_error(ErrorCode::kIo, format, std::forward<Args>(args)...);
  out.value().reason = reason;
  return out;
}

void make_non_blocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

class PlainChannel : public Channel {
 public:
  explicit PlainChannel(Descriptor socket) : socket_(std::move(socket)) { make_non_blocking(socket_.get()); }
  int descriptor() const override { return socket_.get(); }

  Result<size_t> read(char* to, size_t most, const Waiting& waiting, Time until) override {
    for (;;) {
      const ssize_t n = ::recv(socket_.get(), to, most, 0);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        return because("connection", "the connection was lost ({})", std::strerror(errno));
      TRY_STATUS(wait_for(socket_.get(), POLLIN, waiting, until));
    }
  }

  Status write(std::string_view bytes, const Waiting& waiting, Time until) override {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        TRY_STATUS(wait_for(socket_.get(), POLLOUT, waiting, until));
      } else if (errno != EINTR) {
        return because("connection", "the connection was lost ({})", std::strerror(errno));
      }
    }
    return {};
  }

  void end_sending() override { ::shutdown(socket_.get(), SHUT_WR); }

 private:
  Descriptor socket_;
};

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

bool has_hung_up(int fd) {
  pollfd about{fd, POLLRDHUP, 0};
  return ::poll(&about, 1, 0) > 0 && (about.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

Status wait_for(int fd, short events, const Waiting& waiting, Time until) {
  for (;;) {
    if (waiting.stopping && waiting.stopping->load()) return because("stopping", "the broker ends");
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() <= 0) return because("timeout", "it took too long");
    // One that is the client's own is read to its end, so that what it sent last is not lost.
    const bool watches = waiting.client >= 0 && waiting.client != fd;
    std::array<pollfd, 2> about = {pollfd{fd, events, 0}, pollfd{waiting.client, POLLRDHUP, 0}};
    const int n = ::poll(about.data(), watches ? 2 : 1, static_cast<int>(std::min(left, kSlice).count()) + 1);
    if (n < 0 && errno != EINTR) return because("connection", "the connection was lost ({})", std::strerror(errno));
    if (n <= 0) continue;
    if (watches && (about[1].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
      return because("gone", "the client has gone");
    if (about[0].revents != 0) return {};
  }
}

std::unique_ptr<Channel> make_channel(Descriptor socket) { return std::make_unique<PlainChannel>(std::move(socket)); }

std::string Address::text() const {
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (storage.ss_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, out.data(), out.size());
  else if (storage.ss_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, out.data(), out.size());
  return out.data();
}

Result<std::vector<Address>> resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0)
    return because("unreachable", "{}: its address cannot be found ({})", host, ::gai_strerror(code));
  std::vector<Address> out;
  for (const addrinfo* at = found; at; at = at->ai_next) {
    if (at->ai_family != AF_INET && at->ai_family != AF_INET6) continue;
    Address address;
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.length = at->ai_addrlen;
    out.push_back(address);
  }
  ::freeaddrinfo(found);
  return out;
}

Result<Address> literal_address(const Authority& at) {
  Address out;
  if (at.v6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(at.port));
    out.length = sizeof(sockaddr_in6);
    if (::inet_pton(AF_INET6, at.host.c_str(), &v6->sin6_addr) == 1) return out;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(at.port));
    out.length = sizeof(sockaddr_in);
    if (::inet_pton(AF_INET, at.host.c_str(), &v4->sin_addr) == 1) return out;
  }
  return because("unreachable", "{}: expected an address", at.host);
}

Result<std::vector<Address>> judged_addresses(const Authority& at, bool private_ok, const Resolver& resolver) {
  std::vector<Address> found;
  if (at.address || at.host == "localhost") {
    Authority literal = at;
    if (!at.address) literal.host = "127.0.0.1";  // whatever a resolver makes of that name
    TRY(const Address address, literal_address(literal));
    found.push_back(address);
  } else {
    TRY(found, resolver(at.host, at.port));
    private_ok = false;  // a name is never private, whatever a rule says of it
  }
  if (found.empty()) return because("unreachable", "{}: it has no address", at.host);
  for (const Address& address : found)
    if (!private_ok && !net::is_public(*address.get()))
      return because("private_address", "{}: expected a host of the public internet, found a private address", at.host);
  return found;
}

Result<Descriptor> dial(const Address& address, const Waiting& waiting, Time until) {
  Descriptor socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return because("unreachable", "no socket can be opened ({})", std::strerror(errno));
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket.get(), address.get(), address.length) == 0) return socket;
  if (errno != EINPROGRESS) return because("unreachable", "it cannot be reached ({})", std::strerror(errno));
  TRY_STATUS(wait_for(socket.get(), POLLOUT, waiting, until));
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return because("unreachable", "it cannot be reached ({})", std::strerror(error));
  return socket;
}

}  // namespace onsight::agents::broker
