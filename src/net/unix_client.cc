#include "net/unix_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace onsight::net {
namespace {

constexpr size_t kAnswerReadBytes = 32 << 10;
constexpr size_t kHeardBytes = 4 << 20;

// A socket that is closed unless it is released.
class ClientSocket {
 public:
  explicit ClientSocket(int fd) : fd_(fd) {}
  ClientSocket(ClientSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ClientSocket& operator=(ClientSocket&&) = delete;
  ~ClientSocket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// What one request needs: its socket, what was read and not understood, and the reader.
struct Call {
  ClientSocket socket;
  const std::string where;
  const Deadline deadline;
  ResponseReader reader;
  std::string in = {};
  bool gone = false;  // nothing more can be sent, an answer may have come

  auto late() const { return make_error(ErrorCode::kBusy, "{}: no answer within the time allowed", where); }

  // The server may answer, and close, before all is sent: then its answer is what counts.
  Status send(std::string_view bytes) {
    while (!bytes.empty() && !gone) {
      const ssize_t sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<size_t>(sent));
      } else if (errno == EPIPE || errno == ECONNRESET) {
        gone = true;
      } else if (errno == EAGAIN) {
        if (!wait_for(socket.get(), POLLIN | POLLOUT, deadline) || std::chrono::steady_clock::now() >= deadline)
          return late();
        TRY_STATUS(hear());
      } else if (errno != EINTR) {
        return make_error(ErrorCode::kIo, "{}: cannot send the request ({})", where, std::strerror(errno));
      }
    }
    return {};
  }

  // What a server says while it is still being sent to: it might wait until that is read.
  Status hear() {
    std::array<char, kAnswerReadBytes> bytes;
    const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
    if (got < 0) return {};
    in.append(bytes.data(), static_cast<size_t>(got));
    if (in.size() > kHeardBytes) return make_error(ErrorCode::kIo, "{}: it answers before it is asked", where);
    gone = got == 0 || in.starts_with("HTTP/1.1 4") || in.starts_with("HTTP/1.1 5");
    return {};
  }

  Status receive() {
    std::array<char, kAnswerReadBytes> bytes;
    for (;;) {
      if (!wait_for(socket.get(), POLLIN, deadline) || std::chrono::steady_clock::now() >= deadline) return late();
      const ssize_t got = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
      if (got > 0) {
        in.append(bytes.data(), static_cast<size_t>(got));
        return {};
      }
      if (got == 0 || errno == ECONNRESET) {
        reader.end();
        return {};
      }
      if (errno != EAGAIN && errno != EINTR)
        return make_error(ErrorCode::kIo, "{}: cannot read the answer ({})", where, std::strerror(errno));
    }
  }

  Status read_head() {
    for (;;) {
      in.erase(0, reader.feed(in));
      if (reader.state() == ResponseReader::State::kFailed) return failed();
      if (reader.state() != ResponseReader::State::kHead) return {};
      TRY_STATUS(receive());
    }
  }

  // A piece of the body; empty: the end.
  Result<std::string> read_body() {
    for (;;) {
      in.erase(0, reader.feed(in));
      std::string piece = reader.take_body();
      if (!piece.empty()) return piece;
      if (reader.state() == ResponseReader::State::kFailed) return failed();
      if (reader.state() == ResponseReader::State::kDone) return piece;
      TRY_STATUS(receive());
    }
  }
  tl::unexpected<Error> failed() const { return make_error(ErrorCode::kIo, "{}: {}", where, reader.message()); }
};

std::string request_head(const UnixRequest& request, bool upgrade) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  Headers headers = request.headers;
  if (!headers.find("Host")) headers.set("Host", "localhost");
  if (!upgrade)
    headers.set("Connection", "close");
  else if (headers.find("Upgrade"))
    headers.set("Connection", "Upgrade");
  if (request.body_pieces) {
    if (request.body_bytes)
      headers.set("Content-Length", std::to_string(*request.body_bytes));
    else
      headers.set("Transfer-Encoding", "chunked");
  } else if (!request.body.empty()) {
    headers.set("Content-Length", std::to_string(request.body.size()));
  } else if (!upgrade && request.method != "GET" && request.method != "HEAD") {
    headers.set("Content-Length", "0");
  }
  for (const auto& [name, value] : headers.fields) {
    std::string line = name + ": " + value;
    for (char& c : line)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    head += line + "\r\n";
  }
  return head + "\r\n";
}

