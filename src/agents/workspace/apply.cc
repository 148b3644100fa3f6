#include "agents/workspace/apply.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "agents/workspace/changes.h"
#include "agents/workspace/folders.h"
#include "agents/workspace/journal.h"
#include "agents/workspace/mirror.h"

namespace onsight::agents::workspace {
namespace {

using Kind = Entry::Kind;

Path merge_folder(const UserRepository& repository) { return repository.git_dir / "onsight-merge"; }
Path index_lock(const UserRepository& repository) { return repository.git_dir / "index.lock"; }

Result<Handle> lock_merging(const UserRepository& repository) {
  return lock_file(repository.git_dir / "onsight-merge.lock", 30, "another merge of an agent's work");
}

bool same_file(const Path& a, const Path& b) {
  struct stat first {
  }, second{};
  return ::lstat(a.c_str(), &first) == 0 && ::lstat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

tl::unexpected<Error> apply_error(const Path& path) {
  return make_error(ErrorCode::kIo, "{}: {}", printable(path.string()), std::strerror(errno));
}

// Contents and time: git takes a file for unchanged by how its time compares with the index's.
Status copy_with_time(const Path& from, const Path& to, bool flush) {
  TRY(const std::string bytes, read_file(from, uint64_t{1} << 32));
  struct stat info {};
  const Handle out(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (!out || ::stat(from.c_str(), &info) != 0) return apply_error(to);
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t written = ::write(out.get(), rest.data(), rest.size());
    if (written < 0 && errno != EINTR) return apply_error(to);
    if (written > 0) rest.remove_prefix(static_cast<size_t>(written));
  }
  const timespec times[2] = {info.st_atim, info.st_mtim};
  if (::futimens(out.get(), times) != 0 || (flush && ::fsync(out.get()) != 0)) return apply_error(to);
  return {};
}

// A git whose folder is ours: the user's objects, index and working tree, and of the user's settings only those that
// say how bytes lie on this disk.
Result<Git> make_scratch(const Step& step, const Path& folder) {
  const UserRepository& user = step.repository;
  std::string config = "[core]\n\tbare = false\n";
  if (user.format == "sha1") config += "\trepositoryformatversion = 0\n";
  if (user.format != "sha1")
    config += fmt::format("\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = {}\n", user.format);
  TRY_STATUS(make_folders(folder / "refs"));
  TRY_STATUS(make_folders(folder / "info"));
  TRY_STATUS(write_file_atomically(folder / "config", config));
  TRY_STATUS(write_file_atomically(folder / "HEAD", step.from + "\n"));
  std::error_code error;
  for (const auto& [from, name] : {std::pair{user.common / "info/attributes", "attributes"},
                                   std::pair{user.git_dir / "info/sparse-checkout", "sparse-checkout"}}) {
    if (!std::filesystem::exists(from, error)) continue;
    TRY(const std::string text, read_file(from, 64 << 20));
    TRY_STATUS(write_file_atomically(folder / "info" / name, text));
  }
  Git git{.git_dir = folder, .work_tree = user.root, .objects = user.objects()};
  for (const char* key :
       {"core.filemode", "core.symlinks", "core.ignorecase", "core.precomposeunicode", "core.autocrlf", "core.eol",
        "core.checkstat", "core.trustctime", "core.sparsecheckout", "core.sparsecheckoutcone"})
    if (const std::string_view value = step.settings.get(key); !value.empty())
      git.settings.push_back(fmt::format("{}={}", key, value));
  git.settings.emplace_back("core.untrackedCache=false");
  git.settings.emplace_back("index.threads=1");
  return git;
}

// Every path in an index whose flags keep git from looking at its file.
Result<std::set<std::string>> unwatched(const Git& git, const Path& index, bool skipped_only) {
  Git with = git;
  with.index = index;
  TRY(const std::string text, with.text({"ls-files", "-v", "-z"}));
  std::set<std::string> paths;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const bool skipped = line.front() == 'S' || line.front() == 's';
    const bool assumed = line.front() >= 'a' && line.front() <= 'z';
    if (line.size() > 2 && (skipped || (assumed && !skipped_only))) paths.emplace(line.substr(2));
  }
  return paths;
}

struct Seen {
  int64_t size = 0, seconds = 0, nanoseconds = 0;
  uint64_t inode = 0;
  bool operator==(const Seen&) const = default;
};
Seen seen(const struct stat& info) { return {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ino}; }

class Application {
 public:
  explicit Application(const Step& step)
      : step_(step), user_(step.repository), folder_(merge_folder(user_)), lock_(index_lock(user_)) {}

