#include "agents/broker/replacer.h"

namespace onsight::agents::broker {

Replacer::Replacer(std::string_view needle, std::string_view with)
    : needle_(needle), with_(with), back_(needle.size() + 1, 0) {
  size_t length = 0;
  for (size_t i = 1; i < needle.size(); ++i) {
    while (length > 0 && needle[i] != needle[length]) length = back_[length];
    if (needle[i] == needle[length]) ++length;
    back_[i + 1] = length;
  }
}

Replacer::~Replacer() = default;

// What is held back is a beginning of the needle, so it need not be kept: a copy of a key would lie about.
void Replacer::feed(std::string_view in, std::string& out) {
  if (needle_.empty()) {
    out += in;
    return;
  }
  for (size_t i = 0; i < in.size();) {
    if (matched_ == 0) {
      const size_t next = in.find(needle_[0], i);
      out += in.substr(i, next == std::string_view::npos ? next : next - i);
      if (next == std::string_view::npos) return;
      matched_ = 1;
      i = next + 1;
    } else if (in[i] == needle_[matched_]) {
      ++matched_;
      ++i;
    } else {
      const size_t shorter = back_[matched_];
      out += needle_.substr(0, matched_ - shorter);
      matched_ = shorter;
    }
    if (matched_ == needle_.size()) {
      out += with_;
      matched_ = 0;
      ++found_;
    }
  }
}

void Replacer::finish(std::string& out) {
  out += needle_.substr(0, matched_);
  matched_ = 0;
}

}  // namespace onsight::agents::broker
