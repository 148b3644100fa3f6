#include "probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "outside_json.h"
#include "repository.h"

namespace onsight::guest {
namespace {

std::string word_of_status(const std::string& status, const std::string& name) {
  const size_t at = status.find("\n" + name + ":");
  if (at == std::string::npos) return {};
  const size_t begin = status.find_first_not_of(" \t", at + name.size() + 2);
  return status.substr(begin, status.find('\n', begin) - begin);
}

// In a process of its own, for what it does may not be undone. Its code: 0 where `attempt` went through, else the
// errno.
int tried(const std::function<bool()>& attempt) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    errno = 0;
    const bool went_through = attempt();
    ::_exit(went_through ? 0 : std::clamp(errno, 1, 200));
  }
  int status = 0;
  if (pid < 0) return errno;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

Json facts() {
  const std::string status = read_plain("/proc/self/status", 1 << 20).value_or("");
  Json out = {{"uid", ::getuid()}, {"gid", ::getgid()}, {"pid", ::getpid()}};
  for (const char* name : {"CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Groups"})
    out[name] = word_of_status(status, name);
  Json interfaces = Json::array();
  if (DIR* const folder = ::opendir("/sys/class/net")) {
    while (const dirent* entry = ::readdir(folder))
      if (entry->d_name[0] != '.') interfaces.push_back(entry->d_name);
    ::closedir(folder);
  }
  out["interfaces"] = interfaces;
  const std::string routes = read_plain("/proc/net/route", 1 << 20).value_or("");
  out["routes"] = std::max<int64_t>(0, std::count(routes.begin(), routes.end(), '\n') - 1);
  return out;
}

struct Attempt {
  const char* name;
  std::function<bool()> run;
};

bool write_to(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) ::unlink(path.c_str());
  return fd >= 0;
}

const std::vector<Attempt>& attempts() {
  static const std::vector<Attempt> kAll = {
      {"root", [] { return ::setuid(0) == 0 || ::getuid() == 0; }},
      {"user_namespace", [] { return ::unshare(CLONE_NEWUSER) == 0; }},
      {"mount_namespace", [] { return ::unshare(CLONE_NEWNS) == 0; }},
      {"network_namespace", [] { return ::unshare(CLONE_NEWNET) == 0; }},
      {"mount", [] { return ::mount("none", "/tmp", "tmpfs", 0, nullptr) == 0; }},
      {"ptrace_first", [] { return ::getppid() != 1 && ::ptrace(PTRACE_SEIZE, 1, nullptr, nullptr) == 0; }},
      {"bpf",
       [] {
         char zero[128] = {};
         return ::syscall(SYS_bpf, 5, zero, sizeof zero) >= 0;
       }},
      {"keyring", [] { return ::syscall(SYS_add_key, "user", "onsight", "x", 1, -3) >= 0; }},
      {"load_module", [] { return ::syscall(SYS_init_module, "", 0, "") == 0; }},
      {"io_uring",
       [] {
         char zero[256] = {};
         return ::syscall(SYS_io_uring_setup, 1, zero) >= 0;
       }},
      {"raw_socket", [] { return ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0; }},
      {"packet_socket", [] { return ::socket(AF_PACKET, SOCK_RAW, 0) >= 0; }},
      {"device", [] { return ::mknod("/tmp/onsight-device", S_IFBLK | 0600, 0x801) == 0; }},
      {"write_root",
       [] { return write_to("/onsight-probe") || write_to("/usr/onsight-probe") || write_to("/etc/onsight-probe"); }},
      {"write_socket_folder", [] { return write_to("/run/onsight/onsight-probe"); }},
      {"write_sysctl", [] { return ::open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0; }},
      {"raise_limit",
       [] {
         rlimit limit = {};
         ::getrlimit(RLIMIT_NOFILE, &limit);
         if (limit.rlim_max == RLIM_INFINITY) return true;
         ++limit.rlim_max;
         return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
       }},
      {"set_time",
       [] {
         timespec now = {};
         ::clock_gettime(CLOCK_REALTIME, &now);
         return ::clock_settime(CLOCK_REALTIME, &now) == 0;
       }},
  };
  return kAll;
}

bool connects(const std::string& host, uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return false;
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd wanted = {.fd = fd, .events = POLLOUT, .revents = 0};
  int error = ETIMEDOUT;
  socklen_t size = sizeof error;
  if (::poll(&wanted, 1, 2000) == 1) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  errno = error;
  return error == 0;
}

