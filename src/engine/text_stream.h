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
  // Which of the bytes that were pushed the text is made of: those from skipped() up to certain().
  size_t skipped() const { return skipped_; }
  size_t certain() const { return certain_; }

 private:
  std::string release(bool all);
  void add_pending(std::string_view text, size_t bytes);
  void drop_pending(size_t count);
  std::vector<std::string> stop_;
  std::string bytes_;                  // not yet whole characters
  std::string pending_;                // characters that may begin a stop string
  std::vector<size_t> pending_bytes_;  // of what was pushed, for each byte of pending_
  size_t skipped_ = 0, certain_ = 0;
  std::string text_;
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace onsight::engine
