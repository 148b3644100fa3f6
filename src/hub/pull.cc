#include "hub/pull.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "base/sha256.h"
#include "hub/cache.h"
#include "hub/listing.h"
#include "net/download.h"

namespace onsight::hub {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr int kTries = 6, kFirstTries = 3;  // in a row that bring nothing; to reach the hub at all
constexpr int kLines = 1000;                // for one file
constexpr int kLongestRetryAfter = 300;     // seconds
constexpr uint64_t kLargestListing = uint64_t{32} << 20, kLargestSettings = uint64_t{1} << 20;
constexpr int64_t kSpareBytes = int64_t{64} << 20;  // that are left on the disk
constexpr size_t kBuffer = size_t{1} << 20;

// A file's checksum as the hub has it.
class Sum {
 public:
  explicit Sum(const HubFile& file) : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free), file_(&file) { reset(); }
  void reset() {
    EVP_DigestInit_ex(context_.get(), file_->is_sha256() ? EVP_sha256() : EVP_sha1(), nullptr);
    if (file_->is_sha256()) return;
    const std::string head = fmt::format("blob {}", file_->bytes);  // git counts it in, with its zero
    EVP_DigestUpdate(context_.get(), head.c_str(), head.size() + 1);
  }
  void add(const void* data, size_t bytes) { EVP_DigestUpdate(context_.get(), data, bytes); }
  bool fits() {
    std::byte digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest), &bytes);
    return to_hex({digest, bytes}) == file_->sum;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  const HubFile* file_;
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// One pull: its files, and what its threads share.
class Pull {
 public:
  Pull(const Settings& settings, const Repository& repository, const PullOptions& options)
      : settings_(settings), repository_(repository), options_(options), cache_(settings.cache) {}

  Result<Pulled> run() {
    if (settings_.offline) return offline();
    std::error_code ignored;
    const bool is_new = !fs::exists(cache_.folder(repository_), ignored);
    Result<Pulled> pulled = all();
    // What is refused will not be gone on with, unlike a line that is cut.
    if (!pulled && pulled.error().code == ErrorCode::kBadInput && is_new && cache_.remove(repository_))
      fs::remove_all(cache_.lock(repository_, "x").parent_path(), ignored);
    return pulled;
  }

 private:
  Result<Pulled> all() {
    const std::string address =
        fmt::format("{}/api/models/{}/{}/revision/{}?blobs=true", settings_.endpoint, repository_.owner,
                    repository_.name, net::percent_encoded(repository_.revision));
    TRY(const std::string answer, small_file(address, kLargestListing));
    const std::string where = repository_.id();
    TRY(const Listing listing, read_listing(answer, where));
    TRY(files_, model_files(listing, where));
    commit_ = listing.commit;
    for (const HubFile& file : files_) total_ += file.bytes;
    TRY_STATUS(make_folders());
    TRY_STATUS(expect_room());
    TRY_STATUS(settings_first());
    TRY_STATUS(all_files());
    // The settings last: a snapshot that has them is whole.
    for (size_t i = files_.size(); i-- > 0;)
      TRY_STATUS(cache_.link(repository_, commit_, files_[i].name, files_[i].sum));
    TRY_STATUS(cache_.refer(repository_, commit_));
    return Pulled{cache_.snapshot(repository_, commit_), commit_, fetched_, total_};
  }

  Result<Pulled> offline() const {
    const auto folder = cache_.find(repository_);
    if (!folder)
      return bad_input("{}: not in {}, and HF_HUB_OFFLINE forbids to fetch it", repository_.id(),
                       settings_.cache.string());
    return Pulled{*folder, folder->filename().string(), 0, 0};
  }

  Status make_folders() const {
    std::error_code error;
    for (const Path& folder : {cache_.blobs(repository_), cache_.lock(repository_, "x").parent_path()}) {
      fs::create_directories(folder, error);
      if (error) return make_error(ErrorCode::kIo, "{}: cannot be made ({})", folder.string(), error.message());
    }
    return {};
  }

  // config.json is the first of the files.
  Status settings_first() {
    if (files_[0].bytes > static_cast<int64_t>(kLargestSettings))
      return bad_input("{}/config.json: {} bytes, expected at most {}", repository_.id(), files_[0].bytes,
                       kLargestSettings);
    TRY_STATUS(one_file(files_[0]));
    if (!options_.accept) return {};
    TRY(const std::string text, read_file(cache_.blobs(repository_) / files_[0].sum, kLargestSettings));
    TRY(const Json config, parse_json(text, repository_.id() + "/config.json"));
    return options_.accept(config);
  }

