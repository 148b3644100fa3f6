#include "net/stream.h"

#include <boost/asio/buffer.hpp>

namespace onsight::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorOf = boost::system::error_code;

class PlainStream : public Stream {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}
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
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }
  void close() override {
    ErrorOf ignored;
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

}  // namespace

std::unique_ptr<Stream> make_stream(tcp::socket socket) { return std::make_unique<PlainStream>(std::move(socket)); }

}  // namespace onsight::net
