// AtomicFolder: a folder that appears with all of its files, or not at all.
//
//   TRY(AtomicFolder folder, AtomicFolder::create("out"));
//   TRY_STATUS(write_file_atomically(folder.path() / "a.txt", bytes));
//   TRY_STATUS(folder.commit());   // until now nothing is under that name
#pragma once

#include "base/file.h"

namespace onsight {

class AtomicFolder {
 public:
  // `target` is not there, or a folder that commit() replaces. Files go to path(), which lies beside it.
  static Result<AtomicFolder> create(const Path& target);
  // For a folder that is there and cannot be exchanged, as it is mounted, is the working folder, or lies where nothing
  // may be written: path() is in it, and commit() takes one step a file. create() comes here by itself.
  static Result<AtomicFolder> create_inside(const Path& target);
  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&& other) noexcept;
  ~AtomicFolder();  // removes path() unless committed
  const Path& path() const { return temporary_; }
  // Of a replaced folder nothing is left.
  Status commit();
  // A message about a file below path() speaks of the place where it would have been.
  Error placed(Error error) const;

 private:
  AtomicFolder() = default;
  static Result<AtomicFolder> make(const Path& target, bool inside);
  Status move_up();
  void discard();
  Path target_, temporary_;
  bool inside_ = false;
};

}  // namespace onsight
