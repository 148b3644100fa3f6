// The bytes of a connection, in pieces whose lengths the first byte says; then what requests carry: targets, data:
// URLs, JSON bodies.
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/base64.h"
#include "net/request_reader.h"
#include "net/target.h"
#include "server/fields.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  if (size < 1) return 0;
  const size_t at_once = 1 + data[0];
  const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  const net::ReaderLimits limits{.header_bytes = 1024, .target_bytes = 256, .body_bytes = 4096};
  net::RequestReader reader(limits);
  using State = net::RequestReader::State;
  std::string held;
  for (size_t i = 0; i < all.size(); i += at_once) {
    held += all.substr(i, at_once);
    for (;;) {
      const State before = reader.state();
      const size_t used = reader.feed(held);
      if (used > held.size()) std::abort();
      held.erase(0, used);
      if (reader.state() == State::kDone) {
        const net::HttpRequest request = reader.take();
        if (request.body.size() > limits.body_bytes || request.path.empty()) std::abort();
        if (request.path.find("/../") != std::string::npos || request.path.find('\0') != std::string::npos)
          std::abort();
        reader = net::RequestReader(limits);
        continue;
      }
      if (reader.state() == State::kFailed) {
        if (reader.status() < 400 || reader.message().empty()) std::abort();
        return 0;
      }
      if (reader.state() == before) break;
    }
    // What waits is bounded, whatever comes.
    if (held.size() > limits.header_bytes + at_once) std::abort();
  }
  (void)net::parse_target(all);
  (void)net::parse_data_url(all, "fuzz");
  if (const auto bytes = net::base64_decode(all, "fuzz"); bytes && bytes->size() > all.size()) std::abort();
  (void)server::parse_body(all);
  return 0;
}
