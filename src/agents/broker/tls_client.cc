#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "agents/broker/channel.h"

namespace onsight::agents::broker {
namespace {

using SslHandle = std::unique_ptr<SSL, decltype(&SSL_free)>;
using SslContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

template <class... Args>
tl::unexpected<Error> tls_failed(fmt::format_string<Args...> format, Args&&... args) {
  auto out = make_error(ErrorCode::kIo, format, std::forward<Args>(args)...);
  out.value().reason = "tls";
  return out;
}

std::string openssl_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string out = reason ? reason : "it did not say why";
  ERR_clear_error();
  return out;
}

// Threads of connections block SIGPIPE: OpenSSL writes without MSG_NOSIGNAL.
class TlsChannel : public Channel {
 public:
  TlsChannel(Descriptor socket, SslHandle ssl) : socket_(std::move(socket)), ssl_(std::move(ssl)) {}
  ~TlsChannel() override { ERR_clear_error(); }
  int descriptor() const override { return socket_.get(); }
  bool pending() const override { return SSL_pending(ssl_.get()) > 0; }

  Status shake_hands(const std::string& host, const Waiting& waiting, Time until) {
    for (;;) {
      ERR_clear_error();
      const int done = SSL_connect(ssl_.get());
      if (done == 1) return {};
      if (const int why = SSL_get_error(ssl_.get(), done); wants_more(why)) {
        TRY_STATUS(wait(why, waiting, until));
        continue;
      }
      if (const long verified = SSL_get_verify_result(ssl_.get()); verified != X509_V_OK)
        return tls_failed("{}: its certificate is not accepted ({})", host, X509_verify_cert_error_string(verified));
      return tls_failed("{}: no TLS connection can be made ({})", host, openssl_reason());
    }
  }

  Result<size_t> read(char* to, size_t most, const Waiting& waiting, Time until) override {
    for (;;) {
      ERR_clear_error();
      size_t n = 0;
      const int done = SSL_read_ex(ssl_.get(), to, most, &n);
      if (done == 1) return n;
      const int why = SSL_get_error(ssl_.get(), done);
      if (why == SSL_ERROR_ZERO_RETURN) return size_t{0};
      if (!wants_more(why))
        return tls_failed("the connection was lost ({})", openssl_reason());  // also cut off without a goodbye
      TRY_STATUS(wait(why, waiting, until));
    }
  }

  Status write(std::string_view bytes, const Waiting& waiting, Time until) override {
    while (!bytes.empty()) {
      ERR_clear_error();
      size_t n = 0;
      const int done = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n);
      if (done == 1) {
        bytes.remove_prefix(n);
        continue;
      }
      const int why = SSL_get_error(ssl_.get(), done);
      if (!wants_more(why)) return tls_failed("the connection was lost ({})", openssl_reason());
      TRY_STATUS(wait(why, waiting, until));
    }
    return {};
  }

  void end_sending() override { SSL_shutdown(ssl_.get()); }

 private:
  static bool wants_more(int why) { return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE; }
  Status wait(int why, const Waiting& waiting, Time until) const {
    return wait_for(socket_.get(), why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN, waiting, until);
  }

  Descriptor socket_;
  SslHandle ssl_;
};

class OpenSslClient : public TlsClient {
 public:
  Status open(const Path& more_authorities) {
    if (!context_) return tls_failed("OpenSSL cannot be used ({})", openssl_reason());
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_mode(context_.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_verify_paths(context_.get());
    if (!more_authorities.empty() &&
        SSL_CTX_load_verify_locations(context_.get(), more_authorities.c_str(), nullptr) != 1)
      return tls_failed("{}: expected certificates of authorities in PEM ({})", more_authorities.string(),
                        openssl_reason());
    ERR_clear_error();
    return {};
  }

  Result<std::unique_ptr<Channel>> connect(Descriptor socket, const Authority& to, const Waiting& waiting,
                                           Time until) const override {
    SslHandle ssl(SSL_new(context_.get()), &SSL_free);
    static constexpr unsigned char kHttp[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    bool good =
        ssl && SSL_set_fd(ssl.get(), socket.get()) == 1 && SSL_set_alpn_protos(ssl.get(), kHttp, sizeof kHttp) == 0;
    if (good && to.address) {
      good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), to.host.c_str()) == 1;
    } else if (good) {
      SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      good =
          SSL_set1_host(ssl.get(), to.host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl.get(), to.host.c_str()) == 1;
    }
    if (!good) return tls_failed("{}: no TLS connection can be made ({})", to.host, openssl_reason());
    auto channel = std::make_unique<TlsChannel>(std::move(socket), std::move(ssl));
    TRY_STATUS(channel->shake_hands(to.host, waiting, until));
    return std::unique_ptr<Channel>(std::move(channel));
  }

 private:
  SslContext context_{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free};
};

}  // namespace

Result<std::shared_ptr<const TlsClient>> TlsClient::make(const Path& more_authorities) {
  auto out = std::make_shared<OpenSslClient>();
  TRY_STATUS(out->open(more_authorities));
  return std::shared_ptr<const TlsClient>(std::move(out));
}

}  // namespace onsight::agents::broker
