// Ctrl-C, and a terminal that is closed or a plain kill, which end a prompt, too. Before a verb asks for anything else
// it ends the program at once with exit code 130; while a CatchInterrupts lives it sets a flag instead, which the
// engine reads between tokens.
#pragma once

#include <atomic>
#include <memory>

namespace onsight::cli {

enum class Interrupts {
  kEndProgram,  // at once
  kFlagOnce,    // the first sets the flag, the second ends the program at once
  kFlag,        // each sets the flag
};

class CatchInterrupts {
 public:
  explicit CatchInterrupts(Interrupts mode);
  ~CatchInterrupts();
  CatchInterrupts(const CatchInterrupts&) = delete;
  CatchInterrupts& operator=(const CatchInterrupts&) = delete;

 private:
  Interrupts before_;
};

// Set by Ctrl-C. Who starts something that Ctrl-C may stop clears it first.
std::atomic<bool>& interrupted();
// The same for a request.
inline std::shared_ptr<const std::atomic<bool>> interrupted_flag() { return {std::shared_ptr<void>(), &interrupted()}; }

// Readable after a signal that a prompt must react to: the byte 'c' for Ctrl-C, 'w' for a changed window.
int signal_pipe();

// Installs the handler of SIGINT, SIGTERM and SIGHUP; makes a closed pipe and a file-size limit ordinary write errors
// instead of deaths.
void install_signal_handlers();

}  // namespace onsight::cli
