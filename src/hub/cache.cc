#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <set>

namespace onsight::hub {
namespace {

namespace fs = std::filesystem;

// All files, sorted; none where there is no such folder. One that cannot be read is an error, and not empty.
Result<std::vector<Path>> files_below(const Path& folder) {
  std::vector<Path> out;
  std::error_code error, ignored;
  if (!fs::exists(folder, ignored)) return out;
  fs::recursive_directory_iterator it(folder, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error))
    if (!it->is_directory(ignored)) out.push_back(it->path());
  if (error) return make_error(ErrorCode::kIo, "{}: cannot be read ({})", folder.string(), error.message());
  std::sort(out.begin(), out.end());
  return out;
}

int64_t size_of(const Path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);  // of what a link leads to
  return error ? 0 : static_cast<int64_t>(size);
}

std::string commit_in(const Path& ref) {
  const auto text = read_file(ref, 256);
  if (!text) return {};
  const std::string commit = text->substr(0, text->find_last_not_of(" \r\n") + 1);
  return is_commit(commit) ? commit : "";
}

tl::unexpected<Error> failed(const Path& path, const std::error_code& error) {
  return make_error(ErrorCode::kIo, "{}: cannot be written ({})", path.string(), error.message());
}

}  // namespace

std::optional<std::string> Cache::commit_of(const Repository& repository) const {
  if (is_commit(repository.revision)) return repository.revision;
  std::string commit = commit_in(folder(repository) / "refs" / repository.revision);
  return commit.empty() ? std::nullopt : std::optional(std::move(commit));
}

std::optional<Path> Cache::find(const Repository& repository) const {
  const auto commit = commit_of(repository);
  if (!commit) return std::nullopt;
  Path folder = snapshot(repository, *commit);
  std::error_code ignored;
  const auto has = [&](const char* name) { return fs::exists(folder / name, ignored); };
  if (!has("config.json") || (!has("model.safetensors") && !has("model.safetensors.index.json"))) return std::nullopt;
  return folder;
}

std::vector<CachedModel> Cache::models() const {
  constexpr std::string_view kStart = "models--";
  std::vector<CachedModel> out;
  for (const Path& folder : children_of(root_)) {
    const std::string name = folder.filename().string();
    const size_t middle = name.find("--", kStart.size());
    if (!name.starts_with(kStart) || middle == std::string::npos) continue;
    const auto repository =
        Repository::parse(name.substr(kStart.size(), middle - kStart.size()) + "/" + name.substr(middle + 2));
    if (!repository) continue;
    std::set<std::string> named;
    auto add = [&](Repository found, const std::string& commit) {
      Path snapshot = this->snapshot(found, commit);
      std::error_code ignored;
      if (!fs::is_directory(snapshot, ignored)) return;
      int64_t bytes = 0;
      for (const Path& file : files_below(snapshot).value_or(std::vector<Path>{})) bytes += size_of(file);
      named.insert(commit);
      out.push_back({std::move(found), commit, std::move(snapshot), bytes});
    };
    for (const Path& ref : files_below(folder / "refs").value_or(std::vector<Path>{})) {
      Repository found = *repository;
      found.revision = ref.lexically_relative(folder / "refs").string();
      if (const std::string commit = commit_in(ref); !commit.empty()) add(found, commit);
    }
    for (const Path& snapshot : children_of(folder / "snapshots")) {
      Repository found = *repository;
      found.revision = snapshot.filename().string();
      if (is_commit(found.revision) && !named.count(found.revision)) add(found, found.revision);
    }
  }
  return out;
}

Status Cache::refer(const Repository& repository, const std::string& commit) const {
  if (is_commit(repository.revision)) return {};
  const Path ref = folder(repository) / "refs" / repository.revision;
  std::error_code error;
  fs::create_directories(ref.parent_path(), error);
  if (error) return failed(ref, error);
  return write_file_atomically(ref, commit);
}

Status Cache::link(const Repository& repository, const std::string& commit, const std::string& file,
                   const std::string& blob) const {
  const Path link = snapshot(repository, commit) / file, folder = link.parent_path();
  const Path target = (blobs(repository) / blob).lexically_relative(folder);
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return {};
  fs::create_directories(folder, error);
  if (error) return failed(link, error);
  static std::atomic<unsigned> counter{0};
  Path temporary = link;
  temporary += fmt::format(".tmp-{}-{}", ::getpid(), counter++);
  fs::create_symlink(target, temporary, error);
  if (!error) fs::rename(temporary, link, error);
  if (!error) return {};
  std::error_code ignored;
  fs::remove(temporary, ignored);
  return failed(link, error);
}

Result<int64_t> Cache::remove(const Repository& repository) const {
  const auto commit = commit_of(repository);
  const Path folder = this->folder(repository), snapshots = folder / "snapshots";
  std::error_code error;
  const bool is_there = commit && fs::is_directory(snapshot(repository, *commit), error);
  const bool is_rest = !is_there && fs::is_directory(blobs(repository), error) && children_of(snapshots).empty();
  if (!is_there && !is_rest)
    return bad_input("{}@{}: not in {} (onsight list shows what is)", repository.id(), repository.revision,
                     root_.string());
  TRY(const std::vector<Path> links, files_below(snapshots));
  std::set<Path> needed;
  bool is_last = true;
  for (const Path& file : links) {
    if (is_there && file.lexically_relative(snapshots).begin()->string() == *commit) continue;
    std::error_code ignored;
    needed.insert(fs::read_symlink(file, ignored).filename());
    is_last = false;
  }
  // One that is being written belongs to a pull: nothing is taken from it.
  std::vector<Path> doomed;
  for (const Path& blob : children_of(blobs(repository))) {
    const bool is_incomplete = blob.extension() == ".incomplete";
    if (needed.count(blob.filename()) || (is_incomplete && !is_last)) continue;
    const Path file = lock(repository, is_incomplete ? blob.stem().string() : blob.filename().string());
    const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    const bool is_held = fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (fd >= 0) ::close(fd);
    if (is_held)
      return make_error(ErrorCode::kBusy, "{}: is being pulled by another process, expected nobody", repository.id());
    doomed.push_back(blob);
  }
  if (is_there) {
    TRY(const std::vector<Path> refs, files_below(folder / "refs"));
    for (const Path& ref : refs)
      if (commit_in(ref) == *commit) fs::remove(ref, error);
    fs::remove_all(snapshot(repository, *commit), error);
    if (error) return failed(snapshot(repository, *commit), error);
  }
  int64_t freed = 0;
  for (const Path& blob : doomed) {
    const int64_t bytes = size_of(blob);
    if (fs::remove(blob, error)) freed += bytes;
  }
  if (is_last) fs::remove_all(folder, error);
  if (error) return failed(folder, error);
  return freed;
}

}  // namespace onsight::hub
