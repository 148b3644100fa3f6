#include "net/connection.h"

#include <boost/asio/post.hpp>

#include "net/raw_stream.h"
#include "net/sse.h"

namespace onsight::net {
namespace {

namespace asio = boost::asio;
using ErrorOf = boost::system::error_code;

constexpr size_t kReadAhead = 64 << 10;                  // of requests behind the one that is answered
constexpr std::chrono::milliseconds kLingerTime{2'000};  // for the client to read an answer before the line is cut
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Outlives its connection, and the server, if it must.
class ConnectionExchange : public Exchange {
 public:
  ConnectionExchange(std::shared_ptr<asio::io_context> io, std::weak_ptr<Connection> connection, uint64_t number)
      : io_(std::move(io)), connection_(std::move(connection)), number_(number) {}
  ~ConnectionExchange() override {
    try {
      post([n = number_](Connection& c) { c.abandon(n, false); });
    } catch (const std::exception&) {  // no memory to say that there is no answer: a deadline will
    }
  }

  void respond(HttpResponse response) override {
    post([n = number_, response = std::move(response)](Connection& c) mutable { c.respond(n, std::move(response)); });
  }
  void start_stream(int status, Headers headers) override {
    post([n = number_, status, headers = std::move(headers)](Connection& c) mutable {
      c.start_stream(n, status, std::move(headers));
    });
  }
  void write(std::string bytes) override {
    post([n = number_, bytes = std::move(bytes)](Connection& c) { c.write(n, bytes); });
  }
  void finish() override {
    post([n = number_](Connection& c) { c.finish(n); });
  }
  void abort() override {
    post([n = number_](Connection& c) { c.abandon(n, true); });
  }
  void take_over(int status, Headers headers, Taken taken) override {
    post([n = number_, status, headers = std::move(headers), taken = std::move(taken)](Connection& c) mutable {
      c.take_over(n, status, std::move(headers), std::move(taken));
    });
  }
  void on_gone(std::function<void(Gone)> callback) override {
    auto connection = connection_;
    asio::post(*io_, [connection, n = number_, callback = std::move(callback)]() mutable {
      if (auto c = connection.lock())
        c->on_gone(n, std::move(callback));
      else
        callback(Gone::kClient);
    });
  }
  void end_after(std::chrono::milliseconds time) override {
    post([n = number_, time](Connection& c) { c.end_after(n, time); });
  }

 private:
  template <class Action>
  void post(Action action) {
    asio::post(*io_, [connection = connection_, action = std::move(action)]() mutable {
      if (auto c = connection.lock()) action(*c);
    });
  }

  std::shared_ptr<asio::io_context> io_;
  std::weak_ptr<Connection> connection_;
  uint64_t number_;
};

}  // namespace

Connection::Connection(std::shared_ptr<asio::io_context> io, std::unique_ptr<Stream> stream, Peer peer, Host& host)
    : io_(std::move(io)),
      stream_(std::move(stream)),
      deadline_(*io_),
      time_limit_(*io_),
      host_(host),
      peer_(std::move(peer)),
      reader_(host.options().reader) {}

void Connection::start() {
  open([this] {
    phase_ = Phase::kIdle;
    arm(host_.options().head_time);
    read();
  });
}

void Connection::refuse(int status, const std::string& message) {
  open([this, status, message] { fail(status, message); });
}

// `next` runs if the client can be spoken to; no later than close(), of which `this` is sure.
void Connection::open(std::function<void()> next) {
  arm(host_.options().head_time);
  stream_->open([self = shared_from_this(), next = std::move(next)](Stream::Opened opened) {
    if (self->phase_ == Phase::kClosed) return;
    if (opened == Stream::Opened::kNo) return self->close();
    if (opened == Stream::Opened::kPlain) return self->fail(400, "the connection: expected TLS, as https:// has it");
    next();
  });
}

void Connection::drain() {
  draining_ = true;
  keep_alive_ = false;
  if (phase_ == Phase::kIdle || phase_ == Phase::kOpening) close();
}

void Connection::read() {
  if (reading_ || phase_ == Phase::kClosed || taken_) return;
  if (phase_ == Phase::kAnswering && in_.size() >= kReadAhead) return;
  reading_ = true;
  stream_->read_some(chunk_.data(), chunk_.size(), [self = shared_from_this()](const ErrorOf& error, size_t bytes) {
    self->reading_ = false;
    if (!error) return self->on_read(bytes);
    if (error == asio::error::operation_aborted) return self->hand_over();
    if (self->taken_ && error == asio::error::eof) return self->hand_over();  // who takes it reads the end again
    self->tell_gone(Gone::kClient);
    self->close();
  });
}

void Connection::on_read(size_t bytes) {
  if (phase_ != Phase::kLingering) in_.append(chunk_.data(), bytes);
  if (taken_) return hand_over();
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kHead;
    arm(host_.options().head_time);
  }
  consume();
  read();
}

void Connection::consume() {
  while (phase_ == Phase::kHead || phase_ == Phase::kBody) {
    in_.erase(0, reader_.feed(in_));
    switch (reader_.state()) {
      case RequestReader::State::kFailed:
        head_ = reader_.head();
        return fail(reader_.status(), reader_.message());
      case RequestReader::State::kHead:
        return;
      case RequestReader::State::kBody: {
        if (phase_ == Phase::kBody) return;  // more of it must come
        phase_ = Phase::kBody;
        head_ = reader_.head();
        head_.peer = peer_.name;
        head_.peer_uid = peer_.uid;
        const auto refusal = host_.site().refuse ? host_.site().refuse(head_) : std::nullopt;
        if (refusal) {
          begin_answer();
          in_.erase(0, reader_.feed(in_));
          // A body that is still to come is not wanted.
          if (reader_.state() != RequestReader::State::kDone) keep_alive_ = false;
          respond(exchange_, *refusal);
          return;
        }
        lease_ = host_.lease(body_bytes(head_));
        if (!lease_) return fail(503, "the server holds as many bodies of requests as it may, try again soon");
        if (reader_.expects_continue() && in_.empty()) send(kContinue);
        arm(host_.options().body_time);
        break;
      }
      case RequestReader::State::kDone: {
        begin_answer();
        HttpRequest request = reader_.take();
        request.peer = peer_.name;
        request.peer_uid = peer_.uid;
        // As a proxy in front would say it: uploads are answered with URLs of this server.
        if (stream_->secure()) request.headers.set("X-Forwarded-Proto", "https");
        request.lease = std::move(lease_);
        host_.dispatch(std::move(request), std::make_shared<ConnectionExchange>(io_, weak_from_this(), exchange_));
        return;
      }
    }
  }
}

// What a body may come to, before it is there.
uint64_t Connection::body_bytes(const HttpRequest& head) const {
  const uint64_t most = host_.options().reader.body_bytes;
  uint64_t bytes = 0;
  if (const std::string* length = head.headers.find("Content-Length")) {
    for (const char digit : *length)
      if (digit >= '0' && digit <= '9' && bytes < most) bytes = bytes * 10 + static_cast<uint64_t>(digit - '0');
    return std::min(bytes, most);
  }
  return head.headers.find("Transfer-Encoding") ? most : 0;
}

void Connection::begin_answer() {
  deadline_.cancel();
  phase_ = Phase::kAnswering;
  ++exchange_;
  keep_alive_ = head_.keep_alive && !draining_;
  streaming_ = events_ = chunked_ = finished_ = false;
  gone_callbacks_.clear();
  gone_.reset();
}

void Connection::fail(int status, const std::string& message) {
  begin_answer();
  keep_alive_ = false;
  lease_.reset();
  const auto& error = host_.site().error;
  respond(exchange_, error ? error(head_, status, message)
                           : HttpResponse{status, {{"Content-Type", "text/plain; charset=utf-8"}}, message + "\n"});
}

void Connection::send_head(int status, Headers headers, std::optional<size_t> length) {
  if (host_.site().answering) host_.site().answering(head_, status, headers);
  const bool bodiless = status == 204 || status == 304;
  if (length && !bodiless) headers.add("Content-Length", std::to_string(*length));
  if (chunked_) headers.add("Transfer-Encoding", "chunked");
  if (!keep_alive_)
    headers.add("Connection", "close");
  else if (head_.version < 11)
    headers.add("Connection", "keep-alive");
  send(head_of(status, headers));
}

void Connection::respond(uint64_t exchange, HttpResponse response) {
  if (!current(exchange) || streaming_) return;
  send_head(response.status, std::move(response.headers), response.body.size());
  finished_ = true;
  if (head_.method != "HEAD" && response.status != 204 && response.status != 304) send(response.body);
}

void Connection::start_stream(uint64_t exchange, int status, Headers headers) {
  if (!current(exchange) || streaming_) return;
  streaming_ = true;
  events_ = headers.get("Content-Type").starts_with("text/event-stream");
  chunked_ = head_.version >= 11;
  if (!chunked_) keep_alive_ = false;  // the end of the connection is the end of the answer
  send_head(status, std::move(headers), {});
}

void Connection::write(uint64_t exchange, std::string_view bytes) {
  if (!current(exchange) || !streaming_ || bytes.empty()) return;
  if (out_.size() + (sending_.size() - sent_) + bytes.size() > host_.options().send_bytes) {
    tell_gone(Gone::kClient);
    return close();
  }
  if (chunked_) {
    send(fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes));
  } else {
    send(bytes);
  }
}

