#include "server/file_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <system_error>
#include <thread>

#include "base/sha256.h"
#include "net/base64.h"
#include "server/fields.h"

namespace onsight::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::microseconds;

// Long enough that nobody else's files in the directory are taken for the store's.
constexpr std::string_view kDataEnd = ".onsight-file", kInfoEnd = ".onsight-file.json", kPartEnd = ".onsight-part";
constexpr std::string_view kLockName = "onsight-files.lock";
constexpr size_t kMaxName = 40, kMaxInfoBytes = 64 << 10;
constexpr int64_t kMaxTime = int64_t{4} << 50;  // microseconds since 1970 that a clock of nanoseconds can hold

std::string random_letters(int count) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz012345";  // 32 of them: five bits each
  std::random_device device;
  std::string out;
  for (int i = 0; i < count; ++i) out += kLetters[device() % kLetters.size()];
  return out;
}

// Without the path: a client is told this.
Error io_error() { return {ErrorCode::kIo, fmt::format("the files: cannot be written ({})", std::strerror(errno))}; }

// A file that only its owner may read, and that is gone again unless it is published.
class PartFile {
 public:
  PartFile() = default;
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(path_.c_str());
  }

  Status create(Path path) {
    path_ = std::move(path);
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) return tl::unexpected<Error>(io_error());
    return {};
  }
  Status append(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return tl::unexpected<Error>(io_error());
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  Status publish(const Path& path) {
    const bool written = ::fsync(fd_) == 0 || errno == EINVAL;
    if (!written || ::rename(path_.c_str(), path.c_str()) != 0) return tl::unexpected<Error>(io_error());
    ::close(std::exchange(fd_, -1));
    return {};
  }

 private:
  int fd_ = -1;
  Path path_;
};

int64_t to_number(FileStore::Time time) {
  return std::chrono::duration_cast<microseconds>(time.time_since_epoch()).count();
}
FileStore::Time to_time(int64_t number) { return FileStore::Time(microseconds(number)); }

std::string info_text(const FileStore::File& file) {
  return to_text({{"name", file.name},
                  {"displayName", file.display_name},
                  {"mimeType", file.mime_type},
                  {"sizeBytes", file.size},
                  {"sha256", file.sha256},
                  {"created", to_number(file.created)},
                  {"expires", to_number(file.expires)}}) +
         "\n";
}

Result<FileStore::File> parse_info(std::string_view text) {
  TRY(const Json json, parse_body(text));
  const Fields fields(json, "");
  FileStore::File file;
  TRY(file.name, fields.string("name"));
  TRY(file.display_name, fields.string("displayName"));
  TRY(file.mime_type, fields.string("mimeType"));
  TRY(file.size, fields.integer("sizeBytes", -1, 0, INT64_MAX));
  TRY(file.sha256, fields.string("sha256"));
  TRY(const int64_t created, fields.integer("created", 0, 0, kMaxTime));
  TRY(const int64_t expires, fields.integer("expires", 0, 0, kMaxTime));
  file.created = to_time(created);
  file.expires = to_time(expires);
  return file;
}

class DiskStore : public FileStore {
 public:
  explicit DiskStore(Options options) : options_(std::move(options)) {}
  ~DiskStore() override {
    worker_.request_stop();
    if (worker_.joinable()) worker_.join();
    uploads_.clear();
    if (lock_ >= 0) ::close(lock_);
    std::error_code ignored;
    if (options_.directory.empty() && !directory_.empty()) fs::remove_all(directory_, ignored);
  }

  Status start() {
    if (!options_.directory.empty()) TRY_STATUS(take_directory());
    worker_ = std::jthread([this](const std::stop_token& stop) {
      std::unique_lock lock(mutex_);
      while (!stop.stop_requested()) {
        wake_.wait_for(lock, stop, std::chrono::minutes(1), [] { return false; });
        remove_expired();
      }
    });
    return {};
  }

