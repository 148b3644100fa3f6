#include "media/pages.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "media/decoders.h"
#include "media/tiff_pages.h"

namespace onsight::media {
namespace {

// Read and not mapped: a file that becomes shorter meanwhile is an error, and no signal.
class PagedFile {
 public:
  explicit PagedFile(const Path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  PagedFile(const PagedFile&) = delete;
  PagedFile& operator=(const PagedFile&) = delete;
  ~PagedFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool is_open() const { return fd_ >= 0; }

  TiffBytes bytes() const {
    struct stat facts {};
    const bool known = ::fstat(fd_, &facts) == 0;
    const auto read = [fd = fd_](uint64_t offset, void* out, size_t size) -> size_t {
      size_t there = 0;
      while (there < size) {
        const ssize_t n =
            ::pread(fd, static_cast<char*>(out) + there, size - there, static_cast<off_t>(offset + there));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        there += static_cast<size_t>(n);
      }
      return there;
    };
    return {.read = read, .size = known ? static_cast<uint64_t>(facts.st_size) : 0};
  }

 private:
  int fd_;
};

Result<int> count(const TiffBytes& file, std::string_view name) {
  TRY(const TiffPages pages, find_tiff_pages(file, name));
  return std::max(1, static_cast<int>(pages.directories.size()) + (pages.loops ? 1 : 0));
}

Result<Image> decode(const TiffBytes& file, std::string_view name, int number, const DecodeLimits& limits) {
  try {
    TRY(const TiffPages pages, find_tiff_pages(file, name));
    const size_t index = static_cast<size_t>(number) - 1;
    if (index < pages.directories.size())
      return decode_tiff_page(file, pages.directories[index], Source{{}, name, limits.max_pixels});
    if (index == pages.directories.size() && pages.loops)
      return bad_input("{}: the TIFF goes on with a page that was there before, expected another or its end", name);
    return bad_input("{}: found {} pages, expected a TIFF that has this one", name, pages.directories.size());
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}: the page does not fit in memory, expected a smaller one", name);
  }
}

}  // namespace

Result<int> count_pages(const Path& file) {
  const PagedFile open(file);
  if (!open.is_open()) return 1;
  return count(open.bytes(), file.string());
}

Result<int> count_pages(std::string_view bytes, std::string_view name) { return count(tiff_in_memory(bytes), name); }

Result<Image> decode_page(const Path& file, int number, const DecodeLimits& limits) {
  const PagedFile open(file);
  if (!open.is_open()) return bad_input("{}: cannot be opened ({})", file.string(), std::strerror(errno));
  return decode(open.bytes(), fmt::format("{}, page {}", file.string(), number), number, limits);
}

Result<Image> decode_page(std::string_view bytes, std::string_view name, int number, const DecodeLimits& limits) {
  return decode(tiff_in_memory(bytes), fmt::format("{}, page {}", name, number), number, limits);
}

}  // namespace onsight::media
