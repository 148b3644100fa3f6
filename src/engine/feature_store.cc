#include "engine/feature_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace onsight::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "onsight features 1\n";
constexpr std::string_view kSuffix = ".features", kTemporary = ".tmp-";
constexpr size_t kDigestBytes = sizeof(Digest);

std::string_view text(const Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }
std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t time_of(const fs::file_time_type& time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

// Large files in samples: reading all of them would take longer than looking at a picture.
void add_file(Sha256& hash, const Path& path) {
  constexpr uint64_t kWhole = 4 << 20, kSample = 4096, kSamples = 128;
  std::error_code error;
  hash.field(path.filename().string());
  hash.field(time_of(fs::last_write_time(path, error)));
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

// "<64 hexadecimal digits>.features", and while it is written with a suffix more.
bool is_ours(const std::string& name, bool& temporary) {
  const size_t digits = 2 * kDigestBytes;
  if (name.size() < digits + kSuffix.size()) return false;
  if (name.find_first_not_of("0123456789abcdef") != digits || name.compare(digits, kSuffix.size(), kSuffix) != 0)
    return false;
  const std::string rest = name.substr(digits + kSuffix.size());
  temporary = rest.starts_with(kTemporary);
  return rest.empty() || temporary;
}

}  // namespace

Digest model_identity(const Path& path) {
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
  Sha256 hash;
  for (const Path& file : files) add_file(hash, file);
  // Another build may compute other last bits.
  const Path program = "/proc/self/exe";
  hash.field(fs::file_size(program, error)).field(time_of(fs::last_write_time(program, error)));
  return hash.finish();
}

Digest feature_key(const Digest& model, std::string_view how, const media::Image& tile) {
  return Sha256()
      .add(kMagic)
      .add(text(model))
      .field(how)
      .field(static_cast<uint64_t>(tile.width))
      .field(static_cast<uint64_t>(tile.height))
      .add({reinterpret_cast<const char*>(tile.rgb.data()), tile.rgb.size()})
      .finish();
}

std::string make_record(const Digest& key, std::string_view bytes) {
  std::string out(kMagic);
  out += text(key);
  out += bytes;
  out += text(sha256(out));
  return out;
}

Result<std::string_view> read_record(std::string_view file, const Digest& key) {
  if (!file.starts_with(kMagic) || file.size() < kMagic.size() + 2 * kDigestBytes)
    return bad_input("expected a file of image features");
  if (file.substr(kMagic.size(), kDigestBytes) != text(key)) return bad_input("features of another picture or model");
  const std::string_view all = file.substr(0, file.size() - kDigestBytes);
  if (text(sha256(all)) != file.substr(all.size())) return bad_input("the checksum differs");
  return all.substr(kMagic.size() + kDigestBytes);
}

Result<FeatureStore> FeatureStore::open(const Path& folder, int64_t max_bytes) {
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
  return FeatureStore(folder, max_bytes);
}

bool FeatureStore::load(const Digest& key, std::span<std::byte> out) const {
  const Path path = folder_ / (to_hex(key) + std::string(kSuffix));
  std::error_code error;
  const uint64_t expected = kMagic.size() + 2 * kDigestBytes + out.size();
  if (!fs::is_regular_file(fs::symlink_status(path, error)) || fs::file_size(path, error) != expected) return false;
  Result<std::string> file = read_file(path, expected);
  if (!file) return false;
  Result<std::string_view> bytes = read_record(*file, key);
  if (!bytes || bytes->size() != out.size()) return false;
  std::memcpy(out.data(), bytes->data(), out.size());
  fs::last_write_time(path, fs::file_time_type::clock::now(), error);
  return true;
}

// Not AtomicFile: others may never read it, and it need not survive a power cut, which the checksum would tell.
void FeatureStore::save(const Digest& key, std::span<const std::byte> bytes) const {
  const std::string record = make_record(key, text(bytes));
  if (static_cast<int64_t>(record.size()) > max_bytes_) return;
  const Path path = folder_ / (to_hex(key) + std::string(kSuffix));
  Path temporary = path;
  temporary += fmt::format("{}{}", kTemporary, ::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  size_t written = 0;
  while (written < record.size()) {
    const ssize_t n = ::write(fd, record.data() + written, record.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<size_t>(n);
  }
  const bool whole = ::close(fd) == 0 && written == record.size();
  if (!whole || ::rename(temporary.c_str(), path.c_str()) != 0) ::unlink(temporary.c_str());
}

void FeatureStore::trim() const {
  struct File {
    fs::file_time_type used;
    int64_t bytes;
    Path path;
  };
  std::vector<File> files;
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (auto it = fs::directory_iterator(folder_, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    bool temporary = false;
    std::error_code unknown;
    if (!is_ours(it->path().filename().string(), temporary) || !fs::is_regular_file(it->symlink_status(unknown)))
      continue;
    File file = {it->last_write_time(unknown), static_cast<int64_t>(it->file_size(unknown)), it->path()};
    if (unknown) continue;  // another process removed it
    if (!temporary) {
      files.push_back(std::move(file));
    } else if (now - file.used > std::chrono::hours(1)) {  // its writer was killed
      fs::remove(file.path, unknown);
    }
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used > b.used; });
  int64_t bytes = 0;
  for (const File& file : files) {
    bytes += file.bytes;
    if (bytes > max_bytes_) fs::remove(file.path, error);
  }
}

}  // namespace onsight::engine