Status send_body(Call& call, const UnixRequest& request) {
  if (!request.body_pieces) return call.send(request.body);
  uint64_t sent = 0;
  for (;;) {
    TRY(const std::string piece, request.body_pieces());
    if (request.body_bytes) {
      if (sent + piece.size() > *request.body_bytes || (piece.empty() && sent != *request.body_bytes))
        return bad_input("{}: expected {} bytes to send, found {}", call.where, *request.body_bytes,
                         piece.empty() ? sent : sent + piece.size());
      TRY_STATUS(call.send(piece));
    } else {
      TRY_STATUS(call.send(piece.empty() ? "0\r\n\r\n" : fmt::format("{:x}\r\n{}\r\n", piece.size(), piece)));
    }
    sent += piece.size();
    if (piece.empty() || call.gone) return {};
    if (request.progress) request.progress(sent);
  }
}

// A target with a space or a control character would be another request.
Status check_request(const UnixRequest& request, const std::string& where) {
  for (const std::string* text : {&request.method, &request.target}) {
    const bool clean = std::all_of(text->begin(), text->end(),
                                   [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
    if (!clean || text->empty())
      return make_error(ErrorCode::kUsage, "{}: expected a target without spaces, found '{}'", where, *text);
  }
  return {};
}

Result<Call> begin_call(const Path& path, const UnixRequest& request, Deadline deadline, const ResponseLimits& limits,
                        bool hijack) {
  const std::string where = path.string();
  TRY_STATUS(check_request(request, where));
  TRY(const int fd, connect_unix(where, deadline));
  Call call{ClientSocket(fd), where, deadline, ResponseReader(limits, request.method, hijack)};
  TRY_STATUS(call.send(request_head(request, hijack)));
  TRY_STATUS(send_body(call, request));
  TRY_STATUS(call.read_head());
  return call;
}

Result<std::string> rest_of_body(Call& call, uint64_t max_bytes) {
  std::string all;
  for (;;) {
    TRY(const std::string piece, call.read_body());
    if (piece.empty()) return all;
    all += piece;
    if (all.size() > max_bytes)
      return make_error(ErrorCode::kIo, "{}: the body of the answer: expected at most {} bytes", call.where, max_bytes);
  }
}

// Beast and what it uses may throw, if only for want of memory.
template <class Function>
auto guarded_call(const Path& socket, Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: no memory for its answer", socket.string());
  } catch (const std::exception& error) {
    return make_error(ErrorCode::kIo, "{}: {}", socket.string(), error.what());
  }
}

}  // namespace

Result<HttpResponse> UnixClient::request(const UnixRequest& request, Deadline deadline,
                                         const ResponseLimits& limits) const {
  return guarded_call(socket_, [&]() -> Result<HttpResponse> {
    TRY(Call call, begin_call(socket_, request, deadline, limits, /*hijack=*/false));
    HttpResponse response = call.reader.head();
    TRY(response.body, rest_of_body(call, limits.body_bytes));
    return response;
  });
}

Result<HttpResponse> UnixClient::stream(const UnixRequest& request, const Sink& sink, Deadline deadline,
                                        const ResponseLimits& limits) const {
  return guarded_call(socket_, [&]() -> Result<HttpResponse> {
    ResponseLimits unbounded = limits;
    unbounded.body_bytes = std::numeric_limits<uint64_t>::max();
    TRY(Call call, begin_call(socket_, request, deadline, unbounded, /*hijack=*/false));
    HttpResponse response = call.reader.head();
    if (response.status < 200 || response.status > 299) {
      TRY(response.body, rest_of_body(call, limits.body_bytes));
      return response;
    }
    for (;;) {
      TRY(const std::string piece, call.read_body());
      if (piece.empty()) return response;
      TRY_STATUS(sink(piece));
    }
  });
}

Result<UnixClient::Hijacked> UnixClient::hijack(const UnixRequest& request, Deadline deadline,
                                                const ResponseLimits& limits) const {
  return guarded_call(socket_, [&]() -> Result<Hijacked> {
    TRY(Call call, begin_call(socket_, request, deadline, limits, /*hijack=*/true));
    Hijacked out{call.reader.head(), nullptr};
    if (out.head.status == 101 || (out.head.status >= 200 && out.head.status < 300)) {
      out.stream = std::make_unique<RawStream>(call.socket.release(), std::move(call.in));
      return out;
    }
    TRY(out.head.body, rest_of_body(call, limits.body_bytes));
    return out;
  });
}

}  // namespace onsight::net
