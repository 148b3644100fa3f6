#include "net/response_reader.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <optional>
#include <utility>

namespace onsight::net {

namespace response_beast = boost::beast;
namespace response_http = boost::beast::http;

// As Beast's string_body, but nothing is reserved for a length that was only promised.
struct GrowingBody {
  using value_type = std::string;  // NOLINT(readability-identifier-naming): as Beast asks for it
  class reader {                   // NOLINT(readability-identifier-naming)
   public:
    template <bool is_request, class Fields>
    explicit reader(response_http::header<is_request, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, response_beast::error_code& error) { error = {}; }
    template <class Buffers>
    size_t put(const Buffers& buffers, response_beast::error_code& error) {
      error = {};
      size_t bytes = 0;
      for (auto at = boost::asio::buffer_sequence_begin(buffers); at != boost::asio::buffer_sequence_end(buffers);
           ++at) {
        const boost::asio::const_buffer one(*at);
        body_.append(static_cast<const char*>(one.data()), one.size());
        bytes += one.size();
      }
      return bytes;
    }
    void finish(response_beast::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

struct ResponseReader::Impl {
  Impl(const ResponseLimits& bounds, std::string_view request_method, bool raw)
      : limits(bounds), method(request_method), hijack(raw) {
    begin();
  }

  void begin() {
    parser.emplace();
    parser->header_limit(limits.header_bytes + 1);
    parser->body_limit(limits.body_bytes);
    if (method == "HEAD") parser->skip(true);
    head_bytes = 0;
  }

  void fail(std::string why) {
    state = State::kFailed;
    why_failed = std::move(why);
  }

  void fail(const response_beast::error_code& error) {
    if (error == response_http::error::header_limit) return fail_head_size();
    if (error == response_http::error::body_limit)
      return fail(fmt::format("the body of the answer: expected at most {} bytes", limits.body_bytes));
    if (error == response_http::error::partial_message || error == response_http::error::end_of_stream)
      return fail("the answer: it ends before it is whole");
    fail(fmt::format("the answer: expected HTTP/1.1, found {}", error.message()));
  }

  void fail_head_size() {
    fail(fmt::format("the fields of the answer: expected at most {} bytes", limits.header_bytes));
  }

  void read_head() {
    const auto& message = parser->get();
    const int status = static_cast<int>(message.result_int());
    if (status < 200 && status != 101) {
      if (++interim > kMaxInterim) return fail("the answer: expected one, found only announcements of it");
      return begin();
    }
    head.status = status;
    head.headers.fields.clear();
    for (const auto& field : message) head.headers.add(std::string(field.name_string()), std::string(field.value()));
    const bool raw = status == 101 || (hijack && status < 300);
    if (raw && (head.headers.find("Transfer-Encoding") ||
                head.headers.get("Content-Length").find_first_not_of('0') != std::string_view::npos))
      return fail("the answer: expected a connection for raw bytes, found a body");
    if (status == 101 && !hijack) return fail("the answer: expected no change of the protocol");
    state = raw || parser->is_done() ? State::kDone : State::kBody;
  }

  static constexpr int kMaxInterim = 16;
  const ResponseLimits limits;
  const std::string method;
  const bool hijack;
  std::optional<response_http::response_parser<GrowingBody>> parser;
  State state = State::kHead;
  HttpResponse head;
  size_t head_bytes = 0;
  int interim = 0;
  std::string why_failed;
};

ResponseReader::ResponseReader(const ResponseLimits& limits, std::string_view method, bool hijack)
    : impl_(std::make_unique<Impl>(limits, method, hijack)) {}
ResponseReader::~ResponseReader() = default;
ResponseReader::ResponseReader(ResponseReader&&) noexcept = default;
ResponseReader& ResponseReader::operator=(ResponseReader&&) noexcept = default;

size_t ResponseReader::feed(std::string_view bytes) {
  Impl& me = *impl_;
  size_t used = 0;
  while (me.state == State::kHead || me.state == State::kBody) {
    const bool in_head = me.state == State::kHead;
    if (in_head && me.parser->is_header_done()) {
      me.read_head();
      if (me.state != State::kHead) return used;
      continue;
    }
    if (!in_head && me.parser->is_done()) {
      me.state = State::kDone;
      return used;
    }
    const std::string_view rest = bytes.substr(used);
    if (rest.empty()) return used;
    // As in RequestReader: a last chunk that begins must be shown whole, or the parser asserts.
    constexpr size_t kLastChunkBytes = 5;
    if (!in_head && me.parser->chunked() && rest.size() < kLastChunkBytes &&
        rest.substr(rest.starts_with("\r\n") ? 2 : 0).starts_with('0'))
      return used;
    response_beast::error_code error;
    const size_t taken = me.parser->put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    used += taken;
    if (in_head) me.head_bytes += taken;
    if (error && error != response_http::error::need_more) {
      me.fail(error);
      return used;
    }
    const size_t waiting = error ? rest.size() - taken : 0;
    if (in_head ? me.head_bytes + waiting > me.limits.header_bytes : waiting > me.limits.header_bytes) {
      me.fail_head_size();
      return used;
    }
    if (error || (taken == 0 && !me.parser->is_done())) return used;
  }
  return used;
}

void ResponseReader::end() {
  Impl& me = *impl_;
  if (me.state == State::kDone || me.state == State::kFailed) return;
  if (me.state == State::kHead) return me.fail("the answer: it ends before it is whole");
  response_beast::error_code error;
  me.parser->put_eof(error);
  if (error) return me.fail(error);
  if (!me.parser->is_done()) return me.fail("the answer: it ends before it is whole");
  me.state = State::kDone;
}

ResponseReader::State ResponseReader::state() const { return impl_->state; }
const HttpResponse& ResponseReader::head() const { return impl_->head; }
std::string ResponseReader::take_body() { return std::exchange(impl_->parser->get().body(), {}); }
const std::string& ResponseReader::message() const { return impl_->why_failed; }

}  // namespace onsight::net
