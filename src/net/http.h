// HTTP as handlers see it: a request that has been read whole, and an Exchange through which it is answered.
//
//   void hello(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange) {
//     exchange->respond({200, {{"Content-Type", "text/plain"}}, "Hello"});
//   }
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onsight::net {

struct Headers {
  std::vector<std::pair<std::string, std::string>> fields;

  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> list) : fields(list) {}
  void add(std::string name, std::string value) { fields.emplace_back(std::move(name), std::move(value)); }
  void set(std::string_view name, std::string value);  // in place of all of that name
  // The first of that name, whatever its case; null without one.
  const std::string* find(std::string_view name) const;
  std::string_view get(std::string_view name) const;  // empty without one
  int count(std::string_view name) const;
};

bool equal_ignoring_case(std::string_view a, std::string_view b);

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // decoded, but for kEncodedSlash; begins with /, and has no empty, "." or ".." segments
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order
  Headers headers;
  std::string body;
  std::string target;  // as it came, for who passes it on
  // Where an absolute target ("http://host:port/path") or CONNECT ("host:port", whose path is "*") leads; only of a
  // server that is a proxy (ReaderLimits::proxy), else `host` is empty. Lower case; an IPv6 address without brackets.
  std::string scheme, host;
  int port = 0;
  std::string peer;                   // "127.0.0.1"; of a unix socket, its UnixSocket::peer
  std::optional<uint32_t> peer_uid;   // of a unix socket: whose the process is that has connected
  std::shared_ptr<const void> lease;  // of the memory of the body, as long as it is held
  int version = 11;                   // 10: HTTP/1.0
  bool keep_alive = true;

  std::string_view query_value(std::string_view name) const;  // empty without one
};

struct HttpResponse {
  int status = 200;
  Headers headers = {};
  std::string body = {};
};

std::string_view reason_phrase(int status);

// Status line and fields as they go over the wire, with the empty line. Control characters in fields become spaces.
std::string head_of(int status, const Headers& headers);

// Why an answer should end early.
enum class Gone {
  kClient,     // closed its connection, or reads too slowly
  kTimeLimit,  // end_after() has passed
  kStopping,   // the server ends, and its time to drain has passed
};

class RawStream;  // net/raw_stream.h

// The way back to the client of one request. All functions may be called from any thread, and none waits. Exactly one
// of respond(), start_stream() and take_over(); what comes after the client has gone is dropped. An Exchange that is
// let go without an answer answers 500.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void respond(HttpResponse response) = 0;
  virtual void start_stream(int status, Headers headers) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void finish() = 0;
  // Ends a stream so that the client can tell that it is not whole.
  virtual void abort() = 0;
  // Sends this head, and hands the connection over: the server forgets it, and its bytes are no longer HTTP (Upgrade,
  // CONNECT). `taken` gets it, on the thread of the server: it must not wait. Where the client has gone, it is let go
  // uncalled. What cannot be taken, as with TLS, answers 501.
  using Taken = std::function<void(std::unique_ptr<RawStream>)>;
  virtual void take_over(int status, Headers headers, Taken taken);
  // Called once, when there is a reason to end; at once if there has been. On the thread of the server: it must not
  // wait.
  virtual void on_gone(std::function<void(Gone)> callback) = 0;
  virtual void end_after(std::chrono::milliseconds time) = 0;
};

}  // namespace onsight::net
