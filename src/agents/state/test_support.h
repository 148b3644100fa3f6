// For tests: a folder that goes when they end, children that are killed, and a disk that fails when it is told to.
#pragma once

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "agents/state/store.h"
#include "base/check.h"

namespace onsight::agents::trial {

class TempFolder {
 public:
  // In memory where that is possible, but for what is about the disk's speed: a process that is killed leaves the same
  // behind in either, and thousands of commits wait for no disk.
  explicit TempFolder(bool on_disk = false) {
    const Path memory = "/dev/shm";
    const bool usable = !on_disk && ::access(memory.c_str(), W_OK) == 0;
    std::string name = ((usable ? memory : std::filesystem::temp_directory_path()) / "onsight-agents-XXXXXX").string();
    ONSIGHT_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  Path operator/(std::string_view name) const { return path_ / name; }
  const Path& path() const { return path_; }

 private:
  Path path_;
};

// Under a sanitizer, which takes ten times as long, every seventh case stands for the others.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kStride = 7;
#elif defined(__has_feature)
constexpr int kStride = __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) ? 7 : 1;
#else
constexpr int kStride = 1;
#endif

inline state::NewEvent created(std::string name, std::string role = "coder") {
  return {.actor = "human",
          .agent = name,
          .kind = "agent.created",
          .body = {{"role", std::move(role)}, {"harness", "generic"}, {"branch", "agents/" + name}, {"task", "Do it"}}};
}
inline state::NewEvent phase(std::string name, std::string_view phase, Json more = Json::object()) {
  more["phase"] = phase;
  return {.actor = "supervisor", .agent = std::move(name), .kind = "agent.phase", .body = std::move(more)};
}
inline state::NewEvent wanted(std::string name, std::string_view wanted) {
  return {.actor = "human", .agent = std::move(name), .kind = "agent.wanted", .body = {{"wanted", wanted}}};
}
inline state::NewEvent note(int number) {
  return {.actor = "human", .kind = "note", .body = {{"text", "note"}, {"number", number}}};
}
inline Status add(state::Store& store, state::NewEvent event) {
  return store.write([&](state::Transaction& t) { return t.add(std::move(event)); });
}

// Another process that runs `work` and writes what it has to say to the pipe.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<void(int pipe)>& work) {
    int ends[2];
    ONSIGHT_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    pid_ = ::fork();
    ONSIGHT_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::close(ends[0]);
      work(ends[1]);
      ::_exit(0);
    }
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  ~ChildProcess() {
    if (pid_ > 0) {
      kill();
      wait();
    }
    ::close(pipe_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void kill() const { ::kill(pid_, SIGKILL); }
  // All that it said, until it ended.
  std::string read_all() const {
    std::string out;
    char buffer[4096];
    for (;;) {
      const ssize_t n = ::read(pipe_, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return out;
      out.append(buffer, static_cast<size_t>(n));
    }
  }
  // Its exit code; 128 and more: the signal.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

inline void say(int pipe, std::string_view text) {
  ONSIGHT_CHECK(::write(pipe, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

// What happens at the `at`-th write, sync or truncation of any file that SQLite has.
enum class Fault {
  kNone,
  kKill,  // the process is killed before it
  kTear,  // half of it is written, then the process is killed
  kFull,  // the disk is full from then on, for `room_again` operations
  kError  // this one fails
};
struct FaultyDisk {
  Fault fault = Fault::kNone;
  int64_t at = 0, count = 0, room_again = 0;
};
inline FaultyDisk g_disk;

namespace faulty {

struct File {
  sqlite3_file base;
  sqlite3_file* real;
};
inline sqlite3_file* real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real; }
inline sqlite3_vfs* g_original = nullptr;

// SQLITE_OK: go on.
inline int count_operation(const std::function<void()>& half = {}) {
  const int64_t now = ++g_disk.count;
  switch (g_disk.fault) {
    case Fault::kNone:
      return SQLITE_OK;
    case Fault::kTear:
      if (now == g_disk.at && half) half();
      [[fallthrough]];
    case Fault::kKill:
      if (now == g_disk.at) ::kill(::getpid(), SIGKILL);
      return SQLITE_OK;
    case Fault::kFull:
      return now >= g_disk.at && now < g_disk.at + g_disk.room_again ? SQLITE_FULL : SQLITE_OK;
    case Fault::kError:
      return now == g_disk.at ? SQLITE_IOERR : SQLITE_OK;
  }
  return SQLITE_OK;
}

inline int close_file(sqlite3_file* f) {
  return real(f)->pMethods == nullptr ? SQLITE_OK : real(f)->pMethods->xClose(real(f));
}
inline int read_file(sqlite3_file* f, void* out, int n, sqlite3_int64 at) {
  return real(f)->pMethods->xRead(real(f), out, n, at);
}
inline int write_file(sqlite3_file* f, const void* bytes, int n, sqlite3_int64 at) {
  const int code = count_operation([&] { real(f)->pMethods->xWrite(real(f), bytes, n / 2, at); });
  return code != SQLITE_OK ? code : real(f)->pMethods->xWrite(real(f), bytes, n, at);
}
inline int truncate_file(sqlite3_file* f, sqlite3_int64 size) {
  const int code = count_operation();
  return code != SQLITE_OK ? code : real(f)->pMethods->xTruncate(real(f), size);
}
inline int sync_file(sqlite3_file* f, int flags) {
  const int code = count_operation();
  return code != SQLITE_OK ? code : real(f)->pMethods->xSync(real(f), flags);
}
inline int file_size(sqlite3_file* f, sqlite3_int64* size) { return real(f)->pMethods->xFileSize(real(f), size); }
inline int lock(sqlite3_file* f, int level) { return real(f)->pMethods->xLock(real(f), level); }
inline int unlock(sqlite3_file* f, int level) { return real(f)->pMethods->xUnlock(real(f), level); }
inline int is_reserved(sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); }
inline int control(sqlite3_file* f, int what, void* with) {
  return real(f)->pMethods->xFileControl(real(f), what, with);
}
inline int sector(sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); }
inline int traits(sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); }
inline int shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
}
inline int shm_lock(sqlite3_file* f, int at, int n, int flags) {
  return real(f)->pMethods->xShmLock(real(f), at, n, flags);
}
inline void shm_barrier(sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); }
inline int shm_unmap(sqlite3_file* f, int remove) { return real(f)->pMethods->xShmUnmap(real(f), remove); }

inline const sqlite3_io_methods kMethods = {
    2,       close_file, read_file, write_file, truncate_file, sync_file,   file_size, lock,    unlock, is_reserved,
    control, sector,     traits,    shm_map,    shm_lock,      shm_barrier, shm_unmap, nullptr, nullptr};

inline int open_file(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out) {
  auto* file = reinterpret_cast<File*>(f);
  file->real = reinterpret_cast<sqlite3_file*>(file + 1);
  const int code = g_original->xOpen(g_original, name, file->real, flags, out);
  file->base.pMethods = code == SQLITE_OK ? &kMethods : nullptr;
  return code;
}

}  // namespace faulty

// From here on SQLite's files of this process lie on g_disk: for a child, which does not come back.
inline void use_faulty_disk() {
  faulty::g_original = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs vfs;
  vfs = *faulty::g_original;
  vfs.pNext = nullptr;
  vfs.zName = "faulty";
  vfs.szOsFile = static_cast<int>(sizeof(faulty::File)) + faulty::g_original->szOsFile;
  vfs.xOpen = faulty::open_file;
  ONSIGHT_CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

}  // namespace onsight::agents::trial
