// UnixClient: HTTP/1.1 over a unix socket, a connection a request. Thread safe; what fails is a Result that names the
// socket, and nothing waits past its deadline.
//
//   UnixClient engine("/run/docker.sock");
//   TRY(HttpResponse version, engine.request({.target = "/version"}, seconds_from_now(10)));
//   TRY(auto raw, engine.hijack({.method = "POST", .target = "/containers/1/attach?stream=1"}, seconds_from_now(10)));
//   raw.stream->write("ls\n");
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"
#include "net/http.h"
#include "net/raw_stream.h"
#include "net/response_reader.h"

namespace onsight::net {

inline Deadline seconds_from_now(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
}

struct UnixRequest {
  std::string method = "GET", target = "/";
  Headers headers = {};  // besides Host, Connection and the body's length
  std::string body = {};
  // In place of `body`: called until it returns nothing; each piece is sent before the next is asked for. In chunks,
  // unless `body_bytes` says how many come.
  std::function<Result<std::string>()> body_pieces = {};
  std::optional<uint64_t> body_bytes = {};
  std::function<void(uint64_t sent)> progress = {};  // of the body
};

class UnixClient {
 public:
  using Sink = std::function<Status(std::string_view)>;
  struct Hijacked {
    HttpResponse head;
    std::unique_ptr<RawStream> stream;  // null: the server refused, and `head` has why in its body
  };

  explicit UnixClient(Path socket) : socket_(std::move(socket)) {}
  const Path& socket() const { return socket_; }

  Result<HttpResponse> request(const UnixRequest& request, Deadline deadline, const ResponseLimits& limits = {}) const;
  // The body of a 2xx goes to `sink` as it comes, without a bound but the deadline; an error of the sink ends it. Of
  // other answers the body is returned.
  Result<HttpResponse> stream(const UnixRequest& request, const Sink& sink, Deadline deadline,
                              const ResponseLimits& limits = {}) const;
  // Asks for the connection itself, for raw bytes both ways after a 101 or 2xx.
  Result<Hijacked> hijack(const UnixRequest& request, Deadline deadline, const ResponseLimits& limits = {}) const;

 private:
  Path socket_;
};

}  // namespace onsight::net
