// onsight agents look, attach, logs, exec: at the terminals of agents.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>

#include "cli/agents/agents.h"
#include "cli/interrupt.h"
#include "net/unix_client.h"

namespace onsight::cli {
namespace {

using agents::state::Phase;

constexpr double kAnswerSeconds = 10;

struct WindowSize {
  int rows = 24, columns = 80;
};
WindowSize window_size() {
  struct winsize size = {};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
    return {size.ws_row, size.ws_col};
  return {};
}

// Every key goes through as it is, until this is let go.
class RawTerminal {
 public:
  RawTerminal() : active_(::isatty(STDIN_FILENO) && ::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!active_) return;
    struct termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  }
  ~RawTerminal() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  struct termios before_ = {};
  bool active_;
};

// "ctrl-]" → 0x1d
Result<char> control_key(const std::string& name) {
  if (name.size() == 6 && name.starts_with("ctrl-")) {
    const char c = name[5];
    if (c >= 'a' && c <= 'z') return static_cast<char>(c - 'a' + 1);
    if (c >= '[' && c <= '_') return static_cast<char>(c - '@');
  }
  return make_error(ErrorCode::kUsage, "--detach-key {}: expected ctrl- and a letter, or one of [ \\ ] ^ _", name);
}

// Carries keys there and what is drawn back, until the other side ends or the key is pressed; `resized` is told of a
// changed window. Returns whether it was the key.
Result<bool> be_there(net::RawStream& stream, std::optional<char> detach, Output& out,
                      const std::function<void(WindowSize)>& resized) {
  bool typing = true;
  WindowSize size = window_size();
  for (;;) {
    struct pollfd ends[2] = {{stream.socket(), POLLIN, 0}, {typing ? STDIN_FILENO : -1, POLLIN, 0}};
    if (!stream.has_bytes() && ::poll(ends, 2, 250) < 0 && errno != EINTR)
      return make_error(ErrorCode::kIo, "the terminal cannot be read");
    const WindowSize now = window_size();
    if (now.rows != size.rows || now.columns != size.columns) resized(size = now);
    if (stream.has_bytes() || ends[0].revents) {
      TRY(const auto bytes, stream.read(std::chrono::milliseconds(0)));
      if (bytes && bytes->empty()) return false;
      if (bytes) {
        TRY_STATUS(out.write(*bytes));
      }
    }
    if (ends[1].revents) {
      char keys[4096];
      const ssize_t n = ::read(STDIN_FILENO, keys, sizeof keys);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        typing = false;  // a pipe that has ended: what the other side says is still shown
        stream.end_sending();
        continue;
      }
      std::string_view typed(keys, static_cast<size_t>(n));
      const size_t key = detach ? typed.find(*detach) : std::string_view::npos;
      TRY_STATUS(stream.write(typed.substr(0, key)));
      if (key != std::string_view::npos) return true;
    }
  }
}

class TerminalVerb : public Verb {
 protected:
  void declare_common(Options& options) {
    options.argument("NAME", name_, "of the agent");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }
  Result<std::unique_ptr<agents::Fleet>> open(agents::state::AgentRow& row) {
    TRY(const std::string name, expected_name(name_, "the NAME of an agent"));
    TRY(auto fleet, open_fleet(project_));
    TRY(row, fleet->agent(name));
    return fleet;
  }
  std::optional<std::string> name_, project_;
};

class AgentsLook : public TerminalVerb {
 public:
  void declare(Options& options) override { declare_common(options); }

  Status run(Context& context) override {
    agents::state::AgentRow row;
    TRY(auto fleet, open(row));
    if (row.phase == Phase::kRunning) {
      TRY_STATUS(fleet->wake());
      const net::UnixClient client(fleet->project().control());
      TRY(const net::HttpResponse answer,
          client.request({.target = "/agents/" + row.name + "/screen"}, net::seconds_from_now(kAnswerSeconds)));
      if (answer.status == 200) return context.out.write(answer.body.empty() ? "" : answer.body + "\n");
    }
    TRY(const std::string text, agents::supervisor::last_screen(fleet->project(), row));
    return context.out.write(text.empty() ? "" : text + "\n");
  }
};

class AgentsAttach : public TerminalVerb {
 public:
  void declare(Options& options) override {
    declare_common(options);
    options.text("--detach-key", "KEY", key_, "leaves the agent running and returns (ctrl-])");
  }

  Status run(Context& context) override {
    TRY(const char key, control_key(key_.value_or("ctrl-]")));
    agents::state::AgentRow row;
    TRY(auto fleet, open(row));
    const auto up = [](const agents::state::AgentRow& now) {
      return now.phase == Phase::kRunning || now.phase == Phase::kStopped;
    };
    TRY_STATUS(fleet->wake());
    TRY(row, fleet->wait_until(row.name, up, std::chrono::minutes(5)));
    if (row.phase != Phase::kRunning)
      return make_error(ErrorCode::kUsage, "{}: it is stopped: onsight agents resume {}", row.name, row.name);
    const net::UnixClient client(fleet->project().control());
    const WindowSize size = window_size();
    const auto target = [&](std::string_view verb, WindowSize to) {
      return fmt::format("/agents/{}/{}?rows={}&columns={}", row.name, verb, to.rows, to.columns);
    };
    TRY(auto hijacked,
        client.hijack({.method = "POST", .target = target("attach", size)}, net::seconds_from_now(kAnswerSeconds)));
    if (!hijacked.stream) return bad_input("{}: {}", row.name, hijacked.head.body);
    bool detached = false;
    {
      const RawTerminal raw;
      const CatchInterrupts keep(Interrupts::kFlag);
      TRY(detached, be_there(*hijacked.stream, key, context.out, [&](WindowSize to) {
            (void)client.request({.method = "POST", .target = target("size", to)}, net::seconds_from_now(2));
          }));
    }
    // The agent may have left the terminal in any state.
    if (context.out.is_terminal()) {
      TRY_STATUS(
          context.out.write("\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m\r\n"));
      return context.out.write(detached ? fmt::format("{}: detached, it goes on\n", row.name)
                                        : fmt::format("{}: it has ended\n", row.name));
    }
    return {};
  }

