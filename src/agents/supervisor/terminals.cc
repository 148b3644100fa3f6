#include "agents/supervisor/terminals.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <list>
#include <optional>
#include <thread>

#include "agents/screen/screen.h"

namespace onsight::agents::supervisor {
namespace {

constexpr int kRows = 40, kColumns = 120;
constexpr uint64_t kMostLogBytes = 8 << 20;  // then it becomes FILE.old
constexpr std::chrono::milliseconds kLookTime{500};
constexpr std::chrono::seconds kSlowViewer{5};
constexpr size_t kTailLines = 8;

std::string last_lines(const std::string& text) {
  size_t at = text.size();
  for (size_t line = 0; line < kTailLines && at != std::string::npos && at > 0; ++line) at = text.rfind('\n', at - 1);
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

}  // namespace

// The log of one container: a file of its own, begun anew whenever the engine tells it from the start.
class LogFile {
 public:
  Status open(const Path& path) {
    path_ = path;
    std::error_code failed;
    std::filesystem::create_directories(path.parent_path(), failed);
    fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd_ < 0) return make_error(ErrorCode::kIo, "{}: cannot be written: {}", path.string(), std::strerror(errno));
    return {};
  }
  ~LogFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  // A full disk costs the log, and never the agent.
  void append(std::string_view bytes) {
    if (fd_ < 0) return;
    if (written_ + bytes.size() > kMostLogBytes) {
      ::close(fd_);
      std::error_code ignored;
      std::filesystem::rename(path_, path_.string() + ".old", ignored);
      fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
      written_ = 0;
    }
    while (fd_ >= 0 && !bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      written_ += static_cast<uint64_t>(n);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

 private:
  Path path_;
  int fd_ = -1;
  uint64_t written_ = 0;
};

struct Terminals::Terminal {
  std::string container;
  int64_t generation = 0;
  std::unique_ptr<runtime::Attachment> attachment;
  std::thread reader;
  std::atomic<bool> stop{false};
  std::atomic<bool> ended{false};
  std::atomic<int64_t> output_ms{0};

  mutable std::mutex mutex;  // of what follows
  screen::Screen screen{kRows, kColumns};
  std::optional<std::string> tail;  // its last lines, where somebody asked since it last changed
  std::list<std::shared_ptr<net::RawStream>> viewers;
  LogFile log;

  void take(std::string_view bytes) {
    std::string answers;
    {
      const std::lock_guard lock(mutex);
      log.append(bytes);
      screen.write(bytes);
      tail.reset();
      answers = screen.answers();
      viewers.remove_if([&](const std::shared_ptr<net::RawStream>& viewer) {
        if (viewer->write(bytes, kSlowViewer)) return false;
        viewer->shut();
        return true;
      });
      // A terminal that is looked at answers for itself.
      if (!viewers.empty()) answers.clear();
    }
    output_ms = state::now_ms();
    if (!answers.empty()) (void)attachment->write(answers);
  }

  void run(const std::function<void()>& on_end) {
    while (!stop) {
      auto bytes = attachment->read(kLookTime);
      if (!bytes || (*bytes && (*bytes)->empty())) break;
      if (*bytes) take(**bytes);
    }
    ended = true;
    {
      const std::lock_guard lock(mutex);
      for (const auto& viewer : viewers) viewer->shut();
      viewers.clear();
    }
    if (!stop) on_end();
  }
};

void Terminals::close() {
  std::map<std::string, std::shared_ptr<Terminal>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(terminals_);
  }
  for (auto& [name, terminal] : all) terminal->stop = true;
  for (auto& [name, terminal] : all)
    if (terminal->reader.joinable()) terminal->reader.join();
}

std::shared_ptr<Terminals::Terminal> Terminals::find(const std::string& agent) const {
  const std::lock_guard lock(mutex_);
  const auto found = terminals_.find(agent);
  return found == terminals_.end() ? nullptr : found->second;
}

Status Terminals::hold(const std::string& agent, int64_t generation, const std::string& container, Of state,
                       std::function<void()> ended) {
  let_go(agent);
  auto terminal = std::make_shared<Terminal>();
  terminal->container = container;
  terminal->generation = generation;
  TRY_STATUS(terminal->log.open(log_file(project_, agent, generation)));
  TRY(terminal->attachment, runtime_.attach(container, state == Of::kRunning));
  terminal->output_ms = state::now_ms();
  terminal->reader = std::thread([terminal = terminal.get(), ended = std::move(ended)] { terminal->run(ended); });
  {
    const std::lock_guard lock(mutex_);
    terminals_[agent] = std::move(terminal);
  }
  if (state == Of::kRunning) fit(agent);
  return {};
}

void Terminals::fit(const std::string& agent) {
  const auto terminal = find(agent);
  if (!terminal) return;
  int rows = kRows, columns = kColumns;
  {
    const std::lock_guard lock(terminal->mutex);
    rows = terminal->screen.rows();
    columns = terminal->screen.columns();
  }
  (void)runtime_.resize(terminal->container, rows, columns);  // of one that has ended: nothing to resize
}

void Terminals::let_go(const std::string& agent) {
  std::shared_ptr<Terminal> terminal;
  {
    const std::lock_guard lock(mutex_);
    const auto found = terminals_.find(agent);
    if (found == terminals_.end()) return;
    terminal = std::move(found->second);
    terminals_.erase(found);
  }
  terminal->stop = true;
  if (terminal->reader.joinable()) terminal->reader.join();
}

TerminalSigns Terminals::signs(const std::string& agent) const {
  const auto terminal = find(agent);
  if (!terminal) return {};
  const std::lock_guard lock(terminal->mutex);
  if (!terminal->tail) terminal->tail = last_lines(terminal->screen.text());
  return {!terminal->ended, terminal->ended, terminal->output_ms, *terminal->tail};
}

Result<std::string> Terminals::screen(const std::string& agent) const {
  const auto terminal = find(agent);
  if (!terminal) return bad_input("{}: its terminal is not held", agent);
  const std::lock_guard lock(terminal->mutex);
  return terminal->screen.text();
}

Status Terminals::type(const std::string& agent, std::string_view keys) {
  const auto terminal = find(agent);
  if (!terminal || terminal->ended) return bad_input("{}: its terminal is not held", agent);
  return terminal->attachment->write(keys);
}

Status Terminals::resize(const std::string& agent, int rows, int columns) {
  const auto terminal = find(agent);
  if (!terminal || terminal->ended) return bad_input("{}: its terminal is not held", agent);
  {
    const std::lock_guard lock(terminal->mutex);
    if (terminal->screen.rows() == rows && terminal->screen.columns() == columns) return {};
    terminal->screen.resize(rows, columns);
    terminal->tail.reset();
  }
  return runtime_.resize(terminal->container, rows, columns);
}

Status Terminals::join(const std::string& agent, std::unique_ptr<net::RawStream> stream) {
  const auto terminal = find(agent);
  if (!terminal || terminal->ended) return bad_input("{}: its terminal is not held", agent);
  const std::shared_ptr<net::RawStream> viewer = std::move(stream);
  {
    const std::lock_guard lock(terminal->mutex);
    TRY_STATUS(viewer->write(terminal->screen.redraw(), kSlowViewer));
    terminal->viewers.push_back(viewer);
  }
  Status typed;
  while (typed) {
    auto keys = viewer->read(kLookTime);
    if (!keys || (*keys && (*keys)->empty())) break;
    if (terminal->ended || terminal->stop) break;
    if (*keys) typed = terminal->attachment->write(**keys);
  }
  const std::lock_guard lock(terminal->mutex);
  terminal->viewers.remove(viewer);
  viewer->shut();
  return {};
}

Path log_file(const Project& project, std::string_view agent, int64_t generation) {
  return project.log(agent).replace_extension() / fmt::format("{}.log", generation);
}

LogReader::LogReader(const Project& project, const std::string& agent, int64_t generation, bool plain)
    : file_(log_file(project, agent, generation)), plain_(plain) {
  const Path old = file_.string() + ".old";
  fd_ = ::open(old.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
}

LogReader::~LogReader() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> LogReader::more() {
  std::string bytes(64 << 10, '\0');
  for (;;) {
    if (fd_ < 0) fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return std::string();
    const ssize_t n = ::read(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(ErrorCode::kIo, "{}: cannot be read: {}", file_.string(), std::strerror(errno));
    if (n > 0) {
      bytes.resize(static_cast<size_t>(n));
      break;
    }
    // The end of this file: another may have taken its name.
    struct stat mine = {}, named = {};
    if (::fstat(fd_, &mine) != 0 || ::stat(file_.c_str(), &named) != 0 || mine.st_ino == named.st_ino)
      return std::string();
    ::close(fd_);
    fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  }
  return plain_ ? without_controls(bytes, pending_) : bytes;
}

std::string without_controls(std::string_view bytes, std::string& pending) {
  constexpr size_t kLongestSequence = 4096;
  const std::string all = std::exchange(pending, {}) + std::string(bytes);
  std::string out;
  size_t at = 0;
  while (at < all.size()) {
    const char c = all[at];
    if (c != '\x1b') {
      if (c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x20) {
        if (c != '\x7f') out += c;
      }
      ++at;
      continue;
    }
    size_t end = at + 1;
    if (end < all.size()) {
      const char kind = all[end++];
      if (kind == '[') {  // up to a byte from @ to ~
        while (end < all.size() && (all[end] < '@' || all[end] > '~')) ++end;
        end = end < all.size() ? end + 1 : std::string::npos;
      } else if (kind == ']' || kind == 'P' || kind == '_' || kind == '^' ||
                 kind == 'X') {  // up to BEL or ESC backslash
        const size_t bell = kind == ']' ? all.find('\a', end) : std::string::npos, string_end = all.find("\x1b\\", end);
        end = std::min(bell == std::string::npos ? bell : bell + 1,
                       string_end == std::string::npos ? string_end : string_end + 2);
      } else if (kind >= ' ' && kind <= '/') {
        end = end < all.size() ? end + 1 : std::string::npos;
      }
    } else {
      end = std::string::npos;
    }
    if (end == std::string::npos && all.size() - at < kLongestSequence) {
      pending = all.substr(at);
      return out;
    }
    at = end == std::string::npos ? at + 1 : end;
  }
  return out;
}

Result<std::string> last_screen(const Project& project, const state::AgentRow& agent) {
  if (agent.generation == 0) return std::string();
  LogReader reader(project, agent.name, agent.generation, false);
  screen::Screen screen(kRows, kColumns);
  for (;;) {
    TRY(const std::string bytes, reader.more());
    if (bytes.empty()) return screen.text();
    screen.write(bytes);
  }
}

}  // namespace onsight::agents::supervisor
