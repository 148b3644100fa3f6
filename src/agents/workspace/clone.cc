#include "agents/workspace/clone.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace onsight::agents::workspace {
namespace {

// Commits of the mirror's at which history ends, as far as the clone has them.
Status copy_shallow(const Mirror& mirror, const Git& clone) {
  std::error_code error;
  if (!std::filesystem::exists(mirror.folder() / "shallow", error)) return {};
  TRY(const std::string text, read_file(mirror.folder() / "shallow", 64 << 20));
  std::vector<std::string> commits;
  for (std::string_view rest = text; !rest.empty();) {
    commits.emplace_back(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(commits.back().size() + 1, rest.size()));
  }
  TRY(const std::vector<std::string> here, present(clone, commits));
  std::string kept;
  for (const std::string& commit : here) kept += commit + "\n";
  if (kept.empty()) return {};
  return write_file_atomically(clone.git_dir / "shallow", kept);
}

Status note_what_is_left_out(const Git& clone, std::vector<std::string>& notes) {
  TRY(const std::string entries, clone.text({"ls-files", "--stage", "-z"}));
  std::vector<std::string> submodules, pointers;
  for (std::string_view rest = entries; !rest.empty();) {
    const std::string_view entry = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
    if (entry.starts_with("160000 "))
      submodules.emplace_back(entry.substr(std::min(entry.find('\t') + 1, entry.size())));
  }
  if (!submodules.empty()) notes.push_back(fmt::format("submodules are empty in the clone: {}", some_of(submodules)));
  TRY(const std::string filtered, clone.text({"ls-files", "-z", "--", ":(attr:filter=lfs)"}));
  for (std::string_view rest = filtered; !rest.empty();) {
    pointers.emplace_back(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(pointers.back().size() + 1, rest.size()));
  }
  if (!pointers.empty()) notes.push_back(fmt::format("LFS files are pointers in the clone: {}", some_of(pointers)));
  return {};
}

Status fill(const Mirror& mirror, const CloneWish& wish, const Path& folder, std::vector<std::string>& notes) {
  const Path repository = folder / "repo";
  for (const Path& one : {folder, repository, folder / "home"})
    if (::mkdir(one.c_str(), 0700) != 0)
      return make_error(ErrorCode::kIo, "{}: cannot be made ({})", printable(one.string()), std::strerror(errno));
  const Git nowhere{};
  TRY_STATUS(nowhere.done({"init", "-q", "--template=", "--object-format=" + wish.format, repository.string()}));
  const Git clone{.git_dir = repository / ".git", .work_tree = repository};
  // Into its own files, and only what its commit reaches: no other branch, no other agent's work.
  TRY_STATUS(carry(mirror.git(), clone, repository / ".git/objects", {wish.commit}, {}));
  TRY_STATUS(copy_shallow(mirror, clone));
  std::vector<RefChange> refs = {{"refs/heads/" + wish.branch, wish.commit}};
  if (!wish.upstream.empty()) refs.push_back({"refs/remotes/origin/" + wish.upstream, wish.commit});
  TRY_STATUS(change_refs(clone, refs));
  TRY_STATUS(clone.done({"symbolic-ref", "HEAD", "refs/heads/" + wish.branch}));
  TRY_STATUS(clone.done({"config", "user.name", wish.agent}));
  TRY_STATUS(clone.done({"config", "user.email", wish.agent + "@agents.invalid"}));
  Git checkout = clone;
  checkout.settings.emplace_back("checkout.workers=0");  // as many as there are cores
  TRY_STATUS(checkout.done({"read-tree", "-m", "-u", wish.commit}));
  TRY_STATUS(note_what_is_left_out(clone, notes));
  const bool own = wish.uid == static_cast<int>(::geteuid()) && wish.gid == static_cast<int>(::getegid());
  return own ? Status() : give_tree(folder, wish.uid, wish.gid);
}

}  // namespace

Status write_clone(const Mirror& mirror, const CloneWish& wish, std::vector<std::string>& notes) {
  TRY_STATUS(make_folders(wish.folder.parent_path()));
  const Path made = fresh_name(wish.folder.parent_path() / ("." + wish.agent));
  Status done = fill(mirror, wish, made, notes);
  if (done) {
    const int error = rename_new(AT_FDCWD, made.string(), AT_FDCWD, wish.folder.string());
    if (error == 0) return {};
    done = make_error(ErrorCode::kIo, "{}: {}", printable(wish.folder.string()), std::strerror(error));
  }
  (void)remove_tree(made);
  return done;
}

}  // namespace onsight::agents::workspace
