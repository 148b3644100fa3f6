#include "net/stream.h"

#include <boost/asio/buffer.hpp>

namespace onsight::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::local::stream_protocol;
using ErrorOf = boost::system::error_code;

template <class Socket>
class PlainStream : public Stream {
 public:
  explicit PlainStream(Socket socket) : socket_(std::move(socket)) {}
  bool secure() const override { return false; }
  void open(std::function<void(Opened)> done) override { done(Opened::kYes); }
  void read_some(char* to, size_t most, Done done) override {
    socket_.async_read_some(asio::buffer(to, most), std::move(done));
  }
  void write_some(std::string_view bytes, Done done) override {
    socket_.async_write_some(asio::buffer(bytes.data(), bytes.size()), std::move(done));
  }
  void end_sending(std::shared_ptr<void>) override {
    ErrorOf ignored;
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  }
  void close() override {
    ErrorOf ignored;
    socket_.close(ignored);
  }
  void cancel() override {
    ErrorOf ignored;
    socket_.cancel(ignored);
  }
  int release() override {
    ErrorOf error;
    const int socket = socket_.release(error);
    return error ? -1 : socket;
  }

 private:
  Socket socket_;
};

}  // namespace

std::unique_ptr<Stream> make_stream(tcp::socket socket) {
  return std::make_unique<PlainStream<tcp::socket>>(std::move(socket));
}
std::unique_ptr<Stream> make_stream(stream_protocol::socket socket) {
  return std::make_unique<PlainStream<stream_protocol::socket>>(std::move(socket));
}

}  // namespace onsight::net
