#include "cli/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "cli/program.h"

namespace onsight::cli {
namespace {

std::atomic<Interrupts> mode{Interrupts::kEndProgram};
std::atomic<bool> flag{false};
int pipe_ends[2] = {-1, -1};
static_assert(std::atomic<Interrupts>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

// Everything in here must be async-signal-safe.
void handle(int signal) {
  int saved = errno;
  if (signal != SIGWINCH) {
    Interrupts now = mode.load();
    if (now == Interrupts::kEndProgram || (now == Interrupts::kFlagOnce && flag.load())) ::_exit(kExitInterrupted);
    if (now == Interrupts::kFlag && signal != SIGINT) ::_exit(kExitInterrupted);  // a prompt without its terminal
    flag.store(true);
  }
  char byte = signal == SIGWINCH ? 'w' : 'c';
  [[maybe_unused]] ssize_t n = ::write(pipe_ends[1], &byte, 1);  // a full pipe already says all
  errno = saved;
}

}  // namespace

std::atomic<bool>& interrupted() { return flag; }

int signal_pipe() { return pipe_ends[0]; }

CatchInterrupts::CatchInterrupts(Interrupts wanted) : before_(mode.exchange(wanted)) {}

CatchInterrupts::~CatchInterrupts() { mode.store(before_); }

void install_signal_handlers() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);  // ignored, the ends of other programs would be lost
  if (::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  struct sigaction action {};
  action.sa_handler = handle;
  ::sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  // A program started with one of them ignored (nohup, a script's background job) keeps it ignored.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    if (::sigaction(signal, nullptr, &inherited) == 0 && inherited.sa_handler != SIG_IGN)
      ::sigaction(signal, &action, nullptr);
  }
  ::sigaction(SIGWINCH, &action, nullptr);
}

}  // namespace onsight::cli
