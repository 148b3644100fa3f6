// Frames: what a container without a terminal prints, as the engine sends it: output and errors in one stream, each
// piece behind a head of eight bytes.
//
//   FrameDecoder decoder;
//   TRY_STATUS(decoder.feed(bytes, [](FrameDecoder::Source source, std::string_view piece) { return Status(); }));
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/result.h"

namespace onsight::agents::runtime {

class FrameDecoder {
 public:
  enum class Source { kOut, kErr };
  using Take = std::function<Status(Source source, std::string_view piece)>;

  // Hands on what is there of each frame at once: nothing is held but a head.
  Status feed(std::string_view bytes, const Take& take);
  bool between_frames() const { return head_bytes_ == 0 && left_ == 0; }  // where a stream may end

 private:
  std::array<unsigned char, 8> head_{};
  size_t head_bytes_ = 0;
  uint64_t left_ = 0;  // of the frame
  Source source_ = Source::kOut;
};

}  // namespace onsight::agents::runtime