  Result<Applied> run() {
    TRY(const Handle merging, lock_merging(user_));
    TRY_STATUS(recover_locked());
    Result<Applied> applied = prepare_and_move();
    if (applied) return applied;
    // What failed is told; what undoing it says is told in its place, for then something is to be done by hand.
    TRY_STATUS(recover_locked());
    return applied;
  }

  Status recover_locked() {
    std::error_code error;
    if (!std::filesystem::exists(std::filesystem::symlink_status(folder_, error))) return {};
    Path stage = folder_ / "stage";
    if (std::filesystem::exists(folder_ / "journal", error)) {
      TRY(const Journal journal, Journal::read(folder_ / "journal"));
      stage = journal.stage;
      TRY(const std::string now, ref_of(user_.git(), "refs/heads/" + journal.branch));
      if (now != journal.to) TRY_STATUS(undo(journal));
      if (now == journal.to && same_file(lock_, folder_ / "index.lock") &&
          ::rename(lock_.c_str(), index().c_str()) != 0)
        return apply_error(lock_);
    }
    if (same_file(lock_, folder_ / "index.lock")) ::unlink(lock_.c_str());
    TRY_STATUS(remove_tree(stage));
    return remove_tree(folder_);
  }

 private:
  Path index() const { return user_.git_dir / "index"; }
  Status at(std::string_view name) const { return step_.at ? step_.at(name) : Status(); }

  Status undo(const Journal& journal) const {
    TRY(const Mover mover, Mover::open(user_.root, journal));
    Status undone = mover.undo();
    if (undone) return undone;
    return bad_input(
        "{}: a merge that was broken off cannot be undone ({}); the former files are in {}, remove that folder when "
        "they are back",
        printable(user_.root.string()), undone.error().message, printable(journal.stage.string()));
  }

  Result<Applied> prepare_and_move() {
    if (::mkdir(folder_.c_str(), 0700) != 0) return apply_error(folder_);
    TRY_STATUS(take_index_lock());
    TRY(git_, make_scratch(step_, folder_ / "git"));
    TRY(changes_, changes_between(git_, step_.from, step_.to));
    TRY_STATUS(look_at_files());
    TRY_STATUS(check_clean());
    TRY_STATUS(make_index());
    TRY_STATUS(stage_files());
    TRY(Applied applied, filtered());
    TRY_STATUS(journal_.write(folder_ / "journal"));
    TRY_STATUS(move_files());
    TRY_STATUS(at("refresh"));
    Git with = git_;
    with.index = folder_ / "index-new";
    TRY(const Ended refreshed, with.run({"update-index", "-q", "--refresh"}));
    if (refreshed.code > 1) return bad_input("{}", complaint(refreshed, "update-index"));
    TRY_STATUS(copy_with_time(folder_ / "index-new", folder_ / "index.lock", true));
    TRY_STATUS(at("ref"));
    TRY_STATUS(user_.git().done(
        {"update-ref", "-m", step_.why, "--no-deref", "refs/heads/" + step_.branch, step_.to, step_.from}));
    TRY_STATUS(at("index"));
    if (::rename(lock_.c_str(), index().c_str()) != 0) return apply_error(index());
    TRY_STATUS(at("end"));
    (void)remove_tree(journal_.stage);
    (void)remove_tree(folder_);
    return applied;
  }

