// Channel: the bytes of one connection, plain or TLS, read and written by one thread that waits. Every wait ends when
// its time is over, when the broker stops, and, where `client` is given, when the agent at the other end has gone.
//
//   Waiting waiting{.stopping = &stopping, .client = client->descriptor()};
//   TRY(auto upstream, dial(address, waiting, Clock::now() + 10s));
//   TRY(upstream, tls.connect(std::move(upstream), "api.anthropic.com", waiting, until));
//   TRY(size_t n, upstream->read(buffer, sizeof buffer, waiting, until));  // 0: the end
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agents/broker/allow_list.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::broker {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Waiting {
  const std::atomic<bool>* stopping = nullptr;
  int client = -1;  // -1: it does not matter whether it is still there
};

// Error::reason: "timeout", "gone" (the client), "stopping".
Status wait_for(int fd, short events, const Waiting& waiting, Time until);
bool has_hung_up(int fd);

class Channel {
 public:
  virtual ~Channel() = default;
  virtual int descriptor() const = 0;
  // Bytes are there without waiting.
  virtual bool pending() const { return false; }
  virtual Result<size_t> read(char* to, size_t most, const Waiting& waiting, Time until) = 0;  // 0: the end
  virtual Status write(std::string_view bytes, const Waiting& waiting, Time until) = 0;
  virtual void end_sending() = 0;
};

std::unique_ptr<Channel> make_channel(Descriptor socket);  // makes it non-blocking

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  std::string text() const;
};

// All addresses of a name. The broker asks once, judges what it got, and connects to that.
using Resolver = std::function<Result<std::vector<Address>>(const std::string& host, int port)>;
Result<std::vector<Address>> resolve(const std::string& host, int port);
Result<Address> literal_address(const Authority& at);

// The address to connect to. `private_ok`: the configuration itself names it as an address or "localhost".
// Error::reason: "private_address" where any of a name's addresses is not of the public internet, "unreachable" where
// it has none.
Result<std::vector<Address>> judged_addresses(const Authority& at, bool private_ok, const Resolver& resolver);

using Dial = std::function<Result<Descriptor>(const Address& address, const Waiting& waiting, Time until)>;
Result<Descriptor> dial(const Address& address, const Waiting& waiting, Time until);

// What upstreams have to prove: a certificate for the host, of an authority that this machine knows or that is named
// here.
class TlsClient {
 public:
  static Result<std::shared_ptr<const TlsClient>> make(const Path& more_authorities);
  virtual ~TlsClient() = default;
  virtual Result<std::unique_ptr<Channel>> connect(Descriptor socket, const Authority& to, const Waiting& waiting,
                                                   Time until) const = 0;
};

}  // namespace onsight::agents::broker
