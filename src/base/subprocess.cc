#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

extern char** environ;

namespace onsight {
namespace {

using Clock = std::chrono::steady_clock;

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// A program that was started. Whatever way it is left, it has ended and nobody waits for it.
class Child {
 public:
  static Result<Child> start(const std::vector<std::string>& command) {
    // Asked first, since an emulated posix_spawn, QEMU's, may succeed where there is nothing to run.
    if (!has_program(command[0])) return bad_input("{}: not on this machine", command[0]);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return make_error(ErrorCode::kIo, "{}: {}", command[0], std::strerror(errno));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    // What this process ignores, a closed pipe, the other need not.
    sigset_t defaults;
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    ::sigaddset(&defaults, SIGXFSZ);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    Child child;
    const int error = ::posix_spawnp(&child.pid_, arguments[0], &actions, &attributes, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    ::close(ends[1]);
    child.output_ = ends[0];
    if (error == 0) return child;
    child.pid_ = -1;
    return make_error(ErrorCode::kIo, "{}: cannot be run ({})", command[0], std::strerror(error));
  }
  Child(Child&& other) noexcept : pid_(other.pid_), output_(other.output_) { other.pid_ = other.output_ = -1; }
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (output_ >= 0) ::close(output_);
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }

  int output() const { return output_; }
  // Its exit code; 128 and more: the signal that ended it.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return code_of(status);
  }

 private:
  Child() = default;
  pid_t pid_ = -1;
  int output_ = -1;
};

// What Program asks for, on its way: three ends of its standard streams and its group.
class Running {
 public:
  explicit Running(const Program& program) : program_(program), input_left_(program.input) {}
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    for (int* end : {&input_, &output_, &errors_}) close_end(*end);
    if (pid_ < 0) return;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
  }

  Status start() {
    const std::string& name = program_.command[0];
    if (!has_program(name)) return bad_input("{}: not on this machine", name);
    // The input is a socket, so that writing to a program that has ended is an error and not a signal.
    int input[2] = {-1, -1}, output[2] = {-1, -1}, errors[2] = {-1, -1};
    if (program_.input_file < 0 && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input) != 0) return failed();
    input_ = input[0];
    const bool piped = ::pipe2(output, O_CLOEXEC) == 0;
    output_ = output[0];
    if (!piped || ::pipe2(errors, O_CLOEXEC) != 0) {
      for (int end : {input[1], output[1]}) close_end(end);
      return failed();
    }
    errors_ = errors[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, program_.input_file < 0 ? input[1] : program_.input_file, 0);
    ::posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    ::posix_spawn_file_actions_adddup2(&actions, errors[1], 2);
    if (!program_.folder.empty()) ::posix_spawn_file_actions_addchdir_np(&actions, program_.folder.c_str());
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);  // what a thread of this process blocks is not its business
    for (const int signal : {SIGPIPE, SIGXFSZ, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD})
      ::sigaddset(&signals, signal);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    std::vector<char*> arguments, environment;
    for (const std::string& argument : program_.command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    if (program_.environment)
      for (const std::string& entry : *program_.environment) environment.push_back(const_cast<char*>(entry.c_str()));
    environment.push_back(nullptr);
    const int error = ::posix_spawnp(&pid_, arguments[0], &actions, &attributes, arguments.data(),
                                     program_.environment ? environment.data() : environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    for (int end : {input[1], output[1], errors[1]}) close_end(end);
    if (error != 0) {
      pid_ = -1;
      return make_error(ErrorCode::kIo, "{}: cannot be run ({})", name, std::strerror(error));
    }
    ::setpgid(pid_, pid_);  // of both sides, see run_shell()
    if (program_.max_memory_bytes > 0) {
      const rlimit memory = {.rlim_cur = program_.max_memory_bytes, .rlim_max = program_.max_memory_bytes};
      ::prlimit(pid_, RLIMIT_AS, &memory, nullptr);
    }
    if (program_.input_file < 0 && input_left_.empty()) ::shutdown(input_, SHUT_WR);
    return {};
  }

  Result<Ended> finish() {
    const auto end = Clock::now() + program_.limit;
    Ended ended;
    while (output_ >= 0 || errors_ >= 0) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
      if (left <= 0) return bad_input("{}: not done after {} s", program_.command[0], program_.limit.count() / 1000);
      pollfd wanted[3] = {{.fd = input_left_.empty() ? -1 : input_, .events = POLLOUT, .revents = 0},
                          {.fd = output_, .events = POLLIN, .revents = 0},
                          {.fd = errors_, .events = POLLIN, .revents = 0}};
      if (::poll(wanted, 3, static_cast<int>(std::min<int64_t>(left, 1000))) <= 0) continue;
      if (wanted[0].revents != 0) give();
      if (wanted[1].revents != 0) TRY_STATUS(take_output());
      if (wanted[2].revents != 0) take_errors(ended.errors);
    }
    for (int status = 0;;) {  // it may have closed its streams and go on
      const pid_t done = ::waitpid(pid_, &status, WNOHANG);
      if (done == pid_) {
        pid_ = -1;
        ended.code = code_of(status);
        return ended;
      }
      if (done < 0 && errno != EINTR) return failed();
      if (Clock::now() > end)
        return bad_input("{}: not done after {} s", program_.command[0], program_.limit.count() / 1000);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

 private:
  static void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  tl::unexpected<Error> failed() const {
    return make_error(ErrorCode::kIo, "{}: {}", program_.command[0], std::strerror(errno));
  }
  void give() {
    const ssize_t sent =
        ::send(input_, input_left_.data(), std::min<size_t>(input_left_.size(), 1 << 16), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) input_left_.remove_prefix(static_cast<size_t>(sent));
    if (sent < 0 && errno != EINTR && errno != EAGAIN) input_left_ = {};  // it reads no more; its exit code says why
    if (input_left_.empty()) ::shutdown(input_, SHUT_WR);
  }
  Status take_output() {
    const ssize_t got = ::read(output_, buffer_, sizeof buffer_);
    if (got == 0) close_end(output_);
    if (got < 0 && errno != EINTR && errno != EAGAIN) return failed();
    if (got <= 0) return {};
    written_ += static_cast<uint64_t>(got);
    if (written_ > program_.max_output_bytes)
      return bad_input("{}: writes more than {} bytes", program_.command[0], program_.max_output_bytes);
    return program_.output ? program_.output({buffer_, static_cast<size_t>(got)}) : Status();
  }
  void take_errors(std::string& errors) {
    constexpr size_t kKept = 4096;
    const ssize_t got = ::read(errors_, buffer_, sizeof buffer_);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) close_end(errors_);
    if (got <= 0) return;
    errors.append(buffer_, static_cast<size_t>(got));
    if (errors.size() > kKept) errors.erase(0, errors.size() - kKept);
  }

  const Program& program_;
  std::string_view input_left_;
  uint64_t written_ = 0;
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1, errors_ = -1;
  char buffer_[1 << 16];
};

}  // namespace

