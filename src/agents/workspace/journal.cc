#include "agents/workspace/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "agents/workspace/folders.h"
#include "agents/workspace/git.h"

namespace onsight::agents::workspace {
namespace {

constexpr std::string_view kVersion = "onsight-merge 1";

tl::unexpected<Error> in_the_way(std::string_view path, int error) {
  if (error == EEXIST || error == ENOTDIR || error == ELOOP || error == EISDIR || error == ENOTEMPTY)
    return bad_input("{}: in the way; it is not of the branch, and stays", printable(path));
  return make_error(ErrorCode::kIo, "{}: {}", printable(path), std::strerror(error));
}

// Folders in which nothing is left, from the inside out.
void remove_empty_parents(int root, std::string_view path) {
  for (size_t slash = path.rfind('/'); slash != std::string_view::npos; slash = path.rfind('/')) {
    path = path.substr(0, slash);
    const Result<Place> place = find_place(root, path, false);
    if (!place || ::unlinkat(place->folder.get(), place->name.c_str(), AT_REMOVEDIR) != 0) return;
  }
}

bool is_there(int folder, const std::string& name, struct stat& info) {
  return ::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace

Status Journal::write(const Path& file) const {
  std::string text;
  for (const std::string& field : {std::string(kVersion), branch, from, to, stage.string()}) text += field + '\0';
  for (const Entry& entry : entries)
    text += fmt::format("{}{} {}", static_cast<char>(entry.kind), entry.inode, entry.path) + '\0';
  return write_file_atomically(file, text);
}

Result<Journal> Journal::read(const Path& file) {
  TRY(const std::string text, read_file(file));
  std::string_view rest = text;
  const auto next = [&] {
    const std::string_view field = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
    return std::string(field);
  };
  if (next() != kVersion)
    return bad_input("{}: expected a journal of a merge, of this version", printable(file.string()));
  Journal journal;
  journal.branch = next();
  journal.from = next();
  journal.to = next();
  journal.stage = next();
  while (!rest.empty()) {
    const std::string field = next();
    Entry entry;
    const size_t space = std::min(field.find(' '), field.size());
    if (field.empty() || space == field.size()) return bad_input("{}: damaged", printable(file.string()));
    entry.kind = static_cast<Entry::Kind>(field[0]);
    std::from_chars(field.data() + 1, field.data() + space, entry.inode);
    entry.path = field.substr(space + 1);
    journal.entries.push_back(std::move(entry));
  }
  return journal;
}

Mover::Mover(const Journal& journal, int root, int stage) : journal_(journal), root_(root), stage_(stage) {}

Result<Mover> Mover::open(const Path& root, const Journal& journal) {
  TRY(Handle tree, open_folder(root));
  TRY(Handle stage, open_folder(journal.stage));
  Mover mover(journal, tree.get(), stage.get());
  mover.handles_ = std::make_shared<std::pair<Handle, Handle>>(std::move(tree), std::move(stage));
  return mover;
}

Status Mover::take_away(size_t n) const {
  const Entry& entry = journal_.entries[n];
  const Result<Place> from = find_place(root_, entry.path, false);
  if (!from) return in_the_way(entry.path, errno);
  if (const int error = rename_new(from->folder.get(), from->name, stage_, fmt::format("old/{}", n)); error != 0)
    return in_the_way(entry.path, error);
  if (entry.kind == Entry::Kind::kDelete) remove_empty_parents(root_, entry.path);
  return {};
}

Status Mover::place(size_t n) const {
  const Entry& entry = journal_.entries[n];
  const Result<Place> to = find_place(root_, entry.path, true);
  if (!to) return in_the_way(entry.path, errno);
  const Result<Place> from = find_place(stage_, "new/" + entry.path, false);
  if (!from) return tl::unexpected<Error>(from.error());
  // An empty folder is nothing that git keeps; whatever is in one stays, since then it cannot be removed.
  if (entry.kind == Entry::Kind::kAdd) ::unlinkat(to->folder.get(), to->name.c_str(), AT_REMOVEDIR);
  if (const int error = rename_new(from->folder.get(), from->name, to->folder.get(), to->name); error != 0)
    return in_the_way(entry.path, error);
  return {};
}

Status Mover::undo_one(size_t n) const {
  const Entry& entry = journal_.entries[n];
  struct stat info {};
  const std::string old = fmt::format("old/{}", n), undone = fmt::format("undone/{}", n);
  if (entry.kind == Entry::Kind::kFolder) {
    const Result<Place> place = find_place(root_, entry.path, false);
    if (place) ::unlinkat(place->folder.get(), place->name.c_str(), AT_REMOVEDIR);
    return {};
  }
  if (entry.comes() && !is_there(stage_, undone, info)) {
    const Result<Place> staged = find_place(stage_, "new/" + entry.path, false);
    const bool placed = !staged || !is_there(staged->folder.get(), staged->name, info);
    const Result<Place> place = find_place(root_, entry.path, false);
    const bool here = placed && place && is_there(place->folder.get(), place->name, info);
    if (here && info.st_ino == entry.inode &&
        ::renameat(place->folder.get(), place->name.c_str(), stage_, undone.c_str()) != 0)
      return in_the_way(entry.path, errno);
  }
  if (!entry.goes() || !is_there(stage_, old, info)) return {};
  const Result<Place> place = find_place(root_, entry.path, true);
  if (!place) return in_the_way(entry.path, errno);
  if (const int error = rename_new(stage_, old, place->folder.get(), place->name); error != 0)
    return in_the_way(entry.path, error);
  return {};
}

Status Mover::undo() const {
  if (::mkdirat(stage_, "undone", 0700) != 0 && errno != EEXIST)
    return make_error(ErrorCode::kIo, "{}: {}", printable(journal_.stage.string()), std::strerror(errno));
  Status first;
  // What came goes before what went comes back: a file may stand where a folder was.
  for (const bool coming : {true, false}) {
    for (size_t i = journal_.entries.size(); i-- > 0;) {
      const Entry& entry = journal_.entries[i];
      if ((entry.kind == Entry::Kind::kAdd || entry.kind == Entry::Kind::kFolder) != coming) continue;
      const Status done = undo_one(i);
      if (!done && first) first = done;
    }
  }
  return first;
}

}  // namespace onsight::agents::workspace