void Connection::finish(uint64_t exchange) {
  if (!current(exchange) || !streaming_) return;
  finished_ = true;
  if (chunked_) return send("0\r\n\r\n");
  if (!writing_) on_all_sent();
}

void Connection::take_over(uint64_t exchange, int status, Headers headers, Exchange::Taken taken) {
  if (!current(exchange) || streaming_) return;
  if (stream_->secure()) return fail(501, "a connection with TLS cannot change its protocol here");
  finished_ = true;  // of the exchange; what is written from here on is not HTTP
  time_limit_.cancel();
  gone_callbacks_.clear();
  taken_ = std::move(taken);
  if (host_.site().answering) host_.site().answering(head_, status, headers);
  send(head_of(status, headers));
  if (reading_) stream_->cancel();
}

// Once the head is sent, and no read waits.
void Connection::hand_over() {
  if (!taken_ || reading_ || writing_ || phase_ == Phase::kClosed) return;
  const auto taken = std::exchange(taken_, {});
  const int socket = stream_->release();
  auto raw = socket < 0 ? nullptr : std::make_unique<RawStream>(socket, std::move(in_));
  close();
  if (raw) taken(std::move(raw));
}

void Connection::abandon(uint64_t exchange, bool aborted) {
  if (!current(exchange)) return;
  if (streaming_ || aborted) return close();
  fail(500, "the request was not answered");
}