  tl::expected<std::string, Failure> begin(NewFile wanted) override {
    const std::scoped_lock lock(mutex_);
    remove_expired();
    if (directory_.empty()) TRY_STATUS(make_private_directory());
    if (!wanted.name.empty() && !is_file_name(wanted.name))
      return fails(400, fmt::format("file.name: expected files/ and at most {} of a-z, 0-9 and -, which is neither "
                                    "first nor last, found '{}'",
                                    kMaxName, wanted.name));
    if (taken(wanted.name)) return fails(409, fmt::format("file.name: files/{} is there already", wanted.name));
    while (wanted.name.empty() || taken(wanted.name)) wanted.name = random_letters(12);
    if (files_.size() >= options_.max_files)
      return fails(429, fmt::format("the files: expected at most {}, delete some", options_.max_files));
    if (wanted.size > options_.max_bytes - used_) return no_space(wanted.size);
    if (uploads_.size() >= options_.max_uploads) forget_oldest_done();
    if (uploads_.size() >= options_.max_uploads)
      return fails(429, fmt::format("the uploads: expected at most {} at a time", options_.max_uploads));
    const std::string id = random_letters(32);
    auto upload = std::make_shared<Upload>();
    upload->wanted = std::move(wanted);
    upload->touched = options_.now();
    TRY_STATUS(upload->file.create(directory_ / (id + std::string(kPartEnd))));
    uploads_.emplace(id, std::move(upload));
    const std::scoped_lock ids_lock(ids_mutex_);
    ids_.insert(id);
    return id;
  }

  tl::expected<Progress, Failure> append(const std::string& id, int64_t offset, std::string_view bytes,
                                         bool last) override {
    const std::shared_ptr<Upload> found = touch(id);
    if (!found) return unknown_upload();
    Upload& upload = *found;
    const std::scoped_lock lock(upload.mutex);
    const auto count = static_cast<int64_t>(bytes.size());
    if (upload.done) {
      // The answer to the last piece was lost, and the piece comes again.
      if (last && offset >= 0 && offset + count == upload.received) return Progress{upload.received, upload.done};
      return fails(400, "the upload: expected no more of it, it is whole");
    }
    if (offset != upload.received)
      return fails(400, fmt::format("X-Goog-Upload-Offset: expected {}, found {}", upload.received, offset));
    const int64_t whole = upload.wanted.size;
    if (whole >= 0 && (count > whole - upload.received || (last && upload.received + count != whole)))
      return fails(400, fmt::format("the upload: expected {} bytes, found {}", whole, upload.received + count));
    if (auto kept = reserve(id, upload, count); !kept) return tl::unexpected<Failure>(kept.error());
    if (const Status written = upload.file.append(bytes); !written) {
      cancel(id);
      return tl::unexpected<Failure>(written.error());
    }
    upload.sum.add(bytes);
    upload.received += count;
    if (!last) return Progress{upload.received, {}};
    const Status published = publish(id, upload);
    if (!published) {
      cancel(id);
      return tl::unexpected<Failure>(published.error());
    }
    return Progress{upload.received, upload.done};
  }

  std::optional<Progress> progress(const std::string& id) override {
    const std::shared_ptr<Upload> upload = touch(id);
    if (!upload) return {};
    const std::scoped_lock lock(upload->mutex);
    return Progress{upload->received, upload->done};
  }

  bool cancel(const std::string& id) override {
    const std::scoped_lock lock(mutex_);
    const auto found = uploads_.find(id);
    if (found == uploads_.end() || found->second->published) return false;
    forget(found);
    return true;
  }

  bool knows(const std::string& id) const override {
    const std::scoped_lock lock(ids_mutex_);
    return ids_.contains(id);
  }

  std::optional<File> find(const std::string& name) override {
    const std::scoped_lock lock(mutex_);
    remove_expired();
    const auto found = files_.find(name);
    return found == files_.end() ? std::nullopt : std::optional(found->second);
  }

  std::vector<File> list() override {
    const std::scoped_lock lock(mutex_);
    remove_expired();
    std::vector<File> out;
    for (const auto& [name, file] : files_) out.push_back(file);
    std::stable_sort(out.begin(), out.end(), [](const File& a, const File& b) { return a.created < b.created; });
    return out;
  }

  bool remove(const std::string& name) override {
    const std::scoped_lock lock(mutex_);
    remove_expired();
    const auto found = files_.find(name);
    if (found == files_.end()) return false;
    remove_file(found);
    return true;
  }

