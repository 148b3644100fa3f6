#include "engine/disk_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <optional>

#include "base/xxh64.h"

namespace onsight::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "onsight cache 1\n";
constexpr std::array<std::string_view, 2> kSuffixes = {".features", ".kv"};  // by DiskCache::Kind
constexpr std::string_view kTemporary = ".tmp-";
constexpr size_t kDigestBytes = sizeof(Digest), kHeaderBytes = kMagic.size() + kDigestBytes;

using Checksum = std::array<std::byte, 8>;

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t time_of(const fs::file_time_type& time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

// Large files in samples: reading all of them would take longer than looking at a picture.
void add_file(Sha256& hash, const Path& path) {
  constexpr uint64_t kWhole = 4 << 20, kSample = 4096, kSamples = 128;
  hash.field(path.filename().string());
  Result<MappedFile> file = MappedFile::open(path);
  if (!file) return;
  const std::string_view bytes = text(file->bytes());
  hash.field(bytes.size());
  if (bytes.size() <= kWhole) {
    hash.add(bytes);
    return;
  }
  for (uint64_t i = 0; i < kSamples; ++i)
    hash.add(bytes.substr((bytes.size() - kSample) / (kSamples - 1) * i, kSample));
}

std::vector<Path> files_of_model(const Path& path) {
  std::vector<Path> files;
  std::error_code error;
  const auto add_folder = [&](const Path& folder, std::string_view extension) {
    for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error))
      if (it->is_regular_file(error) && (extension.empty() || it->path().extension() == extension))
        files.push_back(it->path());
  };
  const std::string name = path.string();
  const size_t comma = fs::exists(path, error) ? std::string::npos : name.find(',');
  for (const Path& part :
       {Path(name.substr(0, comma)), Path(comma == std::string::npos ? "" : name.substr(comma + 1))}) {
    if (fs::is_directory(part, error)) {
      add_folder(part, "");
    } else if (fs::is_regular_file(part, error)) {
      files.push_back(part);
      if (part.extension() == ".gguf") add_folder(part.has_parent_path() ? part.parent_path() : Path("."), ".gguf");
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::array<std::byte, kHeaderBytes> make_header(const Digest& key) {
  std::array<std::byte, kHeaderBytes> out;
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  std::copy(key.begin(), key.end(), out.begin() + kMagic.size());
  return out;
}

template <class Part>
Checksum checksum_of(std::span<const Part> parts) {
  Xxh64 sum;
  for (const Part& part : parts) sum.add(part);
  Checksum out;
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(sum.finish() >> (8 * i));
  return out;
}

template <class Part>
int64_t total(std::span<const Part> parts) {
  return std::accumulate(parts.begin(), parts.end(), int64_t{0},
                         [](int64_t sum, const Part& part) { return sum + static_cast<int64_t>(part.size()); });
}

// "<64 hexadecimal digits>.features", and while it is written with a suffix more.
struct OwnName {
  DiskCache::Kind kind;
  bool temporary;
};
std::optional<OwnName> parse_name(const std::string& name) {
  const size_t digits = 2 * kDigestBytes;
  if (name.find_first_not_of("0123456789abcdef") != digits) return std::nullopt;
  std::string_view rest = std::string_view(name).substr(digits);
  for (size_t i = 0; i < kSuffixes.size(); ++i) {
    if (!rest.starts_with(kSuffixes[i])) continue;
    rest.remove_prefix(kSuffixes[i].size());
    if (rest.empty() || rest.starts_with(kTemporary)) return OwnName{static_cast<DiskCache::Kind>(i), !rest.empty()};
  }
  return std::nullopt;
}

// Opened for reading; -1 if it is no file of so many bytes.
int open_file(const Path& path, int64_t bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return -1;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size == bytes) return fd;
  ::close(fd);
  return -1;
}

// Calls move(at, n), which is read or write of a part of the bytes, until all are moved.
template <class Move>
bool move_all(size_t bytes, const Move& move) {
  for (size_t at = 0; at < bytes;) {
    const ssize_t n = move(at, bytes - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

Digest model_contents(const Path& path) {
  Sha256 hash;
  for (const Path& file : files_of_model(path)) add_file(hash, file);
  return hash.finish();
}

Digest model_identity(const Path& path) {
  std::error_code error;
  Sha256 hash;
  hash.add(model_contents(path));
  for (const Path& file : files_of_model(path)) hash.field(time_of(fs::last_write_time(file, error)));
  // Another build may compute other last bits.
  const Path program = "/proc/self/exe";
  hash.field(fs::file_size(program, error)).field(time_of(fs::last_write_time(program, error)));
  return hash.finish();
}

Digest pixel_digest(const media::Image& tile) {
  return Sha256()
      .field(static_cast<uint64_t>(tile.width))
      .field(static_cast<uint64_t>(tile.height))
      .add({reinterpret_cast<const char*>(tile.rgb.data()), tile.rgb.size()})
      .finish();
}

Digest feature_key(const Digest& model, std::string_view how, const Digest& tile) {
  return Sha256().field("features").add(model).field(how).add(tile).finish();
}

Digest prefix_key(const Digest& model, std::string_view how, std::span<const int32_t> ids,
                  std::span<const int32_t> image_positions, std::span<const Digest> tiles) {
  Sha256 hash;
  hash.field("keys and values").add(model).field(how);
  for (const std::span<const int32_t> numbers : {ids, image_positions}) {
    hash.field(numbers.size());
    for (int32_t number : numbers) hash.field(static_cast<uint64_t>(number));
  }
  for (const Digest& tile : tiles) hash.add(tile);
  return hash.finish();
}

int64_t record_bytes(int64_t payload) { return static_cast<int64_t>(kHeaderBytes + sizeof(Checksum)) + payload; }

bool write_record(const Digest& key, DiskCache::ConstParts parts,
                  const std::function<bool(std::span<const std::byte>)>& write) {
  const Checksum sum = checksum_of(parts);
  return write(make_header(key)) && std::all_of(parts.begin(), parts.end(), write) && write(sum);
}

bool read_record(const Digest& key, DiskCache::Parts parts, const std::function<bool(std::span<std::byte>)>& read) {
  std::array<std::byte, kHeaderBytes> header;
  Checksum sum;
  return read(header) && header == make_header(key) && std::all_of(parts.begin(), parts.end(), read) && read(sum) &&
         sum == checksum_of(parts);
}

Result<DiskCache> DiskCache::open(const Path& folder, int64_t max_bytes) {
  std::error_code error;
  if (!fs::exists(folder, error)) {
    if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), error);
    // mkdir and not create_directory: there is no moment in which others may look in.
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
      return bad_input("{}: cannot be made ({})", folder.string(), std::strerror(errno));
  }
  if (!fs::is_directory(folder, error)) return bad_input("{}: expected a folder for the cache", folder.string());
  if (::access(folder.c_str(), R_OK | W_OK | X_OK) != 0)
    return bad_input("{}: cannot be written ({})", folder.string(), std::strerror(errno));
  return DiskCache(folder, max_bytes);
}

Path DiskCache::path(Kind kind, const Digest& key) const {
  return folder_ / (to_hex(key) + std::string(kSuffixes[static_cast<size_t>(kind)]));
}

bool DiskCache::has(Kind kind, const Digest& key) const {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path(kind, key), error));
}

