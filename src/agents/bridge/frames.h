// Frames: what the two ends of a bridge say to each other over one stream of bytes.
//
//   append_frame(out, Kind::kData, 7, "GET / HTTP/1.1\r\n");
//   TRY_STATUS(reader.feed(bytes, [&](const Frame& frame) { return take(frame); }));
//
// A head of eight bytes, big-endian: the kind, a zero, the length of what follows (two), the connection's number
// (four).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::agents::bridge {

enum class Kind : uint8_t {
  kOpen = 1,    // a new connection
  kData = 2,    // bytes of it; no more than the other end gave credit for
  kCredit = 3,  // four bytes: so many more may be sent
  kEnd = 4,     // nothing more comes from this side
  kClose = 5,   // it is no more, either way
};

struct Frame {
  Kind kind = Kind::kOpen;
  uint32_t connection = 0;
  std::string_view bytes;
  uint32_t credit = 0;  // of kCredit
};

constexpr size_t kMostFrameBytes = 16 << 10;

// At most kMostFrameBytes.
void append_frame(std::string& out, Kind kind, uint32_t connection, std::string_view bytes = {});
void append_credit(std::string& out, uint32_t connection, uint32_t credit);

class FrameReader {
 public:
  using Take = std::function<Status(const Frame& frame)>;

  // Hands on each frame that is whole, and holds no more than one that is not. After an error it is of no use.
  Status feed(std::string_view bytes, const Take& take);
  bool between_frames() const { return held_.empty(); }

 private:
  std::string held_;
};

}  // namespace onsight::agents::bridge
