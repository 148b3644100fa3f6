#include "agents/image/command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>

#include "base/subprocess.h"

extern char** environ;

namespace onsight::agents::image {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxLine = 4096;
constexpr size_t kKeptLines = 40;
constexpr auto kGrace = std::chrono::seconds(10);

struct Descriptor {
  int fd = -1;
  Descriptor() = default;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  void close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

// A file without a name that holds what the program reads.
bool input_file(const std::string& text, Descriptor& out) {
  out.fd = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (out.fd < 0) out.fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (out.fd < 0) return false;
  return ::pwrite(out.fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

// What the program itself says is wrong, in the last of its lines.
std::string complaint(const std::deque<std::string>& lines) {
  for (const std::string_view sign : {"npm error", "E: ", "error: ", "tar: ", "Error"})
    for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
      const bool log = line->find("complete log of this run") != line->npos || line->find("exited with") != line->npos;
      if (line->find(sign) != line->npos && !log) return *line;
    }
  return lines.empty() ? "it says nothing" : lines.back();
}

}  // namespace

Status run_command(const Command& command, const std::function<void(std::string_view)>& on_line,
                   const std::function<bool()>& stop) {
  const std::string& name = command.words[0];
  if (!has_program(name)) return bad_input("{}: not on this machine", name);
  Descriptor input, read_end, write_end;
  int ends[2];
  if (!input_file(command.input, input) || ::pipe2(ends, O_CLOEXEC) != 0)
    return make_error(ErrorCode::kIo, "{}: {}", name, std::strerror(errno));
  read_end.fd = ends[0];
  write_end.fd = ends[1];
  std::vector<std::string> storage;
  for (char** old = environ; *old; ++old) {
    const std::string_view entry = *old;
    const auto& own = command.environment;
    if (std::none_of(own.begin(), own.end(), [&](const auto& v) { return entry.starts_with(v.first + "="); }))
      storage.emplace_back(entry);
  }
  for (const auto& [variable, value] : command.environment) storage.push_back(variable + "=" + value);
  std::vector<char*> environment, arguments;
  for (std::string& entry : storage) environment.push_back(entry.data());
  for (const std::string& word : command.words) arguments.push_back(const_cast<char*>(word.c_str()));
  environment.push_back(nullptr);
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (!command.folder.empty()) ::posix_spawn_file_actions_addchdir_np(&actions, command.folder.c_str());
  ::posix_spawn_file_actions_adddup2(&actions, input.fd, 0);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.fd, 1);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.fd, 2);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t defaults;
  ::sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGINT, SIGQUIT, SIGTERM}) ::sigaddset(&defaults, signal);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return make_error(ErrorCode::kIo, "{}: cannot be run ({})", name, std::strerror(error));
  write_end.close();
  ::fcntl(read_end.fd, F_SETFL, O_NONBLOCK);

  std::deque<std::string> lines;
  std::string rest;
  const auto say = [&](std::string line) {
    if (line.empty()) return;
    if (on_line) on_line(line);
    lines.push_back(std::move(line));
    if (lines.size() > kKeptLines) lines.pop_front();
  };
  int status = 0;
  bool stopped = false, ended = false;
  Clock::time_point kill_at = Clock::time_point::max();
  while (!ended) {
    pollfd wanted = {.fd = read_end.fd, .events = POLLIN, .revents = 0};
    ::poll(&wanted, 1, 100);
    char buffer[16 << 10];
    // A program that it left behind may keep the pipe open: its own end is what counts.
    ended = ::waitpid(pid, &status, WNOHANG) == pid;
    for (ssize_t n = 0; (n = ::read(read_end.fd, buffer, sizeof buffer)) > 0;) {
      for (const char c : std::string_view(buffer, static_cast<size_t>(n))) {
        if (c == '\n' || c == '\r' || rest.size() >= kMaxLine)
          say(std::exchange(rest, std::string()));
        else if (static_cast<unsigned char>(c) >= 0x20)
          rest += c;
      }
    }
    if (!ended && !stopped && stop && stop()) {
      stopped = true;
      ::kill(-pid, SIGTERM);
      kill_at = Clock::now() + kGrace;
    }
    if (Clock::now() >= kill_at) ::kill(-pid, SIGKILL);
  }
  say(rest);
  if (stopped) {
    ::kill(-pid, SIGKILL);
    return make_error(ErrorCode::kInterrupted, "interrupted");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return bad_input("{}: ended with code {} ({})", name,
                   WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), complaint(lines));
}

}  // namespace onsight::agents::image
