#include "net/server.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/thread_pool.hpp>
#include <csignal>
#include <map>
#include <set>

#include "net/connection.h"
#include "net/unix_listener.h"

namespace onsight::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::local::stream_protocol;
using ErrorOf = boost::system::error_code;

constexpr int kRefusedAtOnce = 64;  // connections that are told that there are too many; others are cut
constexpr std::chrono::milliseconds kAcceptPause{100};  // after an error: no descriptor is free, mostly
constexpr std::chrono::milliseconds kLastWords{2'000};  // for answers that were ended when the server stops

// Ctrl-C stays ignored where the program was started so (nohup, a script's background job).
bool is_ignored(int signal) {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

class AsioServer : public Server, public Host {
 public:
  AsioServer(const ServerOptions& options, Site site)
      : options_(options),
        site_(std::move(site)),
        io_(std::make_shared<asio::io_context>(1)),
        acceptor_(*io_),
        signals_(*io_),
        timer_(*io_),
        handlers_(static_cast<size_t>(options.handler_threads)),
        bodiless_(1) {}

  ~AsioServer() override {
    for (asio::thread_pool* pool : {&handlers_, &bodiless_}) pool->stop();
    for (asio::thread_pool* pool : {&handlers_, &bodiless_}) pool->join();
    draining_ = true;
    close_all();
    for (const auto& [path, listener] : listeners_) listener->close();
    // What was cancelled must be told so before its memory goes.
    io_->restart();
    io_->poll();
  }

  Status open() {
    if (options_.unix_socket) {
      TRY_STATUS(add(*options_.unix_socket));
    } else {
      TRY_STATUS(open_tcp());
    }
    if (options_.stop_on_signals) wait_for_signals();
    return {};
  }

  Status open_tcp() {
    ErrorOf error;
    const auto address = asio::ip::make_address(options_.host == "localhost" ? "127.0.0.1" : options_.host, error);
    if (error) return make_error(ErrorCode::kUsage, "--host: expected an address, found '{}'", options_.host);
    const tcp::endpoint endpoint(address, options_.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      return make_error(ErrorCode::kIo, "{}:{}: cannot listen there ({})", options_.host, options_.port,
                        error.message());
    port_ = acceptor_.local_endpoint(error).port();
    return {};
  }

  Status add(const UnixSocket& socket) override {
    TRY(auto listener, UnixListener::open(*io_, socket));
    asio::post(*io_, [this, listener = std::move(listener)] {
      if (draining_) return;
      auto& place = listeners_[listener->path()];
      if (place) place->close();
      place = listener;
      accept(listener);
    });
    return {};
  }

  void remove(const Path& socket) override {
    asio::post(*io_, [this, socket] {
      const auto found = listeners_.find(socket);
      if (found == listeners_.end()) return;
      const auto listener = found->second;
      listeners_.erase(found);
      listener->close();
      const auto connections = connections_;
      for (const auto& connection : connections) {
        if (connection->door() != listener.get()) continue;
        connection->tell_gone(Gone::kClient);
        connection->close();
      }
    });
  }

  uint16_t port() const override { return port_; }
  int connections() const override { return count_; }

  void run() override {
    if (acceptor_.is_open()) accept();
    const auto work = asio::make_work_guard(*io_);  // without a socket one may still be added
    io_->run();
  }

  void stop() override {
    asio::post(*io_, [this] { drain(); });
  }

 private:
  const ServerOptions& options() const override { return options_; }
  const Site& site() const override { return site_; }

  std::shared_ptr<const void> lease(uint64_t bytes) override {
    const auto held = held_;
    if (held->fetch_add(bytes) + bytes > options_.all_body_bytes && bytes > 0) {
      held->fetch_sub(bytes);
      return nullptr;
    }
    return {held.get(), [held, bytes](const void*) { held->fetch_sub(bytes); }};
  }

  void dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange) override {
    asio::thread_pool& pool = request.body.empty() ? bodiless_ : handlers_;
    asio::post(pool, [this, request = std::move(request), exchange = std::move(exchange)]() mutable {
      try {
        site_.handle(std::move(request), std::move(exchange));
      } catch (const std::exception&) {  // the exchange, let go, answers 500
      }
    });
  }

  void closed(const std::shared_ptr<Connection>& connection) override {
    connections_.erase(connection);
    count_ = static_cast<int>(connections_.size());
    if (draining_ && connections_.empty()) io_->stop();
  }

  void accept() {
    acceptor_.async_accept([this](const ErrorOf& error, tcp::socket socket) {
      if (draining_ || error == asio::error::operation_aborted) return;
      if (error) return accept_later([this] { accept(); });
      welcome(std::move(socket));
      accept();
    });
  }

  void accept(const std::shared_ptr<UnixListener>& listener) {
    listener->acceptor().async_accept([this, listener](const ErrorOf& error, stream_protocol::socket socket) {
      if (draining_ || error == asio::error::operation_aborted || !listener->acceptor().is_open()) return;
      if (error) return accept_later([this, listener] { accept(listener); });
      welcome(std::move(socket), listener);
      accept(listener);
    });
  }

  void accept_later(std::function<void()> again) {
    auto timer = std::make_shared<asio::steady_timer>(*io_, kAcceptPause);
    timer->async_wait([this, timer, again = std::move(again)](const ErrorOf& cancelled) {
      if (!cancelled && !draining_) again();
    });
  }

  void welcome(tcp::socket socket) {
    if (is_crowded()) return;
    ErrorOf ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const auto endpoint = socket.remote_endpoint(ignored);
    Peer peer{.name = ignored ? "unknown" : endpoint.address().to_string()};
    welcome(options_.tls ? make_stream(std::move(socket), options_.tls) : make_stream(std::move(socket)),
            std::move(peer));
  }

  void welcome(stream_protocol::socket socket, const std::shared_ptr<UnixListener>& listener) {
    if (is_crowded()) return;
    Peer peer{.name = listener->peer(), .uid = peer_uid(socket.native_handle()), .door = listener.get()};
    welcome(make_stream(std::move(socket)), std::move(peer));
  }

  bool is_crowded() const { return static_cast<int>(connections_.size()) >= options_.max_connections + kRefusedAtOnce; }

  void welcome(std::unique_ptr<Stream> stream, Peer peer) {
    const int others = static_cast<int>(connections_.size());
    auto connection = std::make_shared<Connection>(io_, std::move(stream), std::move(peer), *this);
    connections_.insert(connection);
    count_ = static_cast<int>(connections_.size());
    if (others < options_.max_connections)
      connection->start();
    else
      connection->refuse(503, fmt::format("{} connections are open already, which is the limit", others));
  }

  void wait_for_signals() {
    ErrorOf ignored;
    for (const int signal : {SIGINT, SIGTERM})
      if (!is_ignored(signal)) signals_.add(signal, ignored);
    signals_.async_wait([this](const ErrorOf& error, int) {
      if (error) return;
      if (draining_)
        end_answers();
      else
        drain();
      wait_for_signals();
    });
  }

  void drain() {
    if (draining_) return;
    draining_ = true;
    ErrorOf ignored;
    acceptor_.close(ignored);
    for (const auto& [path, listener] : listeners_) listener->close();
    listeners_.clear();
    const auto connections = connections_;
    for (const auto& connection : connections) connection->drain();
    if (connections_.empty()) return io_->stop();
    timer_.expires_after(options_.drain_time);
    timer_.async_wait([this](const ErrorOf& error) {
      if (!error) end_answers();
    });
  }

  void end_answers() {
    const auto connections = connections_;
    for (const auto& connection : connections) connection->tell_gone(Gone::kStopping);
    timer_.expires_after(kLastWords);
    timer_.async_wait([this](const ErrorOf& error) {
      if (error) return;
      close_all();
      io_->stop();
    });
  }

  void close_all() {
    const auto connections = connections_;
    for (const auto& connection : connections) connection->close();
  }

  const ServerOptions options_;
  // Bytes of bodies in memory. Leases may outlive the server.
  std::shared_ptr<std::atomic<uint64_t>> held_ = std::make_shared<std::atomic<uint64_t>>(0);
  const Site site_;
  std::shared_ptr<asio::io_context> io_;
  tcp::acceptor acceptor_;
  std::map<Path, std::shared_ptr<UnixListener>> listeners_;
  asio::signal_set signals_;
  asio::steady_timer timer_;
  asio::thread_pool handlers_, bodiless_;
  std::set<std::shared_ptr<Connection>> connections_;
  std::atomic<int> count_{0};
  uint16_t port_ = 0;
  bool draining_ = false;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(const ServerOptions& options, Site site) {
  try {
    auto server = std::make_unique<AsioServer>(options, std::move(site));
    TRY_STATUS(server->open());
    return server;
  } catch (const std::exception& error) {
    return make_error(
        ErrorCode::kIo, "{}: cannot listen there ({})",
        options.unix_socket ? options.unix_socket->path.string() : fmt::format("{}:{}", options.host, options.port),
        error.what());
  }
}

}  // namespace onsight::net
