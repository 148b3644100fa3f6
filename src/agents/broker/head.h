// The heads of requests and answers, and the framing of bodies, as strictly as RFC 9112 lets a proxy be: what two
// programs could understand in two ways is refused, never repaired. What goes on is always written anew from what was
// understood.
//
//   if (const size_t end = head_end(bytes)) { TRY(RequestHead head, parse_request_head(bytes.substr(0, end))); … }
//   BodyReader body(head.body, head.length);
//   TRY(size_t used, body.feed(bytes, payload));
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"

namespace onsight::agents::broker {

constexpr size_t kMaxHeadBytes = 64 << 10;
constexpr size_t kMaxHeaderFields = 128;

enum class BodyKind { kNone, kLength, kChunked, kUntilEnd };

struct RequestHead {
  std::string method, target, host;  // host: the one Host header
  net::Headers headers;              // all, as they came
  BodyKind body = BodyKind::kNone;
  uint64_t length = 0;
  bool keep_alive = true, expects_continue = false;
};

struct ResponseHead {
  int status = 0;
  net::Headers headers;
  BodyKind body = BodyKind::kNone;
  uint64_t length = 0;
};

// Bytes of the head with its empty line; 0: it is not whole yet.
size_t head_end(std::string_view bytes);

// Errors carry a reason word (Error::reason): "bad_request", "too_large".
Result<RequestHead> parse_request_head(std::string_view text);
Result<ResponseHead> parse_response_head(std::string_view text, bool of_head_request);

// Only between two neighbours (RFC 9110, 7.6.1), or named by a Connection field: not sent on.
bool is_hop_by_hop(std::string_view name, const net::Headers& headers);

// Takes the framing off. Trailers are read and dropped.
class BodyReader {
 public:
  BodyReader(BodyKind kind, uint64_t length) : kind_(kind), left_(length) {
    done_ = kind == BodyKind::kNone || (kind == BodyKind::kLength && length == 0);
  }
  // How many bytes of `in` were understood; their payload is appended to `payload`. What lies behind the end is left.
  Result<size_t> feed(std::string_view in, std::string& payload);
  // The other side sends nothing more: an error unless that is how the body ends.
  Status end();
  bool done() const { return done_; }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer };
  Result<size_t> feed_chunked(std::string_view in, std::string& payload);

  BodyKind kind_;
  uint64_t left_;
  State state_ = State::kSize;
  size_t trailer_bytes_ = 0;
  bool done_ = false;
};

}  // namespace onsight::agents::broker
