#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "net/stream.h"

namespace onsight::net {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using ErrorOf = boost::system::error_code;

constexpr uint64_t kMaxPemBytes = 1 << 20;

// The protocols that a client offers, each behind a byte of its length.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* length, const unsigned char* offered,
                    unsigned int bytes, void*) {
  static constexpr unsigned char kHttp[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, length, kHttp, sizeof(kHttp), offered, bytes) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

int no_passphrase(char*, int, int, void*) { return -1; }

std::string last_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason ? reason : "no PEM in it";
}

class OpenSslTls : public Tls {
 public:
  Status open(const Path& certificate, const Path& key) {
    SSL_CTX* const native = context.native_handle();
    context.set_options(ssl::context::default_workarounds | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
    SSL_CTX_set_alpn_select_cb(native, choose_protocol, nullptr);
    SSL_CTX_set_default_passwd_cb(native, no_passphrase);
    TRY(const std::string chain, read_file(certificate, kMaxPemBytes));
    ErrorOf error;
    context.use_certificate_chain(asio::buffer(chain), error);
    ERR_clear_error();
    if (error)
      return bad_input("{}: expected a certificate with its chain in PEM ({})", certificate.string(), error.message());
    TRY(const std::string pem, read_file(key, kMaxPemBytes));
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                        &BIO_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> found(
        bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr, &EVP_PKEY_free);
    if (!found)
      return bad_input("{}: expected a private key in PEM, without a passphrase ({})", key.string(), last_reason());
    if (SSL_CTX_use_PrivateKey(native, found.get()) != 1 || SSL_CTX_check_private_key(native) != 1)
      return bad_input("{}: expected the private key of the certificate in {} ({})", key.string(), certificate.string(),
                       last_reason());
    return {};
  }

  mutable ssl::context context{ssl::context::tls_server};
};

class TlsStream : public Stream {
 public:
  TlsStream(tcp::socket socket, std::shared_ptr<const OpenSslTls> tls)
      : tls_(std::move(tls)), stream_(std::move(socket), tls_->context) {}

  bool secure() const override { return !plain_; }
  void open(std::function<void(Opened)> done) override {
    stream_.async_handshake(ssl::stream_base::server, [this, done = std::move(done)](const ErrorOf& error) {
      plain_ = error.category() == asio::error::get_ssl_category() &&
               ERR_GET_REASON(static_cast<unsigned long>(error.value())) == SSL_R_HTTP_REQUEST;
      done(plain_ ? Opened::kPlain : error ? Opened::kNo : Opened::kYes);
    });
  }
  void read_some(char* to, size_t most, Done done) override {
    if (plain_)
      stream_.next_layer().async_read_some(asio::buffer(to, most), std::move(done));
    else
      stream_.async_read_some(asio::buffer(to, most), std::move(done));
  }
  void write_some(std::string_view bytes, Done done) override {
    if (plain_)
      stream_.next_layer().async_write_some(asio::buffer(bytes.data(), bytes.size()), std::move(done));
    else
      stream_.async_write_some(asio::buffer(bytes.data(), bytes.size()), std::move(done));
  }
  void end_sending(std::shared_ptr<void> keep) override {
    if (plain_) return end_connection();
    // OpenSSL would wait for the client's own end, and take a record before that for an error. Told that it has come,
    // it only sends ours, and then reads on.
    SSL* const native = stream_.native_handle();
    SSL_set_shutdown(native, SSL_get_shutdown(native) | SSL_RECEIVED_SHUTDOWN);
    stream_.async_shutdown([this, keep = std::move(keep)](const ErrorOf&) { end_connection(); });
    SSL_set_shutdown(native, SSL_SENT_SHUTDOWN);
  }
  void close() override {
    ErrorOf ignored;
    stream_.next_layer().close(ignored);
  }
  void cancel() override {}
  int release() override { return -1; }

 private:
  void end_connection() {
    ErrorOf ignored;
    stream_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
  }

  const std::shared_ptr<const OpenSslTls> tls_;
  ssl::stream<tcp::socket> stream_;
  bool plain_ = false;
};

}  // namespace

Result<std::shared_ptr<const Tls>> Tls::load(const Path& certificate, const Path& key) {
  try {
    auto tls = std::make_shared<OpenSslTls>();
    TRY_STATUS(tls->open(certificate, key));
    return tls;
  } catch (const std::exception& error) {
    return bad_input("{}: cannot be used for TLS ({})", certificate.string(), error.what());
  }
}

std::unique_ptr<Stream> make_stream(tcp::socket socket, const std::shared_ptr<const Tls>& tls) {
  return std::make_unique<TlsStream>(std::move(socket), std::static_pointer_cast<const OpenSslTls>(tls));
}

}  // namespace onsight::net