  Status expect_room() const {
    int64_t missing = 0;
    std::error_code error;
    for (const HubFile& file : files_) {
      if (is_whole(file, cache_.blobs(repository_) / file.sum)) continue;
      const auto begun = fs::file_size(incomplete(file), error);
      missing += file.bytes - (error ? 0 : std::min(file.bytes, static_cast<int64_t>(begun)));
    }
    const fs::space_info space = fs::space(cache_.blobs(repository_), error);
    if (error || missing == 0 || static_cast<int64_t>(space.available) >= missing + kSpareBytes) return {};
    return make_error(ErrorCode::kIo, "{}: {} MB are to come, and {} has {} MB free", repository_.id(), missing >> 20,
                      settings_.cache.string(), space.available >> 20);
  }

  Status all_files() {
    std::atomic<size_t> next{1};
    std::mutex failing;
    Status failed;
    const auto work = [&] {
      for (size_t i; !failed_ && (i = next++) < files_.size();) {
        Status done;
        try {
          done = one_file(files_[i]);
        } catch (const std::exception&) {  // of a thread nobody else would catch it
          done = make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to fetch it", files_[i].name);
        }
        if (done) continue;
        const std::scoped_lock lock(failing);
        // The first: others were only told to stop.
        if (!failed_) failed = std::move(done);
        failed_ = true;
      }
    };
    std::vector<std::jthread> threads;
    const auto count = std::min<size_t>(static_cast<size_t>(options_.connections), files_.size() - 1);
    for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
    work();
    threads.clear();  // waits for them
    return failed;
  }

  bool stopped() const { return failed_ || options_.stop(); }