 private:
  std::optional<std::string> key_;
};

class AgentsLogs : public TerminalVerb {
 public:
  void declare(Options& options) override {
    declare_common(options);
    options.flag("-f,--follow", follow_, "go on until the agent ends");
  }

  Status run(Context& context) override {
    agents::state::AgentRow row;
    TRY(auto fleet, open(row));
    if (follow_) {
      TRY_STATUS(fleet->wake());
    }
    const CatchInterrupts keep(Interrupts::kFlag);
    agents::supervisor::LogReader reader(fleet->project(), row.name, row.generation, !context.out.is_terminal());
    for (;;) {
      TRY(row, fleet->agent(row.name));
      const bool last = !follow_ || row.phase == Phase::kStopped || row.phase == Phase::kError;
      for (;;) {
        TRY(const std::string bytes, reader.more());
        if (bytes.empty()) break;
        TRY_STATUS(context.out.write(bytes));
      }
      if (last) return {};
      if (interrupted()) return make_error(ErrorCode::kInterrupted, "interrupted");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }

 private:
  bool follow_ = false;
};

// The exit code of a command is the program's own: it ends here, when all is written.
class AgentsExec : public TerminalVerb {
 public:
  void declare(Options& options) override {
    options.flag("-t,--terminal", terminal_, "with a terminal, as for a shell");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
    options.arguments("NAME -- COMMAND", words_, "the agent, and what to run in its container");
  }

  Status run(Context& context) override {
    if (words_.size() < 2) return make_error(ErrorCode::kUsage, "expected NAME -- COMMAND");
    name_ = words_[0];
    const std::vector<std::string> command(words_.begin() + 1, words_.end());
    agents::state::AgentRow row;
    TRY(auto fleet, open(row));
    if (row.phase != Phase::kRunning)
      return make_error(ErrorCode::kUsage, "{}: it is {}", row.name, agents::state::name_of(row.phase));
    TRY(agents::runtime::Runtime * engine, fleet->runtime());
    int code = 0;
    if (terminal_) {
      TRY(code, in_terminal(*engine, row.container, command, context.out));
    } else {
      TRY(const agents::runtime::ExecResult result,
          engine->exec(row.container, command, std::chrono::hours(24), uint64_t{1} << 30));
      TRY_STATUS(context.out.write(result.out));
      Output errors(STDERR_FILENO);
      (void)errors.write(result.err);
      code = result.exit_code;
    }
    if (code != 0) ::_exit(code);
    return {};
  }

 private:
  static Result<int> in_terminal(agents::runtime::Runtime& engine, const std::string& container,
                                 const std::vector<std::string>& command, Output& out) {
    const WindowSize size = window_size();
    TRY(auto started, engine.exec_terminal(container, command, size.rows, size.columns));
    agents::runtime::Attachment& there = *started.second;
    const RawTerminal raw;
    const CatchInterrupts keep(Interrupts::kFlag);
    std::atomic<bool> ended{false};
    std::thread keys([&] {
      WindowSize before = size;
      while (!ended) {
        struct pollfd in = {STDIN_FILENO, POLLIN, 0};
        const int ready = ::poll(&in, 1, 100);
        const WindowSize now = window_size();
        if (now.rows != before.rows || now.columns != before.columns)
          (void)engine.resize_exec(started.first, (before = now).rows, now.columns);
        if (ready <= 0) continue;
        char typed[4096];
        const ssize_t n = ::read(STDIN_FILENO, typed, sizeof typed);
        if (n <= 0 || !there.write({typed, static_cast<size_t>(n)})) return;
      }
    });
    Status shown;
    for (;;) {
      auto bytes = there.read(std::chrono::seconds(1));
      if (!bytes) shown = tl::unexpected<Error>(bytes.error());
      if (!bytes || (*bytes && (*bytes)->empty())) break;
      if (*bytes && !(shown = out.write(**bytes))) break;
    }
    ended = true;
    keys.join();
    TRY_STATUS(shown);
    return engine.exec_exit_code(started.first);
  }

  std::vector<std::string> words_;
  bool terminal_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_agents_look() { return std::make_unique<AgentsLook>(); }
std::unique_ptr<Verb> make_agents_attach() { return std::make_unique<AgentsAttach>(); }
std::unique_ptr<Verb> make_agents_logs() { return std::make_unique<AgentsLogs>(); }
std::unique_ptr<Verb> make_agents_exec() { return std::make_unique<AgentsExec>(); }

}  // namespace onsight::cli
