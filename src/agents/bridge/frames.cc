#include "agents/bridge/frames.h"

#include <algorithm>

namespace onsight::agents::bridge {
namespace {

constexpr size_t kHeadBytes = 8;

uint32_t number_at(std::string_view bytes, size_t at, size_t count) {
  uint32_t out = 0;
  for (size_t i = 0; i < count; ++i) out = out << 8 | static_cast<unsigned char>(bytes[at + i]);
  return out;
}

void append_number(std::string& out, uint32_t number, int count) {
  for (int shift = 8 * (count - 1); shift >= 0; shift -= 8) out += static_cast<char>(number >> shift & 0xff);
}

// How many bytes follow this head; an error where no frame begins so.
Result<size_t> length_behind(std::string_view head) {
  const uint32_t kind = number_at(head, 0, 1), length = number_at(head, 2, 2);
  if (kind < static_cast<uint32_t>(Kind::kOpen) || kind > static_cast<uint32_t>(Kind::kClose) || head[1] != 0)
    return bad_input("the bridge: expected a frame, found bytes that are none");
  const bool fits = kind == static_cast<uint32_t>(Kind::kData)     ? length > 0 && length <= kMostFrameBytes
                    : kind == static_cast<uint32_t>(Kind::kCredit) ? length == 4
                                                                   : length == 0;
  if (!fits) return bad_input("the bridge: a frame of kind {}: {} bytes are not what it has", kind, length);
  return length;
}

}  // namespace

void append_frame(std::string& out, Kind kind, uint32_t connection, std::string_view bytes) {
  out += static_cast<char>(kind);
  out += '\0';
  append_number(out, static_cast<uint32_t>(bytes.size()), 2);
  append_number(out, connection, 4);
  out += bytes;
}

void append_credit(std::string& out, uint32_t connection, uint32_t credit) {
  std::string bytes;
  append_number(bytes, credit, 4);
  append_frame(out, Kind::kCredit, connection, bytes);
}

Status FrameReader::feed(std::string_view bytes, const Take& take) {
  while (!bytes.empty()) {
    // What is whole in `bytes` is handed on from there; else it is put together.
    const bool in_place = held_.empty() && bytes.size() >= kHeadBytes;
    const auto fill = [&](size_t wanted) {
      const size_t more = std::min(bytes.size(), wanted - std::min(wanted, held_.size()));
      held_ += bytes.substr(0, more);
      bytes.remove_prefix(more);
      return held_.size() >= wanted;
    };
    if (!in_place && !fill(kHeadBytes)) return {};
    TRY(const size_t length, length_behind(in_place ? bytes : std::string_view(held_)));
    const size_t whole = kHeadBytes + length;
    const bool direct = in_place && bytes.size() >= whole;
    if (!direct && !fill(whole)) return {};
    const std::string_view text = direct ? bytes.substr(0, whole) : std::string_view(held_);
    Frame frame = {.kind = static_cast<Kind>(text[0]),
                   .connection = number_at(text, 4, 4),
                   .bytes = text.substr(kHeadBytes),
                   .credit = 0};
    if (frame.kind == Kind::kCredit) frame.credit = number_at(frame.bytes, 0, 4);
    TRY_STATUS(take(frame));
    if (direct)
      bytes.remove_prefix(whole);
    else
      held_.clear();
  }
  return {};
}

}  // namespace onsight::agents::bridge
