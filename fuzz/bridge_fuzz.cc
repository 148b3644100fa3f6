// Frames of a bridge, as an agent's pod may send them: however they are cut, they are the same frames.
#include <cstdlib>
#include <string>
#include <string_view>

#include "agents/bridge/frames.h"

namespace {

using onsight::agents::bridge::Frame;
using onsight::agents::bridge::FrameReader;

void expect(bool condition) {
  if (!condition) std::abort();
}

// What was read, and whether all of it was frames.
bool read_frames(std::string_view text, bool cut, std::string& seen) {
  FrameReader reader;
  for (size_t at = 0, step = cut ? 1 : text.size(); at < text.size(); at += step, step = cut ? step % 11 + 1 : step) {
    const onsight::Status status = reader.feed(text.substr(at, step), [&](const Frame& frame) {
      expect(frame.bytes.size() <= onsight::agents::bridge::kMostFrameBytes);
      onsight::agents::bridge::append_frame(seen, frame.kind, frame.connection, frame.bytes);
      return onsight::Status();
    });
    if (!status) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string whole, parts;
  const bool first = read_frames(text, false, whole), second = read_frames(text, true, parts);
  expect(first == second && whole == parts);
  expect(text.starts_with(whole));  // what was read is written as it was
  return 0;
}
