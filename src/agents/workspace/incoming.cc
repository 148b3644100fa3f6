#include "agents/workspace/incoming.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agents/workspace/changes.h"
#include "agents/workspace/paths.h"

namespace onsight::agents::workspace {
namespace {

// What is old and harmless in histories of the world, though an agent could write it too. Everything else that git can
// find is an error: .git in any spelling, links as .gitmodules, addresses that are options, trees out of order.
constexpr const char* kStrict =
    "--strict=zeroPaddedFilemode=ignore,badTimezone=ignore,missingEmail=ignore,missingSpaceBeforeEmail=ignore,"
    "missingNameBeforeEmail=ignore,badDate=ignore,badDateOverflow=ignore,zeroPaddedDate=ignore,missingSpaceBeforeDate="
    "ignore,"
    "missingTaggerEntry=ignore,badTagName=ignore,badFilemode=ignore";

// Folders of receivers that were killed: they hold their file's lock as long as they live.
void remove_left_over(const Path& mirror) {
  for (const Path& folder : children_of(mirror)) {
    if (!folder.filename().string().starts_with("incoming.tmp-")) continue;
    const Handle file(::open((folder / "bundle").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat info {};
    const bool young = ::stat(folder.c_str(), &info) == 0 && ::time(nullptr) - info.st_mtime < 60;
    if (!file && young) continue;
    if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) (void)remove_tree(folder);
  }
}

Status move_into(const Path& from, const Path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) return make_error(ErrorCode::kIo, "{}: {}", printable(to.string()), error.message());
  return {};
}

}  // namespace

Incoming::Incoming(Incoming&& other) noexcept
    : mirror_(other.mirror_),
      limits_(other.limits_),
      folder_(std::move(other.folder_)),
      file_(std::move(other.file_)),
      bundle_(std::move(other.bundle_)),
      git_(std::move(other.git_)) {
  other.folder_.clear();
}

Incoming::~Incoming() {
  if (!folder_.empty()) (void)remove_tree(folder_);
}

Result<Incoming> Incoming::receive(const Mirror& mirror, const Workspace::WriteBundle& write, const Limits& limits) {
  remove_left_over(mirror.folder());
  Incoming incoming(mirror, limits);
  const Path folder = fresh_name(mirror.folder() / "incoming");
  TRY_STATUS(make_folders(folder / "objects/pack"));
  TRY_STATUS(make_folders(folder / "objects/info"));
  incoming.folder_ = folder;
  const Path name = folder / "bundle";
  incoming.file_ = Handle(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!incoming.file_ || ::flock(incoming.file_.get(), LOCK_EX | LOCK_NB) != 0)
    return make_error(ErrorCode::kIo, "{}: cannot be made ({})", printable(name.string()), std::strerror(errno));
  uint64_t bytes = 0;
  std::string first;
  const auto sink = [&](std::string_view part) -> Status {
    bytes += part.size();
    if (bytes > limits.max_bundle_bytes)
      return bad_input("the agent's bundle: larger than the {} bytes that are allowed", limits.max_bundle_bytes);
    if (first.size() < kLongestBundleHead) first += part.substr(0, kLongestBundleHead - first.size());
    while (!part.empty()) {
      const ssize_t written = ::write(incoming.file_.get(), part.data(), part.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0)
        return make_error(ErrorCode::kIo, "{}: cannot be written ({})", printable(name.string()), std::strerror(errno));
      part.remove_prefix(static_cast<size_t>(written));
    }
    return {};
  };
  TRY_STATUS(write(sink));
  TRY(const std::string format, mirror.git().line({"rev-parse", "--show-object-format"}));
  TRY(incoming.bundle_, parse_bundle(first, format));
  TRY_STATUS(write_file_atomically(folder / "objects/info/alternates", mirror.objects().string() + "\n"));
  incoming.git_ = mirror.git();
  incoming.git_.objects = folder / "objects";
  return incoming;
}

Status Incoming::index() {
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0)
    return make_error(ErrorCode::kIo, "the agent's bundle: {}", std::strerror(errno));
  if (static_cast<uint64_t>(info.st_size) == bundle_.pack_begins) return {};  // only names, of what is here
  ::lseek(file_.get(), static_cast<off_t>(bundle_.pack_begins), SEEK_SET);
  Git git = git_;
  git.limit = limits_.verify;
  git.settings.emplace_back("core.bigFileThreshold=16m");  // larger ones are hashed as they stream
  TRY(const Ended ended, git.run({"index-pack", "--stdin", "--fix-thin", kStrict}, {.file = file_.get()}));
  if (ended.code != 0) return bad_input("the agent's bundle is refused: {}", complaint(ended, "index-pack"));
  return {};
}