Result<Ended> run(const Program& program) {
  Running running(program);
  TRY_STATUS(running.start());
  return running.finish();
}

bool has_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::string_view folders = path ? path : "/usr/bin:/bin";
  while (!folders.empty()) {
    const size_t end = std::min(folders.find(':'), folders.size());
    const std::filesystem::path file = std::filesystem::path(folders.substr(0, end)) / name;
    if (::access(file.c_str(), X_OK) == 0) return true;
    folders.remove_prefix(std::min(end + 1, folders.size()));
  }
  return false;
}

Result<std::string> output_of(const std::vector<std::string>& command, uint64_t max_bytes,
                              std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  TRY(Child child, Child::start(command));
  std::string out;
  char buffer[1 << 16];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return bad_input("{}: not done after {} s", command[0], limit.count() / 1000);
    pollfd wanted = {.fd = child.output(), .events = POLLIN, .revents = 0};
    if (::poll(&wanted, 1, static_cast<int>(std::min<int64_t>(left, 1000))) <= 0) continue;
    const ssize_t got = ::read(child.output(), buffer, sizeof buffer);
    if (got == 0) break;
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return make_error(ErrorCode::kIo, "{}: {}", command[0], std::strerror(errno));
    }
    if (out.size() + static_cast<size_t>(got) > max_bytes)
      return bad_input("{}: writes more than {} bytes", command[0], max_bytes);
    out.append(buffer, static_cast<size_t>(got));
  }
  const int code = child.wait();
  if (code != 0) return bad_input("{}: ended with code {}", command[0], code);
  return out;
}

Result<int> run_shell(const std::string& line, const std::vector<std::pair<std::string, std::string>>& variables,
                      std::chrono::milliseconds limit, const std::function<bool()>& stop) {
  std::vector<std::string> storage;
  for (char** old = environ; *old; ++old) {
    const std::string_view entry = *old;
    const std::string_view name = entry.substr(0, entry.find('='));
    if (std::none_of(variables.begin(), variables.end(), [&](const auto& v) { return v.first == name; }))
      storage.emplace_back(entry);
  }
  for (const auto& [name, value] : variables) storage.push_back(name + "=" + value);
  std::vector<char*> environment;
  for (std::string& entry : storage) environment.push_back(entry.data());
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, 2, 1);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t defaults;
  ::sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGINT, SIGQUIT}) ::sigaddset(&defaults, signal);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setpgroup(&attributes, 0);  // a group of its own, which can be ended as a whole
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::string shell = "/bin/sh", flag = "-c", text = line;
  char* const arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, arguments[0], &actions, &attributes, arguments, environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return make_error(ErrorCode::kIo, "/bin/sh: cannot be run ({})", std::strerror(error));
  // Of both sides, as shells do: where posix_spawn does not wait for the child to set itself up, as in QEMU, the group
  // might not be there yet when it is to be ended. After the child has its program this fails, and need not succeed.
  ::setpgid(pid, pid);
  const auto end = Clock::now() + limit;
  int status = 0;
  for (;;) {
    const pid_t done = ::waitpid(pid, &status, WNOHANG);
    if (done == pid) return code_of(status);
    if (done < 0 && errno != EINTR) return make_error(ErrorCode::kIo, "/bin/sh: lost ({})", std::strerror(errno));
    const bool stopped = stop();
    if (stopped || Clock::now() > end) {
      ::kill(-pid, SIGKILL);
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
      if (stopped) return make_error(ErrorCode::kInterrupted, "interrupted");
      return bad_input("not done after {} s", limit.count() / 1000);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace onsight
