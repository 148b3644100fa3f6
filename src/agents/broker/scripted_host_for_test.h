// Hosts that answer as they are told, over TCP or TLS on loopback, an authority that vouches for them, and a client of
// the broker's sockets.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agents/broker/head.h"
#include "base/check.h"

namespace onsight::agents::broker {

// Signs certificates; its own goes to a file for the broker.
class TestAuthority {
 public:
  struct Signed {
    EVP_PKEY* key;
    X509* certificate;
  };
  TestAuthority() : key_(EVP_EC_gen("P-256")) { certificate_ = make("onsight tests", "", key_); }
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;
  ~TestAuthority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  std::string pem() const {
    BIO* const bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate_);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<size_t>(size));
    BIO_free(bio);
    return out;
  }
  // "DNS:api.test,IP:127.0.0.1"
  Signed sign(const std::string& names) {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    return {key, make("a host", names, key)};
  }

 private:
  X509* make(const std::string& common, const std::string& names, EVP_PKEY* key) {
    X509* const out = X509_new();
    X509_set_version(out, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(out), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(out), -3600);
    X509_gmtime_adj(X509_getm_notAfter(out), 3600);
    X509_set_pubkey(out, key);
    X509_NAME* const name = X509_get_subject_name(out);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(common.c_str()), -1, -1,
                               0);
    X509_set_issuer_name(out, certificate_ ? X509_get_subject_name(certificate_) : name);
    const auto extend = [&](int kind, const char* value) {
      X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
      X509_add_ext(out, extension, -1);
      X509_EXTENSION_free(extension);
    };
    if (names.empty()) {
      extend(NID_basic_constraints, "critical,CA:TRUE");
      extend(NID_key_usage, "critical,keyCertSign");
    } else {
      extend(NID_subject_alt_name, names.c_str());
    }
    X509_sign(out, key_, EVP_sha256());
    return out;
  }
  long serial_ = 0;
  EVP_PKEY* key_;
  X509* certificate_ = nullptr;
};

class ScriptedHost {
 public:
  struct Request {
    std::string head, body, server_name;
  };
  // Sends bytes; false when the other side has gone.
  using Say = std::function<bool(std::string_view)>;
  using Script = std::function<void(const Request&, const Say&)>;

  explicit ScriptedHost(Script script, TestAuthority* authority = nullptr, const std::string& names = "DNS:api.test")
      : script_(std::move(script)) {
    if (authority) {
      const TestAuthority::Signed with = authority->sign(names);
      tls_ = SSL_CTX_new(TLS_server_method());
      SSL_CTX_use_certificate(tls_, with.certificate);
      SSL_CTX_use_PrivateKey(tls_, with.key);
      X509_free(with.certificate);
      EVP_PKEY_free(with.key);
    }
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ONSIGHT_CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                  ::listen(listener_, 64) == 0);
    socklen_t length = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { accept_all(); });
  }
  ~ScriptedHost() {
    ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return serving_ == 0; });
    lock.unlock();
    if (tls_) SSL_CTX_free(tls_);
  }

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  int connections() const { return connections_.load(); }
  std::string raw() const {  // all that came, over plain connections
    const std::lock_guard lock(mutex_);
    return raw_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    requests_.clear();
    raw_.clear();
  }

  std::atomic<bool> remembers{true};

  static Script answer(const std::string& body, const std::string& type = "application/json",
                       const std::string& status = "200 OK", const std::string& more = "") {
    return [=](const Request&, const Say& say) {
      say("HTTP/1.1 " + status + "\r\nContent-Type: " + type + "\r\n" + more +
          "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    };
  }

 private:
  void accept_all() {
    while (!ending_) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ++connections_;
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      ++serving_;
      std::thread([this, fd] { serve(fd); }).detach();
    }
  }

  void serve(int fd) {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    SSL* const ssl = tls_ ? SSL_new(tls_) : nullptr;
    if (ssl) SSL_set_fd(ssl, fd);
    if (!ssl || SSL_accept(ssl) == 1) talk(fd, ssl);
    if (ssl) SSL_shutdown(ssl);
    ::shutdown(fd, SHUT_RDWR);
    if (ssl) SSL_free(ssl);
    const std::lock_guard lock(mutex_);
    open_.remove(fd);
    ::close(fd);
    --serving_;
    ended_.notify_all();
  }

  void talk(int fd, SSL* ssl) {
    std::string in;
    const auto more = [&] {
      char bytes[16 << 10];
      const auto n = ssl ? SSL_read(ssl, bytes, sizeof bytes) : ::recv(fd, bytes, sizeof bytes, 0);
      if (n <= 0) return false;
      in.append(bytes, static_cast<size_t>(n));
      const std::lock_guard lock(mutex_);
      if (remembers) raw_.append(bytes, static_cast<size_t>(n));
      return true;
    };
    while (head_end(in) == 0)
      if (!more()) return;
    Request request;
    const size_t end = head_end(in);
    request.head = in.substr(0, end);
    in.erase(0, end);
    if (ssl && SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
      request.server_name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const auto head = parse_request_head(request.head);
    if (head) {
      BodyReader body(head->body, head->length);
      for (;;) {
        const auto used = body.feed(in, request.body);
        if (!used) break;
        in.erase(0, *used);
        if (body.done() || !more()) break;
      }
    }
    {
      const std::lock_guard lock(mutex_);
      if (remembers) requests_.push_back(request);
    }
    script_(request, [&](std::string_view bytes) {
      while (!bytes.empty()) {
        const auto n = ssl ? SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size()))
                           : ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<size_t>(n));
      }
      return true;
    });
  }

  Script script_;
  SSL_CTX* tls_ = nullptr;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> ending_{false};
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::string raw_;
  std::list<int> open_;
  std::condition_variable ended_;
  int serving_ = 0;
  std::thread thread_;
};

// One connection to an agent's socket.
class AgentClient {
 public:
  struct Reply {
    int status = 0;
    net::Headers headers;
    std::string body;
    bool whole = false;
    std::string reason() const {
      const Json json = Json::parse(body, nullptr, false);
      return json.is_object() && json.contains("error") ? json["error"].value("reason", "") : "";
    }
  };
  explicit AgentClient(const Path& path) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
    const timeval limit{20, 0};
    if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  AgentClient(const AgentClient&) = delete;
  AgentClient& operator=(const AgentClient&) = delete;
  ~AgentClient() { close(); }
  bool connected() const { return fd_ >= 0; }
  int descriptor() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  bool more() {
    char bytes[16 << 10];
    ssize_t n = -1;
    // A process that was stopped and goes on finds its waits interrupted.
    do n = ::recv(fd_, bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) in.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }
  Reply reply(bool of_head_request = false) {
    Reply out;
    for (;;) {
      while (head_end(in) == 0)
        if (!more()) return out;
      const size_t end = head_end(in);
      const auto head = parse_response_head(std::string_view(in).substr(0, end), of_head_request);
      in.erase(0, end);
      if (!head) return out;
      out.status = head->status;
      out.headers = head->headers;
      if (head->status < 200) continue;
      BodyReader body(head->body, head->length);
      for (;;) {
        const auto used = body.feed(in, out.body);
        if (!used) return out;
        in.erase(0, *used);
        if (body.done()) break;
        if (!more()) {
          out.whole = body.end().has_value();
          return out;
        }
      }
      out.whole = true;
      return out;
    }
  }
  Reply ask(std::string_view bytes, bool of_head_request = false) {
    send(bytes);
    return reply(of_head_request);
  }

  std::string in;

 private:
  int fd_ = -1;
};

}  // namespace onsight::agents::broker
