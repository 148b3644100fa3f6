#include "agents/broker/head.h"

#include <algorithm>
#include <optional>

namespace onsight::agents::broker {
namespace {

constexpr size_t kMaxTarget = 16 << 10, kMaxMethod = 20, kMaxTrailers = 8 << 10, kMaxSizeDigits = 8;

template <class... Args>
tl::unexpected<Error> bad_head(fmt::format_string<Args...> format, Args&&... args) {
  auto out = bad_input(format, std::forward<Args>(args)...);
  out.value().reason = "bad_request";
  return out;
}

bool is_token_char(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<uint64_t> whole_number(std::string_view text) {
  if (text.empty() || text.size() > 15) return {};
  uint64_t out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return {};
    out = out * 10 + static_cast<uint64_t>(c - '0');
  }
  return out;
}

// The line up to its CRLF, which is taken too. A CR or LF alone is an error.
Result<std::string_view> take_head_line(std::string_view& text) {
  const size_t end = text.find_first_of("\r\n");
  if (end == std::string_view::npos || text.compare(end, 2, "\r\n") != 0)
    return bad_head("the head: expected lines that end with CR LF");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return line;
}

Result<net::Headers> parse_fields(std::string_view text) {
  net::Headers out;
  for (;;) {
    TRY(const std::string_view line, take_head_line(text));
    if (line.empty()) break;
    if (out.fields.size() == kMaxHeaderFields) {
      auto many = bad_head("the head: expected at most {} fields", kMaxHeaderFields);
      many.value().reason = "too_large";
      return many;
    }
    if (line.front() == ' ' || line.front() == '\t') return bad_head("the head: expected each field on one line");
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
      return bad_head("the head: expected fields as 'Name: value'");
    const std::string_view value = trimmed(line.substr(colon + 1));
    for (const char c : value)
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
        return bad_head("the head: expected no control characters in fields");
    out.add(std::string(line.substr(0, colon)), std::string(value));
  }
  if (!text.empty()) return bad_head("the head: expected nothing behind its empty line");
  return out;
}

struct Framing {
  BodyKind kind = BodyKind::kNone;
  uint64_t length = 0;
};

// One of Content-Length and Transfer-Encoding, once, in the one form that everybody reads alike.
Result<Framing> framing_of(const net::Headers& headers) {
  const int lengths = headers.count("Content-Length"), codings = headers.count("Transfer-Encoding");
  if (lengths + codings > 1)
    return bad_head("the head: expected one Content-Length or one Transfer-Encoding, found {}", lengths + codings);
  if (codings == 1) {
    if (!net::equal_ignoring_case(headers.get("Transfer-Encoding"), "chunked"))
      return bad_head("the head: expected 'chunked' as the only Transfer-Encoding");
    return Framing{BodyKind::kChunked, 0};
  }
  if (lengths == 0) return Framing{};
  const auto length = whole_number(headers.get("Content-Length"));
  if (!length) return bad_head("the head: expected a number as Content-Length");
  return Framing{BodyKind::kLength, *length};
}

bool lists(std::string_view list, std::string_view name) {
  for (;;) {
    const size_t comma = list.find(',');
    if (net::equal_ignoring_case(trimmed(list.substr(0, comma)), name)) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

bool any_lists(const net::Headers& headers, std::string_view field, std::string_view name) {
  return std::any_of(headers.fields.begin(), headers.fields.end(), [&](const auto& entry) {
    return net::equal_ignoring_case(entry.first, field) && lists(entry.second, name);
  });
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

size_t head_end(std::string_view bytes) {
  const size_t at = bytes.find("\r\n\r\n");
  return at == std::string_view::npos ? 0 : at + 4;
}

Result<RequestHead> parse_request_head(std::string_view text) {
  RequestHead out;
  TRY(const std::string_view line, take_head_line(text));
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos)
    return bad_head("the request: expected a method, a target and a version");
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, second - first - 1);
  if (method.empty() || method.size() > kMaxMethod ||
      !std::all_of(method.begin(), method.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; }))
    return bad_head("the request: expected a method in capital letters");
  if (line.substr(second + 1) != "HTTP/1.1") return bad_head("the request: expected HTTP/1.1");
  if (target.size() > kMaxTarget) {
    auto large = bad_head("the request: expected a target of at most {} bytes", kMaxTarget);
    large.value().reason = "too_large";
    return large;
  }
  if (target.empty() || !std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    return bad_head("the request: expected a target of printable ASCII");
  out.method = method;
  out.target = target;
  TRY(out.headers, parse_fields(text));
  if (out.headers.count("Host") != 1) return bad_head("the request: expected one Host field");
  out.host = out.headers.get("Host");
  TRY(const Framing framing, framing_of(out.headers));
  out.body = framing.kind;
  out.length = framing.length;
  out.keep_alive =
      !any_lists(out.headers, "Connection", "close") && !any_lists(out.headers, "Proxy-Connection", "close");
  if (const std::string* expected = out.headers.find("Expect")) {
    if (!net::equal_ignoring_case(*expected, "100-continue"))
      return bad_head("the request: expected no Expect but 100-continue");
    out.expects_continue = true;
  }
  return out;
}

Result<ResponseHead> parse_response_head(std::string_view text, bool of_head_request) {
  ResponseHead out;
  TRY(const std::string_view line, take_head_line(text));
  const bool version = line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ");
  const auto status = version && line.size() >= 12 ? whole_number(line.substr(9, 3)) : std::optional<uint64_t>();
  if (!status || *status < 100 || *status > 599 || (line.size() > 12 && line[12] != ' '))
    return bad_head("the answer: expected a status line of HTTP/1.1");
  out.status = static_cast<int>(*status);
  TRY(out.headers, parse_fields(text));
  TRY(const Framing framing, framing_of(out.headers));
  if (of_head_request || out.status < 200 || out.status == 204 || out.status == 304) return out;
  const bool framed = out.headers.find("Content-Length") || framing.kind == BodyKind::kChunked;
  out.body = framed ? framing.kind : BodyKind::kUntilEnd;
  out.length = framing.length;
  return out;
}

bool is_hop_by_hop(std::string_view name, const net::Headers& headers) {
  for (const std::string_view own :
       {"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", "HTTP2-Settings"})
    if (net::equal_ignoring_case(name, own)) return true;
  return any_lists(headers, "Connection", name) || any_lists(headers, "Proxy-Connection", name);
}

Result<size_t> BodyReader::feed(std::string_view in, std::string& payload) {
  if (done_) return size_t{0};
  if (kind_ == BodyKind::kChunked) return feed_chunked(in, payload);
  if (kind_ == BodyKind::kUntilEnd) {
    payload += in;
    return in.size();
  }
  const size_t used = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
  payload += in.substr(0, used);
  left_ -= used;
  done_ = left_ == 0;
  return used;
}

Result<size_t> BodyReader::feed_chunked(std::string_view in, std::string& payload) {
  const size_t all = in.size();
  const auto line_end = [&]() -> Result<size_t> {
    const size_t end = in.find_first_of("\r\n");
    if (end == std::string_view::npos || (in[end] == '\r' && end + 1 == in.size())) return std::string_view::npos;
    if (in[end] != '\r' || in[end + 1] != '\n') return bad_head("the body: expected lines that end with CR LF");
    return end;
  };
  while (!done_) {
    if (state_ == State::kData) {
      const size_t used = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
      payload += in.substr(0, used);
      in.remove_prefix(used);
      left_ -= used;
      if (left_ > 0) break;
      state_ = State::kDataEnd;
    } else if (state_ == State::kDataEnd) {
      if (in.empty() || in == "\r") break;
      if (!in.starts_with("\r\n")) return bad_head("the body: expected CR LF behind a chunk");
      in.remove_prefix(2);
      state_ = State::kSize;
    } else if (state_ == State::kSize) {
      TRY(const size_t end, line_end());
      if (std::min(end, in.size()) > kMaxSizeDigits + 1) return bad_head("the body: expected the size of a chunk");
      if (end == std::string_view::npos) break;
      uint64_t size = 0;
      for (const char c : in.substr(0, end)) {
        const int digit = hex_value(c);
        if (digit < 0) return bad_head("the body: expected the size of a chunk in hexadecimal, without extensions");
        size = size * 16 + static_cast<uint64_t>(digit);
      }
      if (end == 0 || end > kMaxSizeDigits) return bad_head("the body: expected the size of a chunk");
      in.remove_prefix(end + 2);
      left_ = size;
      state_ = size > 0 ? State::kData : State::kTrailer;
    } else {
      TRY(const size_t end, line_end());
      if (trailer_bytes_ + std::min(end, in.size()) > kMaxTrailers)
        return bad_head("the body: expected at most {} bytes of trailers", kMaxTrailers);
      if (end == std::string_view::npos) break;
      trailer_bytes_ += end + 2;
      in.remove_prefix(end + 2);
      done_ = end == 0;
    }
  }
  return all - in.size();
}

Status BodyReader::end() {
  if (done_) return {};
  if (kind_ != BodyKind::kUntilEnd) return bad_head("the body: it ended too early");
  done_ = true;
  return {};
}

}  // namespace onsight::agents::broker
