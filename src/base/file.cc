#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace onsight {
namespace {

struct Fd {
  int value = -1;
  ~Fd() {
    if (value >= 0) ::close(value);
  }
};

Result<uint64_t> open_regular(const Path& path, Fd& fd) {
  fd.value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd.value < 0) return bad_input("{}: cannot be opened ({})", path.string(), std::strerror(errno));
  struct stat info {};
  if (::fstat(fd.value, &info) != 0) return bad_input("{}: cannot be read ({})", path.string(), std::strerror(errno));
  if (S_ISDIR(info.st_mode)) return bad_input("{}: expected a file, found a folder", path.string());
  return static_cast<uint64_t>(info.st_size);
}

Result<std::string> read_descriptor(int fd, const std::string& name, uint64_t max_bytes, uint64_t size_hint,
                                    const Beginning& check) {
  constexpr size_t kFirstBytes = 4096;
  bool checked = !check;
  std::string out;
  out.reserve(static_cast<size_t>(std::min(size_hint, max_bytes)));
  char chunk[1 << 16];
  while (true) {
    ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n == 0) {
      if (!checked) TRY_STATUS(check(out));
      return out;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bad_input("{}: cannot be read ({})", name, std::strerror(errno));
    if (out.size() + static_cast<size_t>(n) > max_bytes)
      return bad_input("{}: larger than the limit of {} bytes", name, max_bytes);
    out.append(chunk, static_cast<size_t>(n));
    if (!checked && out.size() >= kFirstBytes) {
      TRY_STATUS(check(std::string_view(out).substr(0, kFirstBytes)));
      checked = true;
    }
  }
}

}  // namespace

Result<MappedFile> MappedFile::open(const Path& path) {
  Fd fd;
  TRY(uint64_t size, open_regular(path, fd));
  MappedFile file;
  file.path_ = path;
  if (size == 0) return file;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.value, 0);
  if (data == MAP_FAILED) {
    const ErrorCode code = errno == ENOMEM ? ErrorCode::kOutOfMemory : ErrorCode::kBadInput;
    return make_error(code, "{}: cannot be mapped ({})", path.string(), std::strerror(errno));
  }
  file.data_ = static_cast<const std::byte*>(data);
  file.size_ = size;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void release_pages(std::span<const std::byte> mapped) {
  // Whole pages inside the range only: the edges may belong to neighbours still in use.
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(mapped.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(mapped.data()) + mapped.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::vector<Path> children_of(const Path& folder) {
  std::vector<Path> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    out.push_back(it->path());
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::string> read_file(const Path& path, uint64_t max_bytes, const Beginning& check) {
  Fd fd;
  TRY(uint64_t size, open_regular(path, fd));
  return read_descriptor(fd.value, path.string(), max_bytes, size, check);
}

Result<std::string> read_stdin(uint64_t max_bytes, const Beginning& check) {
  return read_descriptor(0, "standard input", max_bytes, 1 << 16, check);
}

Result<AtomicFile> AtomicFile::create(const Path& path) {
  static std::atomic<unsigned> counter{0};
  AtomicFile file;
  file.path_ = path;
  // A link stays, and what it leads to gets the new contents.
  std::error_code error;
  constexpr int kMostLinks = 40;  // as the system follows
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(file.path_, error); ++i)
    file.path_ = file.path_.parent_path() / std::filesystem::read_symlink(file.path_, error);
  struct stat before {};
  const bool replaces = ::stat(file.path_.c_str(), &before) == 0;
  if (replaces && !S_ISREG(before.st_mode))
    return make_error(ErrorCode::kIo, "{}: cannot be written, expected a plain file or nothing there, found {}",
                      path.string(), S_ISDIR(before.st_mode) ? "a folder" : "a device, a pipe or a socket");
  file.temporary_ = file.path_;
  file.temporary_ += fmt::format(".tmp-{}-{}", ::getpid(), counter++);
  file.fd_ = ::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file.fd_ < 0)
    return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path.string(), std::strerror(errno));
  if (replaces) (void)!::fchmod(file.fd_, before.st_mode & 07777);  // who may read it stays as it was
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), temporary_(std::move(other.temporary_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  ::unlink(temporary_.c_str());
}

Status AtomicFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      Status failed = make_error(ErrorCode::kIo, "{}: cannot be written ({})", path_.string(), std::strerror(errno));
      discard();
      return failed;
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Status AtomicFile::commit() {
  bool ok = ::fsync(fd_) == 0 || errno == EINVAL;
  ok = ::close(std::exchange(fd_, -1)) == 0 && ok;
  ok = ok && ::rename(temporary_.c_str(), path_.c_str()) == 0;
  if (ok) return {};
  Status failed = make_error(ErrorCode::kIo, "{}: cannot be written ({})", path_.string(), std::strerror(errno));
  ::unlink(temporary_.c_str());
  return failed;
}

Status write_file_atomically(const Path& path, std::string_view bytes) {
  TRY(AtomicFile file, AtomicFile::create(path));
  TRY_STATUS(file.append(bytes));
  return file.commit();
}

}  // namespace onsight