bool DiskCache::load(Kind kind, const Digest& key, Parts parts) const {
  const int fd = open_file(path(kind, key), record_bytes(total(parts)));
  if (fd < 0) return false;
  const bool whole = read_record(key, parts, [fd](std::span<std::byte> out) {
    return move_all(out.size(), [&](size_t at, size_t n) { return ::read(fd, out.data() + at, n); });
  });
  ::close(fd);
  std::error_code error;
  if (whole) fs::last_write_time(path(kind, key), fs::file_time_type::clock::now(), error);
  return whole;
}

// Not AtomicFile: others may never read it, and it need not survive a power cut, which the checksum would tell.
void DiskCache::save(Kind kind, const Digest& key, ConstParts parts) const {
  if (record_bytes(total(parts)) > room(kind)) return;
  const Path target = path(kind, key);
  Path temporary = target;
  temporary += fmt::format("{}{}", kTemporary, ::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  const bool written = write_record(key, parts, [fd](std::span<const std::byte> bytes) {
    return move_all(bytes.size(), [&](size_t at, size_t n) { return ::write(fd, bytes.data() + at, n); });
  });
  const bool whole = ::close(fd) == 0 && written;
  if (!whole || ::rename(temporary.c_str(), target.c_str()) != 0) ::unlink(temporary.c_str());
}

void DiskCache::trim() const {
  struct File {
    fs::file_time_type used;
    int64_t bytes;
    Path path;
    Kind kind;
  };
  std::vector<File> files;
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (auto it = fs::directory_iterator(folder_, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    std::error_code unknown;
    const std::optional<OwnName> name = parse_name(it->path().filename().string());
    if (!name || !fs::is_regular_file(it->symlink_status(unknown))) continue;
    File file = {it->last_write_time(unknown), static_cast<int64_t>(it->file_size(unknown)), it->path(), name->kind};
    if (unknown) continue;  // another process removed it
    if (!name->temporary) {
      files.push_back(std::move(file));
    } else if (now - file.used > std::chrono::hours(1)) {  // its writer was killed
      fs::remove(file.path, unknown);
    }
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used > b.used; });
  int64_t all = 0, of_kind[kSuffixes.size()] = {};
  for (const File& file : files) {
    int64_t& same = of_kind[static_cast<size_t>(file.kind)];
    same += file.bytes;
    const bool fits = same <= room(file.kind);
    if (fits) all += file.bytes;
    if (!fits || all > max_bytes_) fs::remove(file.path, error);
  }
}

}  // namespace onsight::engine
