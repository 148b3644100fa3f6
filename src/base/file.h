// Files: map to read, read whole, and write so that a reader never sees half a file.
//
//   TRY(MappedFile file, MappedFile::open("model.safetensors"));
//   TRY_STATUS(write_file_atomically("out.json", bytes));
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight {

using Path = std::filesystem::path;

// A file mapped read-only; the bytes stay valid as long as the object lives. Moves, does not copy.
class MappedFile {
 public:
  static Result<MappedFile> open(const Path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const Path& path() const { return path_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  Path path_;
};

// Tells the system that mapped bytes will not be read again soon: they leave this process's memory and come back from
// the file if needed.
void release_pages(std::span<const std::byte> mapped);

// What is in a folder, sorted; of one that is not there or cannot be read, nothing.
std::vector<Path> children_of(const Path& folder);

// Looks at what a file begins with, before more is read: its first 4096 bytes, or all if there are fewer.
using Beginning = std::function<Status(std::string_view first)>;

// The whole file. Refuses one larger than max_bytes, a folder, what cannot be read, and what `check` refuses.
Result<std::string> read_file(const Path& path, uint64_t max_bytes = uint64_t{1} << 30, const Beginning& check = {});
// All of standard input, up to max_bytes.
Result<std::string> read_stdin(uint64_t max_bytes = uint64_t{1} << 30, const Beginning& check = {});
// Writes to a temporary file beside `path`, flushes it to disk and renames it; on failure (a full disk, say) nothing is
// left. A link stays and leads to the new contents; a device or a pipe is refused.
Status write_file_atomically(const Path& path, std::string_view bytes);

// Collects output in chunks into a temporary file; nothing appears under `path` until commit().
class AtomicFile {
 public:
  static Result<AtomicFile> create(const Path& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();  // removes the temporary file unless committed
  Status append(std::string_view bytes);
  // Where the bytes are until commit().
  const Path& temporary() const { return temporary_; }
  Status commit();

 private:
  AtomicFile() = default;
  void discard();
  int fd_ = -1;
  Path path_, temporary_;
};

}  // namespace onsight
