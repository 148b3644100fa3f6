// RawStream: bytes both ways over a connection that HTTP has left (a 101, or CONNECT's 200), at either end of it.
//
//   std::unique_ptr<RawStream> stream = ...;            // UnixClient::hijack(), Exchange::take_over()
//   TRY_STATUS(stream->write("ls\n"));
//   TRY(auto bytes, stream->read(std::chrono::seconds(1)));   // nullopt: nothing yet; empty: the end
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::net {

using Deadline = std::chrono::steady_clock::time_point;

// read() by one thread at a time; all others may be called from any thread.
class RawStream {
 public:
  // Takes the socket, which it closes; `first` was read from it already.
  RawStream(int socket, std::string first);
  ~RawStream();
  RawStream(const RawStream&) = delete;
  RawStream& operator=(const RawStream&) = delete;

  Result<std::optional<std::string>> read(std::chrono::milliseconds wait);
  // All of it, one writer after another. An error if the other side takes nothing for `limit`, or has gone.
  Status write(std::string_view bytes, std::chrono::milliseconds limit = std::chrono::seconds(30));
  void end_sending();  // the other side reads the end; what it sends can still be read
  void shut();         // ends both ways: a read() or write() that waits returns
  // Whether read() has bytes that the socket no longer has; for who polls the socket with others.
  bool has_bytes() const { return !first_.empty(); }
  int socket() const { return socket_; }

 private:
  const int socket_;
  std::string first_;
  std::mutex writing_;
  std::atomic<bool> shut_{false};
};

// Carries bytes between the two until both have ended, or none has come for `idle`; returns how many went from a to b
// and from b to a. What one side has ended, the other is told.
struct Relayed {
  uint64_t there = 0, back = 0;
};
Relayed relay(RawStream& a, RawStream& b, std::chrono::milliseconds idle);

// A socket of a path, connected; its errors name the path.
Result<int> connect_unix(const std::string& path, Deadline deadline);
// Waits until the socket can be read (POLLIN) or written (POLLOUT); false: the deadline has passed.
bool wait_for(int socket, short events, Deadline deadline);

}  // namespace onsight::net
