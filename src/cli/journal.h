// Journal: a file of JSON, an object a line, that grows as work is done and is taken up again after a crash.
//
//   const auto on_row = [&](const Json& row) { return done.insert(key_of(row)).second; };
//   TRY(Journal journal, Journal::open("captions.jsonl", R"({"file":)", on_row));
//   TRY_STATUS(journal.append(R"({"file":"a.jpg","caption":"A cat."})"));
#pragma once

#include <functional>
#include <string_view>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"

namespace onsight::cli {

class Journal {
 public:
  using OnRow = std::function<bool(const Json&)>;
  // Made if it is not there, and gone again if nothing was appended. `on_row` sees every row that is, and says whether
  // it is one of ours, which begin with `start`. A last row that lacks its newline gets it; one that was cut short is
  // dropped. Refuses a file that holds anything else, and one that another process appends to, and leaves both as they
  // are.
  static Result<Journal> open(const Path& path, std::string_view start, const OnRow& on_row);
  Journal(Journal&& other) noexcept
      : fd_(other.fd_), made_(other.made_), size_(other.size_), path_(std::move(other.path_)) {
    other.fd_ = -1;
  }
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  // A line, whole or not at all, also where the disk is full.
  Status append(std::string_view row);

 private:
  Journal(int fd, bool made, Path path) : fd_(fd), made_(made), path_(std::move(path)) {}
  Status read_rows(std::string_view start, const OnRow& on_row);
  Status write(std::string_view bytes);
  tl::unexpected<Error> cannot_write(int error) const;
  int fd_;
  bool made_;         // by us
  int64_t size_ = 0;  // of whole lines
  Path path_;
};

}  // namespace onsight::cli
