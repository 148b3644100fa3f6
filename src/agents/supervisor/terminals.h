// Terminals: what each running agent's terminal shows, and those who are attached to it. One thread an agent reads what
// its engine sends, keeps the screen, and writes it to a log file of this container.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "agents/project.h"
#include "agents/runtime/runtime.h"
#include "agents/state/store.h"
#include "base/result.h"
#include "net/raw_stream.h"

namespace onsight::agents::supervisor {

struct TerminalSigns {
  bool attached = false, ended = false;
  int64_t output_ms = 0;  // when it was last written to
  std::string tail;       // the last lines that it shows
};

class Terminals {
 public:
  Terminals(const Project& project, runtime::Runtime& runtime) : project_(project), runtime_(runtime) {}
  ~Terminals() { close(); }
  Terminals(const Terminals&) = delete;
  Terminals& operator=(const Terminals&) = delete;

  // Takes hold of the terminal of a container that runs, with what was printed on it before; or of one that is still to
  // be started, which is told its size by fit() then. `ended` is called once, on a thread of its own, when the engine
  // sends no more.
  enum class Of { kRunning, kCreated };
  Status hold(const std::string& agent, int64_t generation, const std::string& container, Of state,
              std::function<void()> ended);
  void fit(const std::string& agent);
  void let_go(const std::string& agent);
  void close();  // lets go of all, and of who is attached
  TerminalSigns signs(const std::string& agent) const;
  Result<std::string> screen(const std::string& agent) const;  // as text
  Status type(const std::string& agent, std::string_view keys);
  Status resize(const std::string& agent, int rows, int columns);
  // Carries bytes between the two until one ends; the first that comes draws the screen as it is.
  Status join(const std::string& agent, std::unique_ptr<net::RawStream> stream);

 private:
  struct Terminal;
  std::shared_ptr<Terminal> find(const std::string& agent) const;
  const Project& project_;
  runtime::Runtime& runtime_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Terminal>> terminals_;
};

// What one container's terminal was sent: the log and, once it is large, its former half.
Path log_file(const Project& project, std::string_view agent, int64_t generation);

// Reads a log from its start, piece by piece; `plain` leaves out what steers a terminal.
class LogReader {
 public:
  LogReader(const Project& project, const std::string& agent, int64_t generation, bool plain);
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;
  Result<std::string> more();  // empty: nothing yet

 private:
  Path file_;
  int fd_ = -1;
  bool plain_;
  std::string pending_;  // of a sequence that is not whole
};

// The text without escape sequences and control characters; what is not whole at its end stays in `pending`.
std::string without_controls(std::string_view bytes, std::string& pending);

// What an agent's terminal showed last, out of its log.
Result<std::string> last_screen(const Project& project, const state::AgentRow& agent);

}  // namespace onsight::agents::supervisor
