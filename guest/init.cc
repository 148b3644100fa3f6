#include "init.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>

#include "heartbeat.h"

namespace onsight::guest {
namespace {

constexpr size_t kSignalSetBytes = 8;  // of the kernel
constexpr int kForwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

// Whether the terminal at standard input is ours to give.
bool has_terminal() {
  const pid_t owner = ::tcgetpgrp(0);
  return owner >= 0 && (owner == ::getpgrp() || ::getpid() == 1);
}

void give_terminal(pid_t group) {
  // Who is not its owner would be stopped for it.
  sigset_t wanted, before;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGTTOU);
  ::sigprocmask(SIG_BLOCK, &wanted, &before);
  ::tcsetpgrp(0, group);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}

[[noreturn]] void become(const std::vector<std::string>& command, bool terminal, int report) {
  ::setpgid(0, 0);
  if (terminal) give_terminal(::getpid());
  // The C library keeps two signals to itself, and may have left them ignored for whoever started us.
  alignas(8) const char standard[64] = {};  // SIG_DFL, as the kernel has it
  for (int number = 1; number < NSIG; ++number) ::syscall(SYS_rt_sigaction, number, standard, nullptr, kSignalSetBytes);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // Where memory runs out, it is not the first process, and with it all, that goes.
  if (::getppid() == 1) {
    const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0 && ::write(score, "300", 3) == 3) ::close(score);
  }
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  const ssize_t told = ::write(report, &error, sizeof error);
  ::_exit(told == sizeof error && error != ENOENT ? 126 : 127);
}

class Init {
 public:
  Init(const InitOptions& options, Events& events) : options_(options), events_(events) {}

  Result<int> run() {
    TRY(auto forwarder, Forwarder::listen(events_, options_.forwarder));
    std::optional<Heartbeat> heartbeat;
    if (options_.heartbeat.count() > 0) heartbeat.emplace(events_, options_.forwarder.broker, options_.heartbeat);
    TRY_STATUS(watch_signals());
    if (::getpid() == 1) ::prctl(PR_SET_DUMPABLE, 0);  // the agent, who is the same user, cannot trace and stop it
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);                // outside of a container, too, orphans come here
    wait_for_broker();
    if (code_) return *code_;
    TRY_STATUS(start());
    reap();
    while (!over()) {
      auto pause = forwarder->pause();
      if (heartbeat) pause = std::min(pause, heartbeat->pause());
      if (code_) pause = std::min(pause, std::chrono::milliseconds(50));
      events_.wait(pause);
      forwarder->tick();
      if (heartbeat) heartbeat->tick();
      if (code_) reap();
    }
    return *code_;
  }

 private:
  Status watch_signals() {
    sigset_t all;
    ::sigemptyset(&all);
    ::sigaddset(&all, SIGCHLD);
    for (const int number : kForwarded) ::sigaddset(&all, number);
    ::sigprocmask(SIG_BLOCK, &all, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    signals_ = ::signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals_ < 0) return make_error(ErrorCode::kIo, "signalfd: {}", std::strerror(errno));
    return events_.watch(signals_, EPOLLIN, [this](uint32_t) {
      signalfd_siginfo info;
      while (::read(signals_, &info, sizeof info) == sizeof info) signalled(static_cast<int>(info.ssi_signo));
    });
  }

  // A broker that does not come keeps nobody from working.
  void wait_for_broker() {
    const auto until = Clock::now() + options_.broker_time;
    while (!code_ && Clock::now() < until) {
      const int fd = dial(options_.forwarder.broker);
      if (fd >= 0) ::close(fd);
      if (fd >= 0) return;
      events_.wait(std::chrono::milliseconds(50));
    }
  }

  Status start() {
    terminal_ = has_terminal();
    int report[2];
    if (::pipe2(report, O_CLOEXEC) != 0) return make_error(ErrorCode::kIo, "pipe: {}", std::strerror(errno));
    child_ = ::fork();
    if (child_ == 0) become(options_.command, terminal_, report[1]);
    const int fork_error = errno;
    ::close(report[1]);
    int error = 0;
    ssize_t n = 0;
    if (child_ > 0) {
      ::setpgid(child_, child_);  // of both sides: a signal for the group may come at once
      while ((n = ::read(report[0], &error, sizeof error)) < 0 && errno == EINTR) continue;
    }
    ::close(report[0]);
    if (child_ < 0) return make_error(ErrorCode::kIo, "fork: {}", std::strerror(fork_error));
    if (n == sizeof error)
      std::fprintf(stderr, "onsight-agent: %s: %s\n", options_.command[0].c_str(), std::strerror(error));
    return {};
  }

  void signalled(int number) {
    if (number == SIGCHLD) return reap();
    if (code_) return;
    if (child_ < 0) {
      if (number == SIGTERM || number == SIGINT || number == SIGHUP || number == SIGQUIT) code_ = 128 + number;
      return;
    }
    ::kill(-child_, number);
    // Shells that people type in take no notice of the one; a terminal that goes away ends them.
    if (number == SIGTERM && terminal_) ::kill(-child_, SIGHUP);
    // What is stopped does not see it before it goes on.
    if (number != SIGWINCH) ::kill(-child_, SIGCONT);
  }

  void reap() {
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED);
      if (pid == 0) return;
      if (pid < 0) {
        childless_ = errno == ECHILD;
        return;
      }
      if (pid != child_) continue;
      if (WIFSTOPPED(status)) {
        // Nobody is here to say `fg`: what Ctrl-Z stopped, or the terminal, goes on. Who was stopped on purpose does
        // not.
        if (WSTOPSIG(status) == SIGSTOP) continue;
        if (terminal_) give_terminal(child_);
        ::kill(-child_, SIGCONT);
      } else {
        code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        rest_until_ = Clock::now() + options_.rest;
        // All others of a container; outside of one, those of the command's group.
        ::kill(::getpid() == 1 ? -1 : -child_, SIGTERM);
        ::kill(::getpid() == 1 ? -1 : -child_, SIGCONT);
      }
    }
  }

  bool over() const { return code_ && (childless_ || Clock::now() >= rest_until_); }

  const InitOptions& options_;
  Events& events_;
  int signals_ = -1;
  pid_t child_ = -1;
  bool terminal_ = false, childless_ = false;
  std::optional<int> code_;
  Clock::time_point rest_until_;
};

}  // namespace

Result<int> run_init(const InitOptions& options) {
  TRY(const auto events, Events::create());
  return Init(options, *events).run();
}

}  // namespace onsight::guest
