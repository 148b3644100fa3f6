// Journal: which files apply() moves, so that whoever comes after a crash can end or undo it.
//
//   .git/onsight-merge/journal     what is planned; written before the first file is moved
//                     /index.lock  the same file as .git/index.lock, while it is ours
//   STAGE/new/PATH                 files that are to come: one that is no longer there was placed
//   STAGE/old/N                    files that were taken away; N counts the journal's entries
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace onsight::agents::workspace {

struct Entry {
  enum class Kind : char {
    kAdd = 'A',
    kChange = 'M',
    kDelete = 'D',
    kFolder = 'F'
  };  // kFolder: made for an added file
  Kind kind = Kind::kAdd;
  std::string path;
  uint64_t inode = 0;  // of the file that is to come

  bool comes() const { return kind == Kind::kAdd || kind == Kind::kChange; }
  bool goes() const { return kind == Kind::kDelete || kind == Kind::kChange; }
};

struct Journal {
  std::string branch, from, to;
  Path stage;
  std::vector<Entry> entries;

  Status write(const Path& file) const;
  static Result<Journal> read(const Path& file);
};

// Moves files away and to their places. An error leaves things as they are: undo() is next.
class Mover {
 public:
  static Result<Mover> open(const Path& root, const Journal& journal);
  Status take_away(size_t n) const;  // what goes
  Status place(size_t n) const;      // what comes
  // Everything back, in whatever state it is. What the user changed since is left, and an error says so.
  Status undo() const;

 private:
  Mover(const Journal& journal, int root, int stage);
  Status undo_one(size_t n) const;
  const Journal& journal_;
  std::shared_ptr<const void> handles_;
  int root_, stage_;
};

}  // namespace onsight::agents::workspace
