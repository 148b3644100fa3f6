#include "agents/supervisor/launch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "net/unix_client.h"

namespace onsight::agents::supervisor {
namespace {

constexpr std::chrono::seconds kStartTime{10};
constexpr std::chrono::milliseconds kAnswerPoll{15};
constexpr off_t kMostLog = 4 << 20;

Path log_of(const Project& project, Duty duty) {
  return project.state / "logs" / (std::string(name_of(duty)) + ".log");
}

std::string last_line(const Path& file) {
  auto text = read_file(file, 2 * kMostLog);
  if (!text) return "";
  while (text->ends_with('\n')) text->pop_back();
  const size_t newline = text->rfind('\n');
  return newline == std::string::npos ? *text : text->substr(newline + 1);
}

// Twice forked, so that nobody waits for it and no terminal ends it. Between fork and exec only what a signal handler
// may call: this process has threads.
Status spawn(const Project& project, Duty duty) {
  const Path log = log_of(project, duty);
  std::error_code failed;
  std::filesystem::create_directories(log.parent_path(), failed);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (out < 0) return make_error(ErrorCode::kIo, "{}: cannot be written: {}", log.string(), std::strerror(errno));
  struct stat now = {};
  if (::fstat(out, &now) == 0 && now.st_size > kMostLog) (void)!::ftruncate(out, 0);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const std::string root = project.root.string();
  const std::array<const char*, 6> command = {
      "onsight", "agents", duty == Duty::kSupervisor ? "supervise" : "broker", "--project", root.c_str(), nullptr};
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    const pid_t grandchild = ::fork();
    if (grandchild != 0) ::_exit(grandchild < 0 ? 1 : 0);
    ::dup2(nothing, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    (void)!::chdir("/");
    ::execv("/proc/self/exe", const_cast<char* const*>(command.data()));
    ::_exit(127);
  }
  ::close(out);
  ::close(nothing);
  if (child < 0)
    return make_error(ErrorCode::kBusy, "the {} cannot be started: {}", name_of(duty), std::strerror(errno));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {};
}

}  // namespace

std::string_view name_of(Duty duty) { return duty == Duty::kSupervisor ? "supervisor" : "broker"; }

Path control_of(const Project& project, Duty duty) {
  return duty == Duty::kSupervisor ? project.control() : project.broker_control();
}

bool answers(const Project& project, Duty duty) {
  const net::UnixClient client(control_of(project, duty));
  const auto answer = client.request({.method = "POST", .target = "/poke"}, net::seconds_from_now(2));
  return answer && answer->status / 100 == 2;
}

Status wake(const Project& project, Duty duty) {
  if (answers(project, duty)) return {};
  TRY_STATUS(spawn(project, duty));
  const auto until = std::chrono::steady_clock::now() + kStartTime;
  while (!answers(project, duty)) {
    if (std::chrono::steady_clock::now() > until) {
      const std::string line = last_line(log_of(project, duty));
      return bad_input("the {} did not start: {}", name_of(duty),
                       line.empty() ? "expected it to answer on " + control_of(project, duty).string() : line);
    }
    std::this_thread::sleep_for(kAnswerPoll);
  }
  return {};
}

Result<DutyLock> DutyLock::take(const Project& project, Duty duty) {
  const Path file = project.state / (std::string(name_of(duty)) + ".lock");
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return make_error(ErrorCode::kIo, "{}: cannot be opened: {}", file.string(), std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return make_error(ErrorCode::kBusy, "{}: another {} of this project is running", project.root.string(),
                      name_of(duty));
  }
  return DutyLock(fd);
}

DutyLock::~DutyLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace onsight::agents::supervisor
