// RequestReader: the bytes of a connection -> one request after another. It knows no sockets.
//
//   RequestReader reader(limits);
//   size_t used = reader.feed(bytes);                      // the rest belongs to the next request
//   if (reader.state() == RequestReader::State::kDone) handle(reader.take());
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/http.h"

namespace onsight::net {

struct ReaderLimits {
  uint32_t header_bytes = 16 << 10;  // of the request line and the fields; more: 431
  uint32_t target_bytes = 4 << 10;   // more: 414
  uint64_t body_bytes = 64 << 20;    // more: 413
  // Takes what a proxy is asked for: CONNECT, absolute targets with their host, and bodies in any coding.
  bool proxy = false;
};

class RequestReader {
 public:
  enum class State { kHead, kBody, kDone, kFailed };

  explicit RequestReader(const ReaderLimits& limits);
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;
  RequestReader& operator=(RequestReader&&) noexcept;

  // How many bytes were used; those that were not must be fed again with more behind them. Stops behind the head, and
  // behind the request.
  size_t feed(std::string_view bytes);
  State state() const;

  // From kBody on: the request so far, without its body. Of one that failed before, what could be read of it, so that
  // it can be told so in the words of its API.
  const HttpRequest& head() const;
  // No more will come behind `bytes`, which feed() left: head() has what they say.
  void give_up(std::string_view bytes);
  bool expects_continue() const;
  HttpRequest take();  // once kDone

  // Of kFailed: what to answer, and why.
  int status() const;
  const std::string& message() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onsight::net
