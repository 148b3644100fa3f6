#include "engine/text_stream.h"

#include <algorithm>
#include <numeric>

#include "text/utf8.h"

namespace onsight::engine {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Whether more bytes could complete the sequence that `bytes` holds whole and nothing else.
bool may_be_completed(std::string_view bytes) {
  const unsigned char lead = static_cast<unsigned char>(bytes[0]);
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
  if (lead > 0xf4 || bytes.size() >= length) return false;
  return -text::utf8_sequence(bytes) == static_cast<int>(bytes.size());
}

}  // namespace

std::string TextStream::push(std::string_view bytes) {
  bytes_ += bytes;
  size_t at = 0;
  while (at < bytes_.size()) {
    const std::string_view rest = std::string_view(bytes_).substr(at);
    const int length = text::utf8_sequence(rest);
    if (length < 0 && may_be_completed(rest)) break;
    const auto count = static_cast<size_t>(length > 0 ? length : -length);
    add_pending(length > 0 ? rest.substr(0, count) : kReplacement, count);
    at += count;
  }
  bytes_.erase(0, at);
  return release(false);
}

std::string TextStream::finish() {
  if (!bytes_.empty()) add_pending(text::replace_invalid_utf8(bytes_), bytes_.size());
  bytes_.clear();
  return release(true);
}

std::string TextStream::release(bool all) {
  if (!started_ && !pending_.empty()) {
    started_ = true;
    if (pending_[0] == ' ') {
      skipped_ = 1;
      drop_pending(1);
    }
  }
  size_t end = pending_.size();
  for (const std::string& stop : stop_) {
    const size_t found = pending_.find(stop);
    if (found != std::string::npos && found <= end) {
      end = found;
      stopped_ = true;
    }
  }
  if (!stopped_ && !all) {
    // Keep the longest end that some stop string begins with.
    for (const std::string& stop : stop_)
      for (size_t n = std::min(stop.size() - 1, pending_.size()); n > 0; --n)
        if (std::string_view(pending_).substr(pending_.size() - n) == std::string_view(stop).substr(0, n)) {
          end = std::min(end, pending_.size() - n);
          break;
        }
  }
  std::string out = pending_.substr(0, end);
  drop_pending(end);
  if (stopped_) {
    pending_.clear();
    pending_bytes_.clear();
  }
  text_ += out;
  return out;
}

void TextStream::add_pending(std::string_view text, size_t bytes) {
  pending_ += text;
  pending_bytes_.resize(pending_.size());
  // All at the first, so that they go together.
  const bool same = text.size() == bytes;
  for (size_t i = 0; i < text.size(); ++i)
    pending_bytes_[pending_.size() - text.size() + i] = same ? 1 : i == 0 ? bytes : 0;
}

void TextStream::drop_pending(size_t count) {
  const auto end = pending_bytes_.begin() + static_cast<std::ptrdiff_t>(count);
  certain_ += std::accumulate(pending_bytes_.begin(), end, size_t{0});
  pending_bytes_.erase(pending_bytes_.begin(), end);
  pending_.erase(0, count);
}

}  // namespace onsight::engine
