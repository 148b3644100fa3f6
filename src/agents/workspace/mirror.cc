#include "agents/workspace/mirror.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

namespace onsight::agents::workspace {
namespace {

std::string joined_lines(const std::vector<std::string>& lines, std::string_view before = "") {
  std::string text;
  for (const std::string& line : lines) text += fmt::format("{}{}\n", before, line);
  return text;
}

bool on_one_file_system(const Path& a, const Path& b) {
  struct stat first {
  }, second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev;
}

// A shallow repository's history ends at commits whose parents it lacks: whoever gets them has to know where.
Status share_shallow(const Path& from, const Path& to) {
  std::error_code error;
  if (!std::filesystem::exists(from / "shallow", error)) return {};
  std::set<std::string> commits;
  for (const Path& folder : {from, to}) {
    if (!std::filesystem::exists(folder / "shallow", error)) continue;
    TRY(const std::string text, read_file(folder / "shallow", 64 << 20));
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      if (!line.empty()) commits.emplace(line);
    }
  }
  return write_file_atomically(to / "shallow", joined_lines({commits.begin(), commits.end()}));
}

}  // namespace

Result<Refs> refs_of(const Git& git, const std::vector<std::string>& prefixes) {
  std::vector<std::string> command = {"for-each-ref", "--format=%(objectname) %(refname)"};
  command.insert(command.end(), prefixes.begin(), prefixes.end());
  TRY(const std::string text, git.text(command));
  Refs refs;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const size_t space = line.find(' ');
    if (space != std::string_view::npos) refs.emplace(line.substr(space + 1), line.substr(0, space));
  }
  return refs;
}

Status change_refs(const Git& git, const std::vector<RefChange>& changes) {
  if (changes.empty()) return {};
  std::string input;
  for (const RefChange& change : changes)
    input += change.object.empty() ? fmt::format("delete {}\n", change.name)
                                   : fmt::format("update {} {}\n", change.name, change.object);
  return git.done({"update-ref", "--no-deref", "--stdin"}, input);
}

Result<std::string> ref_of(const Git& git, const std::string& name) {
  TRY(const Refs refs, refs_of(git, {name}));
  const auto found = refs.find(name);
  return found == refs.end() ? std::string() : found->second;
}

Result<std::vector<std::string>> present(const Git& git, const std::vector<std::string>& objects) {
  TRY(const std::string text, git.text({"cat-file", "--batch-check=%(objectname)"}, joined_lines(objects)));
  std::vector<std::string> out;
  size_t i = 0;
  for (std::string_view rest = text; !rest.empty() && i < objects.size(); ++i) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line == objects[i]) out.push_back(objects[i]);
  }
  return out;
}

