// TextStream: bytes of tokens in, whole UTF-8 characters out, ending before the first stop string.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onsight::engine {

class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {}

  // Returns the text that has become certain: it holds back incomplete characters and what may be the start of a stop
  // string.
  std::string push(std::string_view bytes);
  // What was held back, invalid UTF-8 replaced by U+FFFD.
  std::string finish();
  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }  // all text returned so far

 private:
  std::string release(bool all);
  std::vector<std::string> stop_;
  std::string bytes_;    // not yet whole characters
  std::string pending_;  // characters that may begin a stop string
  std::string text_;
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace onsight::engine