  Result<std::string> read(const std::string& name, int64_t max_bytes) override {
    const auto file = find(name);
    if (!file) return tl::unexpected<Error>(no_file(name));
    if (file->size > max_bytes)
      return bad_input("files/{}: expected at most {} bytes, found {}", name, max_bytes, file->size);
    auto bytes = read_file(data_path(name), static_cast<uint64_t>(max_bytes));
    if (!bytes) return make_error(ErrorCode::kIo, "files/{}: cannot be read", name);
    return bytes;
  }

  Result<Path> path(const std::string& name) override {
    if (!find(name)) return tl::unexpected<Error>(no_file(name));
    return data_path(name);
  }

  void sweep() override {
    const std::scoped_lock lock(mutex_);
    remove_expired();
  }

 private:
  // `mutex` is taken before the store's, for as long as a piece is written.
  struct Upload {
    std::mutex mutex;
    PartFile file;
    Sha256 sum;
    int64_t received = 0;
    std::optional<File> done;
    // Under the store's mutex.
    NewFile wanted;
    Time touched;
    int64_t reserved = 0;  // of used_
    bool published = false;
  };
  using Uploads = std::map<std::string, std::shared_ptr<Upload>>;
  using Files = std::map<std::string, File>;

  static Error no_file(const std::string& name) {
    return {ErrorCode::kBadInput, fmt::format("files/{}: expected a file that was uploaded", name)};
  }
  static tl::unexpected<Failure> unknown_upload() {
    return fails(404, "the upload: expected one that was begun less than an hour ago and not cancelled");
  }
  tl::unexpected<Failure> no_space(int64_t bytes) const {
    return fails(413, fmt::format("the files: expected at most {} bytes together, found {} more than {}, delete some",
                                  options_.max_bytes, bytes, used_));
  }

  Path data_path(std::string_view name) const { return directory_ / (std::string(name) + std::string(kDataEnd)); }
  Path info_path(std::string_view name) const { return directory_ / (std::string(name) + std::string(kInfoEnd)); }

