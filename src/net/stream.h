// Stream: the bytes of one connection, over TCP, a unix socket or TLS. Every function runs on the thread of the server.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <string_view>

#include "net/tls.h"

namespace onsight::net {

class Stream {
 public:
  // kPlain: the client speaks HTTP where TLS was expected; from here on the stream is plain too, so that it can be
  // told.
  enum class Opened { kYes, kPlain, kNo };
  using Done = std::function<void(const boost::system::error_code& error, size_t bytes)>;

  virtual ~Stream() = default;
  virtual bool secure() const = 0;
  // Shakes hands, if that is to be done. Before all others; `done` is called once, maybe at once.
  virtual void open(std::function<void(Opened)> done) = 0;
  // At most one of each at a time. Like the sockets', `done` is never called from within; close() ends both.
  virtual void read_some(char* to, size_t most, Done done) = 0;
  virtual void write_some(std::string_view bytes, Done done) = 0;
  // Tells the client that nothing more comes; what it sends can still be read. `keep` lives until that is done.
  virtual void end_sending(std::shared_ptr<void> keep) = 0;
  virtual void close() = 0;
  // Ends a read that waits; its bytes stay in the socket.
  virtual void cancel() = 0;
  // The socket itself, of which this is the end; without a read or write in progress. -1 with TLS.
  virtual int release() = 0;
};

std::unique_ptr<Stream> make_stream(boost::asio::ip::tcp::socket socket);
std::unique_ptr<Stream> make_stream(boost::asio::local::stream_protocol::socket socket);
std::unique_ptr<Stream> make_stream(boost::asio::ip::tcp::socket socket, const std::shared_ptr<const Tls>& tls);

}  // namespace onsight::net
