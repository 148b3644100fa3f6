// Lines of a conversation: edited and remembered in a terminal, plain from a pipe.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"

namespace onsight::cli {

class LineReader {
 public:
  enum class Event { kLine, kInterrupted, kEnd };  // kInterrupted: Ctrl-C at the prompt
  virtual ~LineReader() = default;
  // The next line without its newline.
  virtual Event read(const std::string& prompt, std::string& line) = 0;
  virtual bool interactive() const = 0;

  // With line editing if standard input is a terminal; `history` is read now and rewritten after each line.
  static std::unique_ptr<LineReader> open(const Path& history);
};

// $XDG_STATE_HOME/onsight/history or ~/.local/state/onsight/history; empty if neither variable is set.
Path history_file();

}  // namespace onsight::cli
