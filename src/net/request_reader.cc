#include "net/request_reader.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "net/target.h"

namespace onsight::net {

namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::string_view kLastChunk = "0\r\n\r\n";  // the shortest

struct RequestReader::Impl {
  explicit Impl(const ReaderLimits& bounds) : limits(bounds) {
    parser.header_limit(limits.header_bytes + 1);
    parser.body_limit(limits.body_bytes);
  }

  void fail(int code, std::string why) {
    state = State::kFailed;
    status = code;
    message = std::move(why);
  }

  // `bytes`: of the head, if nothing of it has been understood.
  void fail_head_size(std::string_view bytes) {
    if (head_bytes == 0 && bytes.find('\n') == std::string_view::npos)
      return fail(414, fmt::format("the target of the request: expected at most {} bytes", limits.target_bytes));
    fail(431, fmt::format("the fields of the request: expected at most {} bytes", limits.header_bytes));
  }

  void fail(const beast::error_code& error, std::string_view bytes) {
    if (error == http::error::header_limit) return fail_head_size(bytes);
    if (error == http::error::body_limit)
      return fail(413, fmt::format("the body of the request: expected at most {} bytes", limits.body_bytes));
    if (error == http::error::bad_version) return fail(505, "the request: expected HTTP/1.1");
    fail(400, fmt::format("the request: expected HTTP/1.1, found {}", error.message()));
  }

  // What the parser has of a head, whole or not; says why a target is none.
  Status take_head() {
    const auto& message_head = parser.get();
    request.method = std::string(message_head.method_string());
    request.version = static_cast<int>(message_head.version());
    request.headers.fields.clear();
    for (const auto& field : message_head)
      request.headers.add(std::string(field.name_string()), std::string(field.value()));
    request.target.assign(message_head.target().data(), message_head.target().size());
    if (limits.proxy) TRY_STATUS(take_host(request.target));
    return take_target(request.target);
  }
  // Whom a proxy is asked to reach; nothing, where it is meant itself.
  Status take_host(std::string_view target) {
    std::string_view scheme, authority = target;
    if (request.method != "CONNECT") {
      for (const std::string_view one : {"http", "https"})
        if (target.starts_with(one) && target.substr(one.size()).starts_with("://")) scheme = one;
      if (scheme.empty()) return {};
      authority.remove_prefix(scheme.size() + std::string_view("://").size());
      authority = authority.substr(0, authority.find_first_of("/?"));
    }
    TRY(Authority parsed, parse_authority(authority, scheme));
    if (parsed.port == 0) return bad_input("CONNECT: expected HOST:PORT, found '{}'", authority);
    request.scheme = scheme;
    request.host = std::move(parsed.host);
    request.port = parsed.port;
    return {};
  }
  Status take_target(std::string_view target) {
    // CONNECT is refused as any method that a path does not have.
    Target parsed;
    Status read = read_target(request.method == "CONNECT" ? "*" : target, parsed);
    request.path = std::move(parsed.path);
    request.query = std::move(parsed.query);
    return read;
  }

  // Of a head that is not whole, or wrong; `bytes` were not understood. The parser looks at no line before all are
  // there.
  void take_part(std::string_view bytes) {
    if (!parser.get().target().empty()) return (void)take_head();
    const size_t end = bytes.find_first_of("\r\n"), space = bytes.find(' ');
    if (end == std::string_view::npos || space > end) return;
    request.method = bytes.substr(0, space);
    const std::string_view target = bytes.substr(space + 1, end - space - 1);
    (void)take_target(target.substr(0, target.find(' ')));
  }

  void read_head() {
    const Status taken = take_head();
    if (parser.get().target().size() > limits.target_bytes)
      return fail(414, fmt::format("the target of the request: expected at most {} bytes", limits.target_bytes));
    if (!taken) return fail(400, taken.error().message);
    request.keep_alive = parser.get().keep_alive();
    const int hosts = request.headers.count("Host");
    if (hosts > 1 || (hosts == 0 && request.version >= 11)) return fail(400, "the request: expected one Host field");
    if (request.headers.count("Transfer-Encoding") > 1 ||
        (request.headers.find("Transfer-Encoding") &&
         !equal_ignoring_case(request.headers.get("Transfer-Encoding"), "chunked")))
      return fail(501, "Transfer-Encoding: expected chunked");
    const std::string_view coding = request.headers.get("Content-Encoding");
    if (!limits.proxy && !coding.empty() && !equal_ignoring_case(coding, "identity"))
      return fail(415, "Content-Encoding: expected none, the body is not unpacked");
    const std::string_view expect = request.headers.get("Expect");
    if (!expect.empty() && !equal_ignoring_case(expect, "100-continue"))
      return fail(417, "Expect: expected 100-continue");
    continues = !expect.empty() && request.version >= 11;
    state = State::kBody;
  }

  const ReaderLimits limits;
  http::request_parser<http::string_body> parser;
  State state = State::kHead;
  HttpRequest request;
  bool continues = false;
  size_t head_bytes = 0;
  int status = 0;
  std::string message;
};

RequestReader::RequestReader(const ReaderLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;
RequestReader& RequestReader::operator=(RequestReader&&) noexcept = default;

size_t RequestReader::feed(std::string_view bytes) {
  Impl& me = *impl_;
  size_t used = 0;
  while (me.state == State::kHead || me.state == State::kBody) {
    const bool in_head = me.state == State::kHead;
    if (in_head && me.parser.is_header_done()) {
      me.read_head();
      return used;
    }
    if (!in_head && me.parser.is_done()) {
      me.state = State::kDone;
      return used;
    }
    beast::error_code error;
    const std::string_view rest = bytes.substr(used);
    if (rest.empty()) return used;
    // Once it has seen a last chunk begin, the parser asserts that it is shown a whole one.
    if (!in_head && me.parser.chunked() && rest.size() < kLastChunk.size() &&
        rest.substr(rest.starts_with("\r\n") ? 2 : 0).starts_with('0'))
      return used;
    const size_t taken = me.parser.put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    used += taken;
    if (in_head) me.head_bytes += taken;
    if (error && error != http::error::need_more) {
      if (in_head) me.take_part(bytes);
      me.fail(error, bytes);
      return used;
    }
    // The parser bounds a field and the rest of a head, not their sum; nor the trailer behind a body in chunks.
    const size_t waiting = error ? rest.size() - taken : 0;
    if (in_head ? me.head_bytes + waiting > me.limits.header_bytes : waiting > me.limits.header_bytes) {
      if (in_head) me.take_part(bytes);
      me.fail_head_size(bytes);
      return used;
    }
    if (error || (taken == 0 && !me.parser.is_done())) return used;
  }
  return used;
}

RequestReader::State RequestReader::state() const { return impl_->state; }
const HttpRequest& RequestReader::head() const { return impl_->request; }
void RequestReader::give_up(std::string_view bytes) {
  if (impl_->state == State::kHead) impl_->take_part(bytes);
}
bool RequestReader::expects_continue() const { return impl_->continues; }

HttpRequest RequestReader::take() {
  HttpRequest request = std::move(impl_->request);
  request.body = std::move(impl_->parser.get().body());
  return request;
}

int RequestReader::status() const { return impl_->status; }
const std::string& RequestReader::message() const { return impl_->message; }

}  // namespace onsight::net
