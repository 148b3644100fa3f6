// Journal: a file of JSON, an object a line, that grows as work is done and is taken up again after a crash.
//
//   TRY(Journal journal, Journal::open("captions.jsonl", [&](const Json& row) { done.insert(key_of(row)); return
//   Status(); })); TRY_STATUS(journal.append(R"({"file": "a.jpg", "caption": "A cat."})"));
#pragma once

#include <functional>
#include <string_view>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"

namespace onsight::cli {

class Journal {
 public:
  // Made if it is not there. `on_row` sees every row that is; a last line that was cut short is dropped. Refuses a file
  // that holds anything else, and one that another process appends to.
  static Result<Journal> open(const Path& path, const std::function<Status(const Json&)>& on_row);
  Journal(Journal&& other) noexcept : fd_(other.fd_), size_(other.size_), path_(std::move(other.path_)) {
    other.fd_ = -1;
  }
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  // A line, whole or not at all, also where the disk is full.
  Status append(std::string_view row);

 private:
  Journal(int fd, Path path) : fd_(fd), path_(std::move(path)) {}
  Status read_rows(const std::function<Status(const Json&)>& on_row);
  int fd_;
  int64_t size_ = 0;  // of whole lines
  Path path_;
};

}  // namespace onsight::cli