// Every path once, without holding them: a few small trees can stand for more files than there are disks.
Status Incoming::check_tree(const std::string& commit) {
  uint64_t paths = 0;
  const auto count = [&](std::string_view part) -> Status {
    for (const char c : part) paths += c == '\0' ? 1 : 0;
    if (paths > limits_.max_files)
      return bad_input("the agent's work is refused: more than {} files", limits_.max_files);
    return {};
  };
  TRY(const Ended ended, git_.run({"ls-tree", "-r", "-z", "--name-only", commit}, {}, count));
  if (ended.code != 0) return bad_input("the agent's work is refused: {}", complaint(ended, "ls-tree"));
  return {};
}

Status Incoming::check_changes(const std::string& base, const std::string& commit) {
  TRY(const std::vector<FileChange> changes, changes_between(git_, base, commit));
  TRY_STATUS(check_paths(changes));
  return check_sizes(git_, changes, limits_.max_changed_bytes);
}

Result<Arrived> Incoming::verify(const std::string& base) {
  Arrived arrived{.work = std::string(bundle_.find("refs/heads/work")),
                  .wip = std::string(bundle_.find("refs/heads/wip"))};
  if (arrived.work.empty()) return bad_input("the agent's bundle: it has no refs/heads/work");
  if (!bundle_.needs.empty()) {
    TRY(const std::vector<std::string> there, present(mirror_.git(), bundle_.needs));
    if (there.size() != bundle_.needs.size())
      return bad_input("the agent's bundle: it builds on commits that are not here");
  }
  TRY_STATUS(index());
  std::string tips;
  for (const std::string& tip : {arrived.work, arrived.wip}) {
    if (tip.empty()) continue;
    TRY(const Ended kind, git_.run({"cat-file", "-e", tip + "^{commit}"}));
    TRY(const std::string type, kind.code == 0 ? git_.line({"cat-file", "-t", tip}) : Result<std::string>(""));
    if (type != "commit") return bad_input("the agent's bundle: {} is no commit in it", tip);
    tips += tip + "\n";
  }
  // That nothing they reach is missing; what the mirror's refs reach was checked when it came.
  TRY(const Ended linked, git_.run({"rev-list", "--objects", "--quiet", "--stdin", "--not", "--all"}, {.text = tips}));
  if (linked.code != 0) return bad_input("the agent's bundle is refused: {}", complaint(linked, "rev-list"));
  TRY_STATUS(check_tree(arrived.work));
  TRY_STATUS(check_changes(base, arrived.work));
  if (!arrived.wip.empty()) {
    TRY(const bool above, git_.asks({"merge-base", "--is-ancestor", arrived.work, arrived.wip}));
    if (!above) return bad_input("the agent's bundle: its refs/heads/wip is not above refs/heads/work");
    TRY_STATUS(check_tree(arrived.wip));
    TRY_STATUS(check_changes(base, arrived.wip));
  }
  if (arrived.wip == arrived.work) arrived.wip.clear();
  return arrived;
}

Status Incoming::keep() {
  const Path packs = folder_ / "objects/pack";
  TRY_STATUS(make_folders(mirror_.objects() / "pack"));
  // The index of a pack comes last: with it git sees the pack.
  for (const std::string_view ending : {".pack", ".rev", ".idx"})
    for (const Path& file : children_of(packs))
      if (file.extension() == ending) TRY_STATUS(move_into(file, mirror_.objects() / "pack" / file.filename()));
  return {};
}

}  // namespace onsight::agents::workspace
