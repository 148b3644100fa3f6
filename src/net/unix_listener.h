// UnixListener: a unix socket that a server listens on. Its file goes with it.
//
//   TRY(auto listener, UnixListener::open(io, {.path = "/run/onsight/control.sock"}));
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "net/server.h"

namespace onsight::net {

class UnixListener {
 public:
  static Result<std::shared_ptr<UnixListener>> open(boost::asio::io_context& io, const UnixSocket& socket);
  ~UnixListener() { close(); }
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;

  boost::asio::local::stream_protocol::acceptor& acceptor() { return acceptor_; }
  const Path& path() const { return socket_.path; }
  const std::string& peer() const { return socket_.peer; }
  void close();  // and removes the file, if it is still this one's

 private:
  UnixListener(boost::asio::io_context& io, const UnixSocket& socket) : acceptor_(io), socket_(socket) {}

  boost::asio::local::stream_protocol::acceptor acceptor_;
  UnixSocket socket_;
  bool bound_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Of the process that has connected.
std::optional<uint32_t> peer_uid(int socket);

}  // namespace onsight::net
