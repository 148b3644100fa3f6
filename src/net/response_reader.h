// ResponseReader: the bytes that a server sends -> status, fields and body, piece by piece. It knows no sockets.
//
//   ResponseReader reader(limits, /*method=*/"GET");
//   size_t used = reader.feed(bytes);                  // what was not used is fed again with more behind it
//   take(reader.take_body());                          // what has come of it
//   if (reader.state() == ResponseReader::State::kDone) ...
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/http.h"

namespace onsight::net {

struct ResponseLimits {
  uint32_t header_bytes = 64 << 10;  // of the status line and the fields, also of those behind a body in chunks
  uint64_t body_bytes = 8 << 20;
};

class ResponseReader {
 public:
  enum class State { kHead, kBody, kDone, kFailed };

  // A method HEAD has no body. `hijack`: a 101 or 2xx has none either, what is behind its head is not HTTP.
  ResponseReader(const ResponseLimits& limits, std::string_view method, bool hijack = false);
  ~ResponseReader();
  ResponseReader(ResponseReader&&) noexcept;
  ResponseReader& operator=(ResponseReader&&) noexcept;

  // How many bytes were used. Stops behind the head, and behind the answer. Answers of 100 to 199 but 101 are skipped.
  size_t feed(std::string_view bytes);
  void end();  // no more will come; a body without a length is whole then, all others are cut off
  State state() const;
  const HttpResponse& head() const;  // from kBody on; its body stays empty
  std::string take_body();
  const std::string& message() const;  // of kFailed

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onsight::net