void Connection::on_gone(uint64_t exchange, std::function<void(Gone)> callback) {
  if (exchange != exchange_ || phase_ != Phase::kAnswering) return callback(Gone::kClient);
  if (gone_) return callback(*gone_);
  gone_callbacks_.push_back(std::move(callback));
}

void Connection::end_after(uint64_t exchange, std::chrono::milliseconds time) {
  if (!current(exchange)) return;
  time_limit_.expires_after(time);
  time_limit_.async_wait([self = shared_from_this(), exchange](const ErrorOf& error) {
    if (!error && self->current(exchange)) self->tell_gone(Gone::kTimeLimit);
  });
}

void Connection::tell_gone(Gone why) {
  if (phase_ != Phase::kAnswering || gone_) return;
  gone_ = why;
  const auto callbacks = std::move(gone_callbacks_);
  gone_callbacks_.clear();
  for (const auto& callback : callbacks) callback(why);
}

void Connection::send(std::string_view bytes) {
  out_ += bytes;
  if (!writing_) write_some();
}

void Connection::write_some() {
  if (phase_ == Phase::kClosed) return;
  if (sent_ == sending_.size()) {
    sending_ = std::move(out_);
    out_.clear();
    sent_ = 0;
  }
  writing_ = true;
  if (phase_ == Phase::kAnswering) arm(host_.options().write_time);
  stream_->write_some(std::string_view(sending_).substr(sent_),
                      [self = shared_from_this()](const ErrorOf& error, size_t bytes) {
                        self->writing_ = false;
                        if (error) {
                          self->tell_gone(Gone::kClient);
                          return self->close();
                        }
                        self->sent_ += bytes;
                        if (self->sent_ < self->sending_.size() || !self->out_.empty()) return self->write_some();
                        self->on_all_sent();
                      });
}

void Connection::on_all_sent() {
  if (phase_ != Phase::kAnswering) return;
  deadline_.cancel();
  if (taken_) return hand_over();
  if (!finished_) {
    if (events_) arm(host_.options().ping_time);
    return;
  }
  if (keep_alive_ && !draining_) return next_request();
  linger();
}

void Connection::next_request() {
  time_limit_.cancel();
  gone_callbacks_.clear();
  reader_ = RequestReader(host_.options().reader);
  head_ = {};
  phase_ = in_.empty() ? Phase::kIdle : Phase::kHead;
  arm(in_.empty() ? host_.options().idle_time : host_.options().head_time);
  consume();
  read();
}

// A line that is cut while the client still sends takes the answer from it: first it may read and close.
void Connection::linger() {
  phase_ = Phase::kLingering;
  time_limit_.cancel();
  gone_callbacks_.clear();
  in_.clear();
  stream_->end_sending(shared_from_this());
  arm(kLingerTime);
  read();
}

void Connection::arm(std::chrono::milliseconds time) {
  deadline_.expires_after(time);
  deadline_.async_wait([self = shared_from_this()](const ErrorOf& error) {
    if (!error && self->deadline_.expiry() <= std::chrono::steady_clock::now()) self->on_deadline();
  });
}

void Connection::on_deadline() {
  switch (phase_) {
    case Phase::kHead:
      reader_.give_up(in_);
      head_ = reader_.head();
      return fail(
          408, fmt::format("the head of the request: expected within {} s", host_.options().head_time.count() / 1000));
    case Phase::kBody:
      return fail(
          408, fmt::format("the body of the request: expected within {} s", host_.options().body_time.count() / 1000));
    case Phase::kAnswering:
      // What lies between, and a client that went without a word, shows itself.
      if (!writing_ && events_) return write(exchange_, sse_comment());
      if (!writing_) return;
      tell_gone(Gone::kClient);
      return close();
    case Phase::kOpening:
    case Phase::kIdle:
    case Phase::kLingering:
      return close();
    case Phase::kClosed:
      return;
  }
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  gone_callbacks_.clear();
  taken_ = {};
  deadline_.cancel();
  time_limit_.cancel();
  stream_->close();
  host_.closed(shared_from_this());
}

}  // namespace onsight::net