Status carry(const Git& from, const Git& to, const Path& objects, const std::vector<std::string>& wanted,
             const std::vector<std::string>& known) {
  if (wanted.empty()) return {};
  const std::string revisions = joined_lines(wanted) + joined_lines(known, "^");
  const Path packs = objects / "pack";
  TRY_STATUS(make_folders(packs));
  std::vector<std::string> command = {"pack-objects", "-q", "--revs", "--delta-base-offset", "--non-empty"};
  // On one file system the pack is written where it will lie; git moves it there when it is whole.
  const Path source = from.objects.empty() ? from.git_dir / "objects" : from.objects;
  if (on_one_file_system(source, packs)) {
    command.push_back((packs / "pack").string());
    return from.done(command, revisions);
  }
  const Path file = fresh_name(packs / "carried");
  const Handle pack(::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  ::unlink(file.c_str());
  if (!pack) return make_error(ErrorCode::kIo, "{}: cannot be made", printable(file.string()));
  const auto keep = [&](std::string_view part) -> Status {
    while (!part.empty()) {
      const ssize_t written = ::write(pack.get(), part.data(), part.size());
      if (written < 0)
        return make_error(ErrorCode::kIo, "{}: cannot be written ({})", printable(packs.string()),
                          std::strerror(errno));
      part.remove_prefix(static_cast<size_t>(written));
    }
    return {};
  };
  command.emplace_back("--stdout");
  Git source_git = from;
  source_git.max_output_bytes = uint64_t{1} << 40;  // the user's own history
  TRY(const Ended packed, source_git.run(command, {.text = revisions}, keep));
  if (packed.code != 0) return bad_input("{}", complaint(packed, "pack-objects"));
  if (::lseek(pack.get(), 0, SEEK_END) == 0) return {};
  ::lseek(pack.get(), 0, SEEK_SET);
  TRY(const Ended indexed, to.run({"index-pack", "--stdin"}, {.file = pack.get()}));
  if (indexed.code != 0) return bad_input("{}", complaint(indexed, "index-pack"));
  return {};
}

Result<Mirror> Mirror::open(const Path& folder, const UserRepository& user) {
  std::error_code error;
  Mirror mirror({.git_dir = folder}, user);
  if (!std::filesystem::exists(folder / "HEAD", error)) {
    TRY_STATUS(make_folders(folder.parent_path()));
    const Path made = fresh_name(folder);
    const Git nowhere{.limit = std::chrono::seconds(60)};
    const Status done =
        nowhere.done({"init", "-q", "--bare", "--template=", "--object-format=" + user.format, made.string()});
    if (done && rename_new(AT_FDCWD, made.string(), AT_FDCWD, folder.string()) != 0 &&
        !std::filesystem::exists(folder / "HEAD", error)) {
      (void)remove_tree(made);
      return make_error(ErrorCode::kIo, "{}: cannot be made", printable(folder.string()));
    }
    if (std::filesystem::exists(made, error)) (void)remove_tree(made);  // of two at once, one was first
    TRY_STATUS(done);
  }
  TRY(const std::string format, mirror.git_.line({"rev-parse", "--show-object-format"}));
  if (format != user.format)
    return bad_input("{}: names objects by {}, the repository by {}; it is of another repository that was here",
                     printable(folder.string()), format, user.format);
  return mirror;
}

Result<Handle> Mirror::lock() const {
  return lock_file(folder() / "onsight.lock", 120, "another command on this project's agents");
}

Status Mirror::sync(const std::vector<std::string>& commits) const {
  const Git theirs = user_.git();
  TRY(const Refs user, refs_of(theirs, {"refs/heads/", "refs/tags/"}));
  TRY(const Refs own, refs_of(git_, {"refs/heads/", "refs/tags/"}));
  std::vector<std::string> wanted = commits, former;
  std::vector<RefChange> gone, changed;
  for (const auto& [name, object] : user) {
    const auto found = own.find(name);
    if (found != own.end() && found->second == object) continue;
    wanted.push_back(object);
    changed.push_back({name, object});
  }
  std::set<std::string> had;
  for (const auto& [name, object] : own) {
    had.insert(object);
    if (user.count(name) == 0) gone.push_back({name, ""});
  }
  // Where agents began is of the user's too: a detached commit is not sent twice.
  TRY(const Refs began, refs_of(git_, {"refs/agents-base/"}));
  for (const auto& [name, object] : began) had.insert(object);
  wanted.erase(std::remove_if(wanted.begin(), wanted.end(), [&](const std::string& one) { return had.count(one) > 0; }),
               wanted.end());
  if (!wanted.empty()) {
    TRY(const std::vector<std::string> known, present(theirs, {had.begin(), had.end()}));
    TRY_STATUS(share_shallow(user_.common, folder()));
    TRY_STATUS(carry(theirs, git_, objects(), wanted, known));
  }
  // First those that go: refs/heads/a must, before refs/heads/a/b can be.
  TRY_STATUS(change_refs(git_, gone));
  return change_refs(git_, changed);
}

}  // namespace onsight::agents::workspace
