#include "base/live_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/subprocess.h"

extern char** environ;

namespace onsight {
namespace {

class OwnFd {
 public:
  explicit OwnFd(int fd = -1) : fd_(fd) {}
  OwnFd(OwnFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnFd& operator=(OwnFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

winsize window_of(LiveProgram::Size size) {
  winsize window = {};
  window.ws_row = static_cast<unsigned short>(std::clamp(size.rows, 1, 10'000));
  window.ws_col = static_cast<unsigned short>(std::clamp(size.columns, 1, 10'000));
  return window;
}

// Our end, and the other: a raw terminal of this size.
Result<std::pair<OwnFd, OwnFd>> open_terminal(LiveProgram::Size size) {
  const auto failed = [] { return make_error(ErrorCode::kIo, "a terminal cannot be made ({})", std::strerror(errno)); };
  OwnFd ours(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  std::array<char, 64> name{};
  if (ours.get() < 0 || ::grantpt(ours.get()) != 0 || ::unlockpt(ours.get()) != 0 ||
      ::ptsname_r(ours.get(), name.data(), name.size()) != 0)
    return failed();
  OwnFd theirs(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios modes = {};
  if (theirs.get() < 0 || ::tcgetattr(theirs.get(), &modes) != 0) return failed();
  ::cfmakeraw(&modes);
  const winsize window = window_of(size);
  if (::tcsetattr(theirs.get(), TCSANOW, &modes) != 0 || ::ioctl(ours.get(), TIOCSWINSZ, &window) != 0) return failed();
  return std::pair(std::move(ours), std::move(theirs));
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

int milliseconds_until(std::chrono::steady_clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000));
}

}  // namespace

Result<std::unique_ptr<LiveProgram>> LiveProgram::start(const std::vector<std::string>& command,
                                                        std::optional<Size> terminal) {
  const std::string& name = command[0];
  if (!has_program(name)) return bad_input("{}: not on this machine", name);
  OwnFd ours, theirs, errors;
  std::string place;
  if (terminal) {
    TRY(auto ends, open_terminal(*terminal));
    std::tie(ours, theirs) = std::move(ends);
    std::array<char, 64> path{};
    if (::ptsname_r(ours.get(), path.data(), path.size()) == 0) place = path.data();
    errors = OwnFd(::memfd_create("errors", MFD_CLOEXEC));
  } else {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
      ours = OwnFd(ends[0]);
      theirs = OwnFd(ends[1]);
    }
    errors = OwnFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  if (theirs.get() < 0 || errors.get() < 0 || (terminal && place.empty()))
    return make_error(ErrorCode::kIo, "{}: {}", name, std::strerror(errno));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // The first terminal that the leader of a session opens is its own: that is how it hears of a new size.
  if (terminal)
    ::posix_spawn_file_actions_addopen(&actions, 0, place.c_str(), O_RDWR, 0);
  else
    ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, 0, 1);
  ::posix_spawn_file_actions_adddup2(&actions, errors.get(), 2);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH})
    ::sigaddset(&signals, signal);
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return make_error(ErrorCode::kIo, "{}: cannot be run ({})", name, std::strerror(error));
  ::fcntl(ours.get(), F_SETFL, ::fcntl(ours.get(), F_GETFL) | O_NONBLOCK);
  return std::unique_ptr<LiveProgram>(new LiveProgram(name, pid, ours.release(), errors.release()));
}

LiveProgram::~LiveProgram() {
  end();
  (void)wait(std::chrono::minutes(1));
  ::close(stream_);
  ::close(errors_);
}

Result<std::optional<std::string>> LiveProgram::read(std::chrono::milliseconds wait) {
  const auto until = std::chrono::steady_clock::now() + wait;
  std::string bytes(64 << 10, '\0');
  for (;;) {
    pollfd wanted = {.fd = stream_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wanted, 1, milliseconds_until(until));
    if (ready == 0) return std::optional<std::string>();
    const ssize_t got = ready > 0 ? ::read(stream_, bytes.data(), bytes.size()) : -1;
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    // A terminal that nobody has open any more says so with EIO, a socket with what was not read with ECONNRESET.
    bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return std::optional(std::move(bytes));
  }
}

Status LiveProgram::write(std::string_view bytes, std::chrono::milliseconds limit) {
  const std::lock_guard lock(writing_);
  auto until = std::chrono::steady_clock::now() + limit;
  struct stat kind = {};
  const bool is_socket = ::fstat(stream_, &kind) == 0 && S_ISSOCK(kind.st_mode);
  while (!bytes.empty()) {
    const ssize_t sent = is_socket ? ::send(stream_, bytes.data(), bytes.size(), MSG_NOSIGNAL)
                                   : ::write(stream_, bytes.data(), bytes.size());
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      until = std::chrono::steady_clock::now() + limit;
      continue;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return make_error(ErrorCode::kIo, "{}: {}", name_, std::strerror(errno));
    pollfd wanted = {.fd = stream_, .events = POLLOUT, .revents = 0};
    if (::poll(&wanted, 1, milliseconds_until(until)) == 0)
      return make_error(ErrorCode::kBusy, "{}: it does not take what is written to it", name_);
  }
  return {};
}

Status LiveProgram::resize(Size size) {
  const winsize window = window_of(size);
  if (::ioctl(stream_, TIOCSWINSZ, &window) == 0) return {};
  return make_error(ErrorCode::kIo, "{}: its terminal: {}", name_, std::strerror(errno));
}

void LiveProgram::end() {
  const std::lock_guard lock(mutex_);
  if (code_) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);  // before it made a session of its own, as it may in an emulator
}

Result<int> LiveProgram::wait(std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      int status = 0;
      if (!code_ && ::waitpid(pid_, &status, WNOHANG) == pid_) code_ = exit_code_of(status);
      if (code_) return *code_;
    }
    if (std::chrono::steady_clock::now() > until) return make_error(ErrorCode::kBusy, "{}: it has not ended", name_);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

std::string LiveProgram::errors() const {
  constexpr off_t kKept = 4096;
  struct stat now = {};
  if (::fstat(errors_, &now) != 0 || !S_ISREG(now.st_mode)) return "";
  std::string text(static_cast<size_t>(std::min<off_t>(now.st_size, kKept)), '\0');
  const ssize_t got = ::pread(errors_, text.data(), text.size(), std::max<off_t>(0, now.st_size - kKept));
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

}  // namespace onsight
