// What a container engine sends: HTTP answers in pieces whose lengths the second byte says, frames of output, JSON.
#include <cstdlib>
#include <string>
#include <string_view>

#include "agents/runtime/answers.h"
#include "agents/runtime/checks.h"
#include "agents/runtime/frames.h"
#include "net/response_reader.h"
#include "net/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  using namespace onsight::agents::runtime;
  if (size < 2) return 0;
  const size_t at_once = 1 + data[1];
  const std::string_view all(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 4) {
    case 0: {
      const net::ResponseLimits limits{.header_bytes = 1024, .body_bytes = 4096};
      net::ResponseReader reader(limits, data[0] & 4 ? "HEAD" : "GET", (data[0] & 8) != 0);
      using State = net::ResponseReader::State;
      std::string held;
      size_t body = 0;
      for (size_t i = 0; i < all.size() && reader.state() != State::kDone && reader.state() != State::kFailed;
           i += at_once) {
        held += all.substr(i, at_once);
        for (;;) {
          const State before = reader.state();
          const size_t used = reader.feed(held);
          if (used > held.size()) std::abort();
          held.erase(0, used);
          body += reader.take_body().size();
          if (reader.state() == before) break;
        }
        if (body > limits.body_bytes) std::abort();
        if (reader.state() != State::kDone && held.size() > limits.header_bytes + at_once) std::abort();
      }
      reader.end();
      if (reader.state() != State::kDone && reader.state() != State::kFailed) std::abort();
      if (reader.state() == State::kFailed && reader.message().empty()) std::abort();
      break;
    }
    case 1: {
      FrameDecoder decoder;
      size_t bytes = 0;
      for (size_t i = 0; i < all.size(); i += at_once)
        if (!decoder.feed(all.substr(i, at_once), [&](FrameDecoder::Source, std::string_view piece) {
              bytes += piece.size();
              return Status();
            }))
          break;
      if (bytes > all.size()) std::abort();
      break;
    }
    case 2: {
      ProgressLines lines;
      for (size_t i = 0; i < all.size(); i += at_once)
        if (!lines.feed(all.substr(i, at_once))) break;
      (void)lines.end();
      (void)net::parse_authority(all, data[0] & 4 ? "http" : "");
      (void)judge(all, {}, check_spec("image"));
      break;
    }
    default: {
      (void)parse_version(all);
      (void)parse_id(all, "fuzz");
      (void)parse_container(all);
      (void)parse_containers(all);
      (void)parse_wait(all);
      (void)parse_exec(all);
      (void)parse_image(all);
      (void)parse_info(all);
      if (refusal(500, all).size() > 600) std::abort();
    }
  }
  return 0;
}