  Status make_private_directory() {
    std::error_code error;
    const Path parent = fs::temp_directory_path(error);
    std::string pattern = ((error ? Path("/tmp") : parent) / "onsight-files-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) return tl::unexpected<Error>(io_error());
    directory_ = pattern;
    return {};
  }

  Status take_directory() {
    directory_ = options_.directory;
    std::error_code error;
    if (!fs::is_directory(directory_, error)) {
      if (directory_.has_parent_path()) fs::create_directories(directory_.parent_path(), error);
      if (::mkdir(directory_.c_str(), 0700) != 0)
        return make_error(ErrorCode::kIo, "{}: expected a directory for files ({})", directory_.string(),
                          std::strerror(errno));
    }
    const Path lock = directory_ / kLockName;
    lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_ < 0) return make_error(ErrorCode::kIo, "{}: cannot be written ({})", lock.string(), std::strerror(errno));
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0)
      return make_error(ErrorCode::kUsage, "{}: expected a directory of its own, another server uses it",
                        directory_.string());
    std::vector<std::string> names;
    for (fs::directory_iterator entry(directory_, error), end; !error && entry != end; entry.increment(error))
      names.push_back(entry->path().filename().string());
    if (error) return make_error(ErrorCode::kIo, "{}: cannot be listed ({})", directory_.string(), error.message());
    for (const std::string& name : names) take_over(name);
    remove_expired();
    return {};
  }

  // A part, or a file that was not described any more, is what a run left that did not end well.
  void take_over(const std::string& entry) {
    std::error_code error;
    const auto stem = [&](std::string_view end) {
      return entry.ends_with(end) ? entry.substr(0, entry.size() - end.size()) : std::string();
    };
    if (is_file_name(stem(kDataEnd)) && !fs::exists(info_path(stem(kDataEnd)), error))
      fs::remove(directory_ / entry, error);
    if (entry.ends_with(kPartEnd)) fs::remove(directory_ / entry, error);
    const std::string name = stem(kInfoEnd);
    if (!is_file_name(name)) return;
    const auto text = read_file(directory_ / entry, kMaxInfoBytes);
    if (!text) return;
    auto file = parse_info(*text);
    if (!file || file->name != name) return;
    const auto size = fs::file_size(data_path(name), error);
    if (error || size != static_cast<uint64_t>(file->size)) return;
    used_ += file->size;
    files_.emplace(name, *std::move(file));
  }

  bool taken(const std::string& name) const {
    return files_.contains(name) || std::any_of(uploads_.begin(), uploads_.end(), [&](const auto& upload) {
             return !upload.second->published && upload.second->wanted.name == name;
           });
  }

  std::shared_ptr<Upload> touch(const std::string& id) {
    const std::scoped_lock lock(mutex_);
    remove_expired();
    const auto found = uploads_.find(id);
    if (found == uploads_.end()) return nullptr;
    found->second->touched = options_.now();
    return found->second;
  }

  // Room for a piece. An upload for which there is none is over.
  Outcome reserve(const std::string& id, Upload& upload, int64_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto found = uploads_.find(id);
    if (found == uploads_.end()) return unknown_upload();
    if (bytes > options_.max_bytes - used_) {
      auto failure = no_space(bytes);
      forget(found);
      return failure;
    }
    used_ += bytes;
    upload.reserved += bytes;
    return {};
  }

  // The metadata comes last: without it there is no file.
  Status publish(const std::string& id, Upload& upload) {
    const std::string& name = upload.wanted.name;
    const Digest digest = upload.sum.finish();
    const Time now = options_.now();
    File file{.name = name,
              .display_name = upload.wanted.display_name,
              .mime_type = upload.wanted.mime_type,
              .size = upload.received,
              .sha256 = net::base64_encode({reinterpret_cast<const char*>(digest.data()), digest.size()}),
              .created = now,
              .expires = now + options_.life};
    PartFile info;
    TRY_STATUS(info.create(directory_ / (id + "-info" + std::string(kPartEnd))));
    TRY_STATUS(info.append(info_text(file)));
    TRY_STATUS(upload.file.publish(data_path(name)));
    const std::scoped_lock lock(mutex_);
    if (!uploads_.contains(id)) {
      std::error_code ignored;
      fs::remove(data_path(name), ignored);
      return bad_input("the upload: it was cancelled");
    }
    if (Status published = info.publish(info_path(name)); !published) {
      std::error_code ignored;
      fs::remove(data_path(name), ignored);
      return published;
    }
    upload.published = true;
    upload.reserved = 0;  // the file's from now on
    upload.done = file;
    files_.insert_or_assign(name, std::move(file));
    return {};
  }

  void forget(Uploads::iterator upload) {
    used_ -= upload->second->reserved;
    upload->second->reserved = 0;
    {
      const std::scoped_lock ids_lock(ids_mutex_);
      ids_.erase(upload->first);
    }
    uploads_.erase(upload);
  }

  void forget_oldest_done() {
    auto oldest = uploads_.end();
    for (auto at = uploads_.begin(); at != uploads_.end(); ++at)
      if (at->second->published && (oldest == uploads_.end() || at->second->touched < oldest->second->touched))
        oldest = at;
    if (oldest != uploads_.end()) forget(oldest);
  }

  Files::iterator remove_file(Files::iterator file) {
    std::error_code ignored;
    fs::remove(info_path(file->first), ignored);
    fs::remove(data_path(file->first), ignored);
    used_ -= file->second.size;
    return files_.erase(file);
  }

  void remove_expired() {
    const Time now = options_.now();
    for (auto file = files_.begin(); file != files_.end();)
      file = file->second.expires <= now ? remove_file(file) : std::next(file);
    for (auto upload = uploads_.begin(); upload != uploads_.end();) {
      const auto at = upload++;
      if (at->second->touched + options_.upload_life <= now) forget(at);
    }
  }

  const Options options_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  Path directory_;
  int lock_ = -1;
  Files files_;
  Uploads uploads_;
  // Of uploads_, under a mutex that nobody holds while a file is written.
  mutable std::mutex ids_mutex_;
  std::set<std::string> ids_;
  int64_t used_ = 0;
  std::jthread worker_;
};

}  // namespace

Result<std::unique_ptr<FileStore>> FileStore::open(Options options) {
  auto store = std::make_unique<DiskStore>(std::move(options));
  TRY_STATUS(store->start());
  return std::unique_ptr<FileStore>(std::move(store));
}

bool is_file_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name.front() != '-' && name.back() != '-' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

}  // namespace onsight::server
