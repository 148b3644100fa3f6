// LiveProgram: another program, spoken to while it runs, without a shell: at a terminal of its own, or over a socket
// that is its standard input and output.
//
//   TRY(auto program, LiveProgram::start({"kubectl", "attach", "-it", pod}, LiveProgram::Size{40, 120}));
//   TRY_STATUS(program->write("ls\r", std::chrono::seconds(10)));
//   TRY(auto bytes, program->read(std::chrono::seconds(1)));   // nullopt: nothing yet; empty: the end
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight {

// read() by one thread at a time; all others may be called from any thread.
class LiveProgram {
 public:
  struct Size {
    int rows = 24, columns = 80;
  };
  // The first word is found in PATH, or is a path. Its terminal is raw: bytes go both ways as they are. Standard error
  // is kept apart from a terminal, and goes nowhere otherwise.
  static Result<std::unique_ptr<LiveProgram>> start(const std::vector<std::string>& command,
                                                    std::optional<Size> terminal);
  ~LiveProgram();  // ends it, with the programs that it started
  LiveProgram(const LiveProgram&) = delete;
  LiveProgram& operator=(const LiveProgram&) = delete;

  Result<std::optional<std::string>> read(std::chrono::milliseconds wait);
  // All of it; an error if it takes nothing for `limit`, or has gone.
  Status write(std::string_view bytes, std::chrono::milliseconds limit);
  Status resize(Size size);  // of its terminal
  void end();                // at once; who reads reads the end
  // Its exit code, 128 and more: the signal that ended it; kBusy: it has not ended in time.
  Result<int> wait(std::chrono::milliseconds limit);
  std::string errors() const;             // the last 4 KiB of its standard error
  int stream() const { return stream_; }  // for who carries bytes itself

 private:
  LiveProgram(std::string name, pid_t pid, int stream, int errors)
      : name_(std::move(name)), pid_(pid), stream_(stream), errors_(errors) {}
  const std::string name_;
  const pid_t pid_;
  const int stream_, errors_;
  mutable std::mutex mutex_;
  std::mutex writing_;
  std::optional<int> code_;  // it was waited for: its number may be another's now
};

}  // namespace onsight