  // git's own lock, by a second name of a file of ours: whose it is can be seen after a crash.
  Status take_index_lock() const {
    const Path own = folder_ / "index.lock";
    const Handle made(::open(own.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!made) return apply_error(own);
    if (::link(own.c_str(), lock_.c_str()) == 0) return {};
    if (errno == EEXIST)
      return make_error(ErrorCode::kBusy, "{}: another git is at work here, or was killed", printable(lock_.string()));
    return apply_error(lock_);
  }

  // Before it is asked whether they are as committed: what changes afterwards is seen when they are moved.
  Status look_at_files() {
    TRY(const Handle root, open_folder(user_.root));
    for (const FileChange& change : changes_) {
      if (change.from_mode == 0 || change.from_mode == FileChange::kSubmodule) continue;
      const Result<Place> place = find_place(root.get(), change.path, false);
      struct stat info {};
      if (place && ::fstatat(place->folder.get(), place->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
        seen_[change.path] = seen(info);
    }
    return {};
  }

  Status check_clean() {
    std::error_code error;
    if (!std::filesystem::exists(index(), error))
      return bad_input("{}: nothing is checked out; git reset --hard does it", printable(user_.root.string()));
    TRY_STATUS(copy_with_time(index(), folder_ / "index-old", false));
    Git with = git_;
    with.index = folder_ / "index-old";
    TRY(const std::string text, with.text({"status", "--porcelain=v1", "-z", "--untracked-files=no",
                                           "--ignore-submodules=all", "--no-renames"}));
    std::vector<std::string> dirty;
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\0'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      if (line.size() > 3) dirty.emplace_back(line.substr(3));
    }
    if (!dirty.empty())
      return bad_input("{}: changes that are not committed ({}); commit them, or git stash keeps them",
                       printable(user_.root.string()), some_of(dirty));
    return {};
  }

  Status make_index() {
    const Path made = folder_ / "index-new";
    TRY_STATUS(copy_with_time(index(), made, false));
    Git with = git_;
    with.index = made;
    TRY_STATUS(with.done({"read-tree", "-i", "-m", step_.from, step_.to}));
    const bool sparse = step_.settings.get("core.sparsecheckout") == "true";
    TRY(const std::set<std::string> hidden, unwatched(git_, folder_ / "index-old", false));
    if (sparse) {
      TRY(skipped_, unwatched(git_, made, true));
    }
    for (const FileChange& change : changes_) {
      const bool left_out = sparse && seen_.count(change.path) == 0;
      if (hidden.count(change.path) > 0 && !left_out)
        return bad_input("{}: marked so that git does not look at it (git update-index), but the merge changes it",
                         printable(change.path));
    }
    return {};
  }

  Status stage_files() {
    struct stat root {
    }, own{};
    if (::stat(user_.root.c_str(), &root) != 0 || ::stat(folder_.c_str(), &own) != 0) return apply_error(user_.root);
    // Files move to their places within one file system; a .git that lies on another has no room for them.
    journal_ = {.branch = step_.branch, .from = step_.from, .to = step_.to, .stage = folder_ / "stage", .entries = {}};
    if (root.st_dev != own.st_dev) journal_.stage = fresh_name(user_.root / ".onsight-merge");
    if (::mkdir(journal_.stage.c_str(), 0700) != 0) return apply_error(journal_.stage);
    for (const char* name : {"new", "old"})
      if (::mkdir((journal_.stage / name).c_str(), 0777) != 0) return apply_error(journal_.stage);
    std::string paths;
    for (const FileChange& change : changes_)
      if (written(change)) paths += change.path + '\0';
    Git with = git_;
    with.index = folder_ / "index-new";
    with.work_tree = journal_.stage / "new";
    TRY_STATUS(at("stage"));
    TRY_STATUS(with.done({"checkout-index", "-q", "-z", "--stdin"}, paths));
    return plan();
  }

  bool skipped(const FileChange& change) const { return skipped_.count(change.path) > 0; }
  bool written(const FileChange& change) const {
    return change.to_mode != 0 && change.to_mode != FileChange::kSubmodule && !skipped(change);
  }
  bool removed(const FileChange& change) const {
    return change.from_mode != 0 && change.from_mode != FileChange::kSubmodule && seen_.count(change.path) > 0;
  }

  Status plan() {
    TRY(const Handle stage, open_folder(journal_.stage));
    TRY(const Handle root, open_folder(user_.root));
    std::set<std::string> folders;
    std::vector<Entry> files;
    for (const FileChange& change : changes_) {
      const bool comes = written(change), goes = removed(change);
      if (!comes && !goes) continue;
      Entry entry{.kind = comes && goes ? Kind::kChange : comes ? Kind::kAdd : Kind::kDelete, .path = change.path};
      if (comes) {
        struct stat info {};
        TRY(const Place place, find_place(stage.get(), "new/" + change.path, false));
        if (::fstatat(place.folder.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
          return apply_error(change.path);
        entry.inode = info.st_ino;
        for (size_t slash = change.path.find('/'); slash != std::string::npos;
             slash = change.path.find('/', slash + 1)) {
          const std::string parent = change.path.substr(0, slash);
          if (folders.count(parent) > 0) continue;
          const Result<Place> where = find_place(root.get(), parent, false);
          const bool there =
              where && ::fstatat(where->folder.get(), where->name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
          if (!there || !S_ISDIR(info.st_mode)) folders.insert(parent);
        }
      }
      files.push_back(std::move(entry));
    }
    for (const std::string& folder : folders) journal_.entries.push_back({.kind = Kind::kFolder, .path = folder});
    journal_.entries.insert(journal_.entries.end(), files.begin(), files.end());
    return {};
  }

  Status move_files() {
    TRY(const Mover mover, Mover::open(user_.root, journal_));
    TRY(const Handle stage, open_folder(journal_.stage));
    for (size_t i = 0; i < journal_.entries.size(); ++i) {
      const Entry& entry = journal_.entries[i];
      if (!entry.goes()) continue;
      TRY_STATUS(at("take"));
      TRY_STATUS(mover.take_away(i));
      struct stat info {};
      if (::fstatat(stage.get(), fmt::format("old/{}", i).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
          !(seen(info) == seen_.at(entry.path)))
        return bad_input("{}: changed while the merge was under way", printable(entry.path));
    }
    TRY_STATUS(move_submodules(false));
    for (size_t i = 0; i < journal_.entries.size(); ++i) {
      if (!journal_.entries[i].comes()) continue;
      TRY_STATUS(at("place"));
      TRY_STATUS(mover.place(i));
    }
    return move_submodules(true);
  }

  // As git does without recursion: an empty folder for one that came, none for one that went if it is empty.
  Status move_submodules(bool coming) const {
    TRY(const Handle root, open_folder(user_.root));
    for (const FileChange& change : changes_) {
      if (skipped(change)) continue;
      if (!coming && change.from_mode == FileChange::kSubmodule && change.to_mode != FileChange::kSubmodule) {
        const Result<Place> place = find_place(root.get(), change.path, false);
        if (place) ::unlinkat(place->folder.get(), place->name.c_str(), AT_REMOVEDIR);
      }
      if (coming && change.to_mode == FileChange::kSubmodule) {
        const Result<Place> place = find_place(root.get(), change.path, true);
        if (!place || (::mkdirat(place->folder.get(), place->name.c_str(), 0777) != 0 && errno != EEXIST))
          return bad_input("{}: in the way; it is not of the branch, and stays", printable(change.path));
      }
    }
    return {};
  }

  Result<Applied> filtered() {
    Applied applied;
    std::string paths;
    for (const FileChange& change : changes_)
      if (written(change)) paths += change.path + '\0';
    if (paths.empty()) return applied;
    Git with = git_;
    with.index = folder_ / "index-new";
    with.work_tree = journal_.stage / "new";
    TRY(const std::string text, with.text({"check-attr", "--cached", "--stdin", "-z", "filter"}, paths));
    std::vector<std::string> fields;
    for (std::string_view rest = text; !rest.empty();) {
      fields.emplace_back(rest.substr(0, rest.find('\0')));
      rest.remove_prefix(std::min(fields.back().size() + 1, rest.size()));
    }
    for (size_t i = 0; i + 2 < fields.size(); i += 3) {
      const std::string& filter = fields[i + 2];
      const auto is_driver = [&](const Setting& one) { return one.key.starts_with("filter." + filter + "."); };
      if (filter != "unspecified" && filter != "unset" &&
          std::any_of(step_.settings.all().begin(), step_.settings.all().end(), is_driver))
        applied.filtered.emplace_back(fields[i], filter);
    }
    return applied;
  }

  const Step& step_;
  const UserRepository& user_;
  Path folder_, lock_;
  Git git_;
  std::vector<FileChange> changes_;
  std::map<std::string, Seen> seen_;
  std::set<std::string> skipped_;
  Journal journal_;
};

}  // namespace

Result<Applied> apply(const Step& step) { return Application(step).run(); }

Status recover(const UserRepository& repository) {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(merge_folder(repository), error))) return {};
  TRY(const Handle merging, lock_merging(repository));
  const Step nothing{.repository = repository};
  return Application(nothing).recover_locked();
}

Status check_nothing_under_way(const UserRepository& repository) {
  constexpr std::pair<const char*, const char*> kSigns[] = {
      {"MERGE_HEAD", "a merge"},          {"CHERRY_PICK_HEAD", "a cherry-pick"}, {"REVERT_HEAD", "a revert"},
      {"rebase-merge", "a rebase"},       {"rebase-apply", "a rebase"},          {"sequencer", "a sequence of commits"},
      {"BISECT_LOG", "a search (bisect)"}};
  std::error_code error;
  for (const auto& [name, what] : kSigns)
    if (std::filesystem::exists(repository.git_dir / name, error))
      return bad_input("{}: {} is under way; end it first", printable(repository.root.string()), what);
  return {};
}

}  // namespace onsight::agents::workspace
