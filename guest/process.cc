#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace onsight::guest {
namespace {

constexpr size_t kMaxOutputBytes = size_t{256} << 20;
constexpr size_t kMaxComplaintBytes = 64 << 10;

struct Pipe {
  int read = -1, write = -1;
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    shut(read);
    shut(write);
  }
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  static void shut(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

[[noreturn]] void become_job(const Job& job, const Pipe& in, const Pipe* out, const Pipe& err) {
  ::dup2(in.read, 0);
  if (out) ::dup2(out->write, 1);
  ::dup2(err.write, 2);
  ::signal(SIGPIPE, SIG_DFL);
  if (!job.folder.empty() && ::chdir(job.folder.c_str()) != 0) ::_exit(127);
  std::vector<char*> arguments, environment;
  for (const std::string& one : job.command) arguments.push_back(const_cast<char*>(one.c_str()));
  for (const std::string& one : job.environment) environment.push_back(const_cast<char*>(one.c_str()));
  arguments.push_back(nullptr);
  environment.push_back(nullptr);
  ::execvpe(arguments[0], arguments.data(), environment.data());
  ::_exit(127);
}

// Whatever can be read now; false at the end.
bool take(int fd, std::string& into, size_t most) {
  char buffer[64 << 10];
  const ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  into.append(buffer, std::min(static_cast<size_t>(n), most - std::min(most, into.size())));
  return n > 0;
}

Result<std::string> run_job(const Job& job, bool capture) {
  const std::string& name = job.command[0];
  Pipe in, out, err;
  if (!in.open() || !err.open() || (capture && !out.open()))
    return make_error(ErrorCode::kIo, "{}: {}", name, std::strerror(errno));
  const pid_t pid = ::fork();
  if (pid < 0) return make_error(ErrorCode::kIo, "{}: {}", name, std::strerror(errno));
  if (pid == 0) become_job(job, in, capture ? &out : nullptr, err);
  Pipe::shut(in.read);
  Pipe::shut(out.write);
  Pipe::shut(err.write);
  ::fcntl(in.write, F_SETFL, O_NONBLOCK);
  std::string_view input = job.input;
  std::string printed, complaint;
  while (out.read >= 0 || err.read >= 0) {
    if (input.empty()) Pipe::shut(in.write);
    pollfd wanted[] = {{in.write, POLLOUT, 0}, {out.read, POLLIN, 0}, {err.read, POLLIN, 0}};
    if (::poll(wanted, 3, -1) < 0) continue;
    if (wanted[0].revents) {
      const ssize_t n = ::write(in.write, input.data(), input.size());
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) input = {};
    }
    if (wanted[1].revents && !take(out.read, printed, kMaxOutputBytes)) Pipe::shut(out.read);
    if (wanted[2].revents && !take(err.read, complaint, kMaxComplaintBytes)) Pipe::shut(err.read);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const bool accepted = std::find(job.accepted.begin(), job.accepted.end(), code) != job.accepted.end();
  if (accepted) {
    for (std::string_view rest = complaint; !rest.empty();) {
      const ssize_t n = ::write(2, rest.data(), rest.size());
      if (n <= 0) break;
      rest.remove_prefix(static_cast<size_t>(n));
    }
    if (printed.size() >= kMaxOutputBytes) return bad_input("{}: prints too much", name);
    return printed;
  }
  while (complaint.ends_with('\n')) complaint.pop_back();
  // git explains itself after the sentence that counts.
  std::string first = complaint.substr(0, complaint.find('\n'));
  if (const size_t fatal = complaint.find("fatal: "); fatal != std::string::npos)
    first = complaint.substr(fatal + 7, complaint.find('\n', fatal) - fatal - 7);
  if (first.empty()) first = code == 127 ? "it is not there" : fmt::format("exit code {}", code);
  return bad_input("{} {}: {}", name, job.command.size() > 1 ? job.command.back() : "", first);
}

}  // namespace

Result<std::string> output_of(const Job& job) { return run_job(job, true); }

Status run(const Job& job) {
  TRY_STATUS(run_job(job, false));
  return {};
}

}  // namespace onsight::guest
