// Server: HTTP/1.1 on one address, or on unix sockets, until it is told to stop. One thread moves bytes, a few run
// handlers.
//
//   Site site;
//   site.handle = [](HttpRequest request, std::shared_ptr<Exchange> exchange) { exchange->respond({.body = "Hello"});
//   }; TRY(std::unique_ptr<Server> server, Server::listen({.port = 8080}, site)); server->run();
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/result.h"
#include "net/http.h"
#include "net/request_reader.h"
#include "net/tls.h"

namespace onsight::net {

// A socket in the file system. A file that a dead process has left there is replaced, one of a living process is an
// error, as is what is no socket; at the end the file is removed.
struct UnixSocket {
  Path path;                  // at most 107 bytes
  int mode = 0600;            // who may connect
  std::string peer = "unix";  // what HttpRequest::peer says of all who come by it
};

struct ServerOptions {
  std::optional<UnixSocket> unix_socket = {};  // in place of host and port
  std::string host = "127.0.0.1";              // an address, or "localhost"
  uint16_t port = 0;                           // 0: any that is free
  std::shared_ptr<const Tls> tls = {};         // null: HTTP without it
  int handler_threads = 4;     // and one for requests without a body: how the server is must be told while others work
  int max_connections = 1000;  // more are answered 503
  ReaderLimits reader = {};
  uint64_t all_body_bytes = 512 << 20;  // of requests being read and handled together; one more is 503
  // For the whole head and the whole body of a request: longer is 408. A connection without a request is closed, and
  // one on which TLS is not agreed on within head_time.
  std::chrono::milliseconds head_time{10'000}, body_time{60'000}, idle_time{60'000};
  std::chrono::milliseconds write_time{30'000};  // without a byte of an answer taken, the connection is dropped
  std::chrono::milliseconds ping_time{15'000};   // without an event on a stream of events, a comment is sent
  size_t send_bytes = 1 << 20;                   // of a stream that wait for a slow reader; one more drops it
  std::chrono::milliseconds drain_time{30'000};  // for answers that are being written when the server stops
  bool stop_on_signals = false;                  // SIGINT and SIGTERM; the second one does not wait for answers
};

// What a server serves. `handle` runs on the handlers' threads, the others on the thread of the server: they must not
// wait.
struct Site {
  // Looks at a request before its body is read; what it returns is the answer.
  std::function<std::optional<HttpResponse>(const HttpRequest& head)> refuse;
  std::function<void(HttpRequest request, std::shared_ptr<Exchange> exchange)> handle;
  // The answer to what could not be read, or handled. `head` has of the path what was read.
  std::function<HttpResponse(const HttpRequest& head, int status, const std::string& message)> error;
  // Sees each answer as it begins, and may add to its headers.
  std::function<void(const HttpRequest& head, int status, Headers& headers)> answering;
};

class Server {
 public:
  // Listens from here on; requests wait until run().
  static Result<std::unique_ptr<Server>> listen(const ServerOptions& options, Site site);
  virtual ~Server() = default;
  virtual uint16_t port() const = 0;
  // Until stop() and the end of what was being answered then, at most ServerOptions::drain_time.
  virtual void run() = 0;
  virtual void stop() = 0;  // thread safe
  // Listens there too, until remove(), which also closes what has come by it. Thread safe.
  virtual Status add(const UnixSocket& socket) = 0;
  virtual void remove(const Path& socket) = 0;
  virtual int connections() const = 0;  // thread safe
};

}  // namespace onsight::net
