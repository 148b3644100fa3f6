// Connection: one client. It lives on the server's thread; its requests' Exchanges may be used from any other.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <string>
#include <vector>

#include "net/http.h"
#include "net/request_reader.h"
#include "net/server.h"
#include "net/stream.h"

namespace onsight::net {

class Connection;

// What a connection needs of its server.
class Host {
 public:
  virtual ~Host() = default;
  virtual const ServerOptions& options() const = 0;
  virtual const Site& site() const = 0;
  // Room for a body, until it is let go; null if there is none.
  virtual std::shared_ptr<const void> lease(uint64_t bytes) = 0;
  virtual void dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange) = 0;
  virtual void closed(const std::shared_ptr<Connection>& connection) = 0;
};

// Who is at the other end, and by which door it came.
struct Peer {
  std::string name;
  std::optional<uint32_t> uid = {};
  const void* door = nullptr;  // of the server's listening sockets
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<boost::asio::io_context> io, std::unique_ptr<Stream> stream, Peer peer, Host& host);
  const void* door() const { return peer_.door; }

  void start();
  void refuse(int status, const std::string& message);  // in place of start()
  void drain();                                         // closes behind the current answer, or now
  void tell_gone(Gone why);
  void close();

  // Of the exchange with that number; what comes for another is dropped.
  void respond(uint64_t exchange, HttpResponse response);
  void start_stream(uint64_t exchange, int status, Headers headers);
  void write(uint64_t exchange, std::string_view bytes);
  void finish(uint64_t exchange);
  void take_over(uint64_t exchange, int status, Headers headers, Exchange::Taken taken);
  void abandon(uint64_t exchange, bool aborted);
  void on_gone(uint64_t exchange, std::function<void(Gone)> callback);
  void end_after(uint64_t exchange, std::chrono::milliseconds time);

 private:
  enum class Phase { kOpening, kIdle, kHead, kBody, kAnswering, kLingering, kClosed };

  void open(std::function<void()> next);
  void read();
  void on_read(size_t bytes);
  void consume();
  uint64_t body_bytes(const HttpRequest& head) const;
  void begin_answer();
  void fail(int status, const std::string& message);
  void send_head(int status, Headers headers, std::optional<size_t> length);
  void send(std::string_view bytes);
  void write_some();
  void on_all_sent();
  void hand_over();
  void next_request();
  void linger();
  void arm(std::chrono::milliseconds time);
  void on_deadline();
  bool current(uint64_t exchange) const { return phase_ == Phase::kAnswering && exchange == exchange_ && !finished_; }

  std::shared_ptr<boost::asio::io_context> io_;
  std::unique_ptr<Stream> stream_;
  boost::asio::steady_timer deadline_, time_limit_;
  Host& host_;
  Peer peer_;

  Phase phase_ = Phase::kOpening;
  std::array<char, 16 << 10> chunk_{};
  std::string in_;  // read, and not yet understood
  bool reading_ = false, draining_ = false;
  RequestReader reader_;

  uint64_t exchange_ = 0;
  HttpRequest head_;                   // of the request that is being answered, without its body
  std::shared_ptr<const void> lease_;  // of its body, until a handler has it
  bool keep_alive_ = false, streaming_ = false, events_ = false, chunked_ = false, finished_ = false;
  std::vector<std::function<void(Gone)>> gone_callbacks_;
  std::optional<Gone> gone_;
  Exchange::Taken taken_;  // once the connection is to leave the server

  std::string out_, sending_;  // sending_ is with the system from sent_ on
  size_t sent_ = 0;
  bool writing_ = false;
};

}  // namespace onsight::net