  Status wait(milliseconds time) const {
    for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;) {
      if (stopped()) return make_error(ErrorCode::kInterrupted, "interrupted");
      std::this_thread::sleep_for(std::min<milliseconds>(time, milliseconds(50)));
    }
    return {};
  }

  void came(std::string_view what, int64_t bytes) {
    const std::scoped_lock lock(progress_);
    done_ += bytes;
    if (options_.progress) options_.progress(what, done_, total_);
  }

  Path incomplete(const HubFile& file) const { return cache_.blobs(repository_) / (file.sum + ".incomplete"); }

  // Another process may write the same blob.
  Status take_turn(const HubFile& file, const Descriptor& lock) const {
    while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR)
        return make_error(ErrorCode::kIo, "{}: cannot be locked ({})", file.name, std::strerror(errno));
      TRY_STATUS(wait(milliseconds(100)));
    }
    return {};
  }

  Status one_file(const HubFile& file) {
    const Path blob = cache_.blobs(repository_) / file.sum;
    if (!is_whole(file, blob) || !is_linked(file)) {
      const Descriptor lock(::open(cache_.lock(repository_, file.sum).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
      TRY_STATUS(take_turn(file, lock));
      TRY(const bool fits, fits_its_sum(file, blob));
      if (!fits) return fetch(file, blob);
    }
    came(file.name, file.bytes);
    return {};
  }

  bool is_linked(const HubFile& file) const {
    std::error_code error;
    return fs::read_symlink(cache_.snapshot(repository_, commit_) / file.name, error).filename() == file.sum;
  }

  // Of a blob that is there: whoever put it there may have compared nothing.
  Result<bool> fits_its_sum(const HubFile& file, const Path& blob) const {
    if (!is_whole(file, blob)) return false;
    const Descriptor fd(::open(blob.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) return false;
    Sum sum(file);
    TRY(const int64_t bytes, add_all(file, blob, fd.get(), sum));
    return bytes == file.bytes && sum.fits();
  }

  static bool is_whole(const HubFile& file, const Path& blob) {
    std::error_code error;
    const auto bytes = fs::file_size(blob, error);
    return !error && static_cast<int64_t>(bytes) == file.bytes;
  }

  // Into blob.incomplete, which becomes the blob when its checksum fits, and goes when the file is refused.
  Status fetch(const HubFile& file, const Path& blob) {
    Status fetched = fetch_part(file, blob);
    if (!fetched && fetched.error().code == ErrorCode::kBadInput) ::unlink(incomplete(file).c_str());
    return fetched;
  }

  Status fetch_part(const HubFile& file, const Path& blob) {
    const Path part = incomplete(file);
    const Descriptor fd(::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (fd.get() < 0) return cannot_write(part);
    Sum sum(file);
    TRY(int64_t have, begun(file, fd.get(), sum));
    came(file.name, have);
    bool once_more = true;
    for (;;) {
      TRY_STATUS(lines(file, part, fd.get(), sum, have));
      if (sum.fits()) break;
      // What an earlier run left may be wrong, or a line that changed bytes: all of it comes again, once.
      TRY_STATUS(start_over(file, part, fd.get(), sum, have));
      if (!once_more)
        return bad_input("{}/{}: what comes does not have the checksum that the hub says, and was thrown away",
                         repository_.id(), file.name);
      once_more = false;
    }
    struct stat mine {
    }, named{};
    if (::fstat(fd.get(), &mine) != 0 || ::stat(part.c_str(), &named) != 0 || mine.st_ino != named.st_ino)
      return make_error(ErrorCode::kIo, "{}: was taken away while it was fetched", part.string());
    if (::fsync(fd.get()) != 0 || ::rename(part.c_str(), blob.c_str()) != 0) return cannot_write(blob);
    return {};
  }

  static tl::unexpected<Error> cannot_write(const Path& path) {
    return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path.string(), std::strerror(errno));
  }

  // The bytes that are there, added to the sum; more than the file has end it.
  Result<int64_t> add_all(const HubFile& file, const Path& path, int fd, Sum& sum) const {
    std::string buffer(kBuffer, '\0');
    int64_t have = 0;
    while (have <= file.bytes) {
      if (stopped()) return make_error(ErrorCode::kInterrupted, "interrupted");
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return make_error(ErrorCode::kIo, "{}: {}", path.string(), std::strerror(errno));
      if (got == 0) break;
      sum.add(buffer.data(), static_cast<size_t>(got));
      have += got;
    }
    return have;
  }

  // Bytes of an earlier try, added to the sum.
  Result<int64_t> begun(const HubFile& file, int fd, Sum& sum) const {
    TRY(const int64_t have, add_all(file, incomplete(file), fd, sum));
    if (have <= file.bytes) return have;
    sum.reset();
    if (::ftruncate(fd, 0) != 0) return cannot_write(incomplete(file));
    return 0;
  }

  Status start_over(const HubFile& file, const Path& part, int fd, Sum& sum, int64_t& have) {
    if (::ftruncate(fd, 0) != 0) return cannot_write(part);
    sum.reset();
    came(file.name, -have);
    have = 0;
    return {};
  }

  // One line after the other until all bytes are there.
  Status lines(const HubFile& file, const Path& part, int fd, Sum& sum, int64_t& have) {
    const size_t folder = file.name.rfind('/') + 1;  // 0 where it is in none; its slash stays one
    const std::string url = fmt::format("{}/{}/resolve/{}/{}{}", settings_.endpoint, repository_.id(), commit_,
                                        file.name.substr(0, folder), net::percent_encoded(file.name.substr(folder)));
    const std::string where = fmt::format("{}/{}", repository_.id(), file.name);
    const auto take = [&](int64_t at, std::string_view bytes) -> Status {
      if (at < have) TRY_STATUS(start_over(file, part, fd, sum, have));
      if (static_cast<int64_t>(bytes.size()) > file.bytes - have)
        return bad_input("{}: more comes than the {} bytes that the hub says", where, file.bytes);
      for (size_t done = 0; done < bytes.size();) {
        const ssize_t wrote = ::pwrite(fd, bytes.data() + done, bytes.size() - done, have + static_cast<int64_t>(done));
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return cannot_write(part);
        done += static_cast<size_t>(wrote);
      }
      sum.add(bytes.data(), bytes.size());
      have += static_cast<int64_t>(bytes.size());
      fetched_ += static_cast<int64_t>(bytes.size());
      came(file.name, static_cast<int64_t>(bytes.size()));
      return {};
    };
    const auto progress = [&] { return have; };
    if (have >= file.bytes) return {};
    return persist(url, where, take, progress, [&] { return have >= file.bytes; });
  }

  // Tries again where a line is cut or the server is busy, as long as that leads anywhere.
  Status persist(const std::string& url, const std::string& where, const net::OnPiece& take,
                 const std::function<int64_t()>& have, const std::function<bool()>& done) {
    int in_vain = 0;
    for (int line = 0; line < kLines; ++line) {
      const int64_t before = have();
      TRY(const net::DownloadEnd end,
          net::download({.url = url, .token = settings_.token, .from = before}, take, [&] { return stopped(); }));
      if (done()) return {};
      const bool busy = is_busy(end);
      if (end.problem.empty() && end.status != 200 && end.status != 206 && !busy && end.status != 416)
        return refused(where, end);
      in_vain = have() > before ? 0 : in_vain + 1;
      if (in_vain >= kTries || end.status == 416) {
        if (!end.problem.empty()) return make_error(ErrorCode::kIo, "{}: cannot be fetched ({})", where, end.problem);
        if (busy)
          return make_error(ErrorCode::kIo, "{}: cannot be fetched (the hub answers {} again and again)", where,
                            end.status);
        return bad_input("{}: the hub says that it is longer than what comes, {} bytes", where, have());
      }
      TRY_STATUS(pause(where, end, in_vain));
    }
    return make_error(ErrorCode::kIo, "{}: the line was cut {} times", where, kLines);
  }

  static bool is_busy(const net::DownloadEnd& end) { return end.status == 429 || end.status >= 500; }

  // Before the next try: as long as a busy hub asks for, or twice as long after each one in vain.
  Status pause(const std::string& where, const net::DownloadEnd& end, int in_vain) const {
    if (end.retry_after_s > kLongestRetryAfter)
      return make_error(ErrorCode::kIo, "{}: the hub asks for a pause of {} s: try again then", where,
                        end.retry_after_s);
    if (is_busy(end) && end.retry_after_s >= 0) return wait(std::chrono::seconds(end.retry_after_s));
    return in_vain > 0 ? wait(options_.first_wait * (1 << (in_vain - 1))) : Status();
  }

  tl::unexpected<Error> refused(const std::string& where, const net::DownloadEnd& end) const {
    const std::string page = fmt::format("{}/{}", settings_.endpoint, repository_.id());
    const std::string said = end.reason.empty() ? "" : fmt::format(" (the hub says: {})", end.reason);
    switch (end.status) {
      case 401:
        return bad_input(
            "{}: not there, or not for everybody: expected HF_TOKEN to be a token that may read it, of somebody who "
            "has "
            "accepted the terms on {} where it has any{}",
            where, page, said);
      case 403:
        return bad_input("{}: expected a token (HF_TOKEN) of somebody who has accepted the terms on {}{}", where, page,
                         said);
      case 404:
        return bad_input("{}@{}: there is no such {} on {}", repository_.id(), repository_.revision,
                         where == repository_.id() ? "model or revision" : "file", settings_.endpoint);
      default:
        return bad_input("{}: cannot be fetched (the hub answers {}){}", where, end.status, said);
    }
  }

  Result<std::string> small_file(const std::string& url, uint64_t most) {
    std::string out;
    bool whole = false;
    const auto take = [&](int64_t, std::string_view bytes) -> Status {
      if (out.size() + bytes.size() > most)
        return bad_input("{}: expected an answer of at most {} MB", repository_.id(), most >> 20);
      out += bytes;
      return {};
    };
    int in_vain = 0;
    while (!whole) {
      out.clear();
      TRY(const net::DownloadEnd end, net::download({.url = url, .token = settings_.token}, take, options_.stop));
      whole = end.problem.empty() && end.status == 200;
      if (whole) break;
      const bool busy = end.problem.empty() && is_busy(end);
      if (end.problem.empty() && !busy) return refused(repository_.id(), end);
      if (++in_vain >= (busy ? kTries : kFirstTries))
        return make_error(ErrorCode::kIo, "{}: {} cannot be asked ({})", repository_.id(), settings_.endpoint,
                          end.problem.empty() ? fmt::format("it answers {}", end.status) : end.problem);
      TRY_STATUS(pause(repository_.id(), end, in_vain));
    }
    return out;
  }

  const Settings& settings_;
  const Repository& repository_;
  const PullOptions& options_;
  const Cache cache_;
  std::vector<HubFile> files_;
  std::string commit_;
  std::atomic<bool> failed_{false};
  std::atomic<int64_t> fetched_{0};
  std::mutex progress_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<Pulled> pull(const Settings& settings, const Repository& repository, const PullOptions& options) {
  return Pull(settings, repository, options).run();
}

}  // namespace onsight::hub
