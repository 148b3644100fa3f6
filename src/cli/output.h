// Standard output and the progress bar: unbuffered, with every failed write seen.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::cli {

// Writes to a descriptor at once. The first failure sticks: what comes after it is not written.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  Status write(std::string_view bytes);
  bool failed() const { return failed_; }
  bool reader_gone() const { return reader_gone_; }  // the pipe was closed, as `| head` does: not worth a message
  bool is_terminal() const;

 private:
  int fd_;
  bool failed_ = false, reader_gone_ = false;
  std::string reason_;
};

// Prints an answer piece by piece so that it ends in exactly one newline, and so that no model can send control codes
// to a terminal.
class AnswerPrinter {
 public:
  explicit AnswerPrinter(Output& out) : out_(out), terminal_(out.is_terminal()) {}
  Status print(std::string_view piece);  // whole UTF-8 characters
  Status finish();
  bool started() const { return started_; }

 private:
  Output& out_;
  bool terminal_, started_ = false;
  size_t newlines_held_ = 0;  // written only when something follows them
};

// A bar on standard error, drawn only if that is a terminal; erased by clear() and by its end.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void show(std::string_view what, int64_t done, int64_t total);
  void say(std::string_view what);  // where nobody knows how much there is to do
  void clear();

 private:
  bool enabled_, drawn_ = false;
  std::string last_;
  std::chrono::steady_clock::time_point next_{};
};

// Text without control characters, so that it stays one line and cannot steer a terminal.
std::string printable(std::string_view text);

// `text`, without its middle if it is longer than `bytes`; characters stay whole.
std::string shortened(const std::string& text, size_t bytes);

}  // namespace onsight::cli