int print(const Json& line, bool held) {
  std::printf("%s\n", to_text(line).c_str());
  return held ? 0 : 1;
}

// Writes until it is refused; the bytes that were taken.
uint64_t fill(const std::string& path, uint64_t most, int& error) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::vector<char> block(1 << 20, 'x');
  uint64_t taken = 0;
  error = fd < 0 ? errno : 0;
  while (fd >= 0 && taken < most) {
    const ssize_t n = ::write(fd, block.data(), std::min<uint64_t>(block.size(), most - taken));
    if (n <= 0) {
      error = errno;
      break;
    }
    taken += static_cast<uint64_t>(n);
  }
  ::unlink(path.c_str());
  return taken;
}

// Starts processes that wait, until it is refused; how many there were. They share this one's memory, so that it is
// their number which is limited and not what they take.
int64_t processes(int64_t most) {
  constexpr size_t kStack = 16 << 10;
  const size_t bytes = static_cast<size_t>(most) * kStack;
  void* const stacks =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED) return 0;
  const auto wait_for_end = [](void*) -> int {
    for (;;) ::pause();
  };
  std::vector<pid_t> started;
  while (static_cast<int64_t>(started.size()) < most) {
    char* const top = static_cast<char*>(stacks) + (started.size() + 1) * kStack;
    const pid_t pid = ::clone(wait_for_end, top, CLONE_VM | SIGCHLD, nullptr);
    if (pid < 0) break;
    started.push_back(pid);
  }
  for (const pid_t pid : started) ::kill(pid, SIGKILL);
  for (const pid_t pid : started) ::waitpid(pid, nullptr, 0);
  ::munmap(stacks, bytes);
  return static_cast<int64_t>(started.size());
}

}  // namespace

std::string_view probe_help() {
  return "check                 what can be seen of the container, and all that is tried, as JSON\n"
         "check memory BYTES    takes so much; it is to be killed first\n"
         "check processes N     starts so many; it is to be refused first\n"
         "check fill PATH BYTES writes so much; it is to be refused first\n"
         "check connect IP PORT  connects; it is to be refused\n"
         "check NAME            one of what is tried\n";
}

Result<int> probe(const std::vector<std::string>& words) {
  const auto number = [&](size_t at) -> Result<uint64_t> {
    uint64_t out = 0;
    const std::string text = at < words.size() ? words[at] : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end != text.data() + text.size())
      return make_error(ErrorCode::kUsage, "check {}: expected a number, found '{}'", words[0], text);
    return out;
  };
  if (words.empty()) {
    Json out = facts();
    bool held = true;
    for (const Attempt& attempt : attempts()) {
      const int error = tried(attempt.run);
      out["tried"][attempt.name] = error == 0 ? "went through" : std::strerror(error);
      held = held && error != 0;
    }
    return print(out, held);
  }
  const std::string& name = words[0];
  if (name == "memory") {
    TRY(const uint64_t bytes, number(1));
    std::vector<std::unique_ptr<char[]>> blocks;
    for (uint64_t taken = 0; taken < bytes; taken += 1 << 20) {
      blocks.emplace_back(new (std::nothrow) char[1 << 20]);
      if (!blocks.back()) return print({{"taken", taken}}, true);
      std::memset(blocks.back().get(), 1, 1 << 20);
    }
    return print({{"taken", bytes}}, false);
  }
  if (name == "processes") {
    TRY(const uint64_t most, number(1));
    const int64_t started = processes(static_cast<int64_t>(std::min<uint64_t>(most, 100'000)));
    return print({{"started", started}}, static_cast<uint64_t>(started) < most);
  }
  if (name == "fill") {
    TRY(const uint64_t most, number(2));
    int error = 0;
    const uint64_t taken = fill(words[1], most, error);
    return print({{"taken", taken}, {"error", error ? std::strerror(error) : ""}}, taken < most);
  }
  if (name == "connect") {
    TRY(const uint64_t port, number(2));
    errno = 0;
    const bool through = connects(words[1], static_cast<uint16_t>(port));
    return print({{"connected", through}, {"error", through ? "" : std::strerror(errno)}}, !through);
  }
  for (const Attempt& attempt : attempts()) {
    if (name != attempt.name) continue;
    const int error = tried(attempt.run);
    return print({{name, error == 0 ? "went through" : std::strerror(error)}}, error != 0);
  }
  return make_error(ErrorCode::kUsage, "check {}: there is no such check", name);
}

}  // namespace onsight::guest
