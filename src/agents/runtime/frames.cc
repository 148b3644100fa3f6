#include "agents/runtime/frames.h"

#include <algorithm>

namespace onsight::agents::runtime {

Status FrameDecoder::feed(std::string_view bytes, const Take& take) {
  while (!bytes.empty()) {
    if (left_ > 0) {
      const std::string_view piece = bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, bytes.size())));
      left_ -= piece.size();
      bytes.remove_prefix(piece.size());
      TRY_STATUS(take(source_, piece));
      continue;
    }
    head_[head_bytes_++] = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    if (head_bytes_ < head_.size()) continue;
    head_bytes_ = 0;
    // 0 is input, which docker's documentation says is written to the output; 3 is an error of the engine's own.
    if (head_[0] > 3 || head_[1] != 0 || head_[2] != 0 || head_[3] != 0)
      return bad_input("the engine's stream: expected the head of a frame, found byte {}", head_[0]);
    source_ = head_[0] >= 2 ? Source::kErr : Source::kOut;
    for (size_t i = 4; i < head_.size(); ++i) left_ = left_ << 8 | head_[i];
  }
  return {};
}

}  // namespace onsight::agents::runtime
