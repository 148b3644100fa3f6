// FileStore: files that clients upload, kept on disk for a while. Uploads come in pieces and may be resumed; a file
// appears when it is whole.
//
//   TRY(std::unique_ptr<FileStore> store, FileStore::open({.directory = "files"}));
//   auto id = store->begin({.mime_type = "image/png"});
//   auto progress = store->append(*id, 0, bytes, /*last=*/true);   // progress->file->name: "k3f0…"
//   store->read(progress->file->name, 20 << 20);
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "server/failure.h"

namespace onsight::server {

// All functions may be called from any thread.
class FileStore {
 public:
  using Time = std::chrono::system_clock::time_point;

  struct Options {
    Path directory;  // made if it is not there, kept at the end; empty: a private one, removed at the end
    int64_t max_bytes = int64_t{2} << 30;  // of all files and uploads together
    size_t max_files = 10'000, max_uploads = 200;
    std::chrono::seconds life = std::chrono::hours(48);        // of a file
    std::chrono::seconds upload_life = std::chrono::hours(1);  // of an upload that does not go on
    std::function<Time()> now = std::chrono::system_clock::now;
  };

  struct File {
    std::string name;  // [a-z0-9-]{1,40}
    std::string display_name, mime_type;
    int64_t size = 0;
    std::string sha256;  // in base64
    Time created, expires;
  };
  struct NewFile {
    std::string name = {};  // empty: one is made up
    std::string display_name = {}, mime_type = {};
    int64_t size = -1;  // that it will have; -1: not known
  };
  struct Progress {
    int64_t received = 0;
    std::optional<File> file;  // once it is whole
  };

  // Takes over what a directory holds from an earlier run; whose metadata is damaged is left out. Refuses a directory
  // that another store uses.
  static Result<std::unique_ptr<FileStore>> open(Options options);
  virtual ~FileStore() = default;

  // The id of an upload: a secret, whoever has it may go on with it.
  virtual tl::expected<std::string, Failure> begin(NewFile file) = 0;
  // An upload that failed for good is forgotten: progress() knows it no more. The last piece may come a second time.
  virtual tl::expected<Progress, Failure> append(const std::string& id, int64_t offset, std::string_view bytes,
                                                 bool last) = 0;
  virtual std::optional<Progress> progress(const std::string& id) = 0;
  virtual bool cancel(const std::string& id) = 0;  // false: there is none that could be
  // Whether there is an upload of that id, or was until now. Never waits for a disk, as the others may.
  virtual bool knows(const std::string& id) const = 0;

  virtual std::optional<File> find(const std::string& name) = 0;
  virtual std::vector<File> list() = 0;  // the oldest first
  virtual bool remove(const std::string& name) = 0;
  virtual Result<std::string> read(const std::string& name, int64_t max_bytes) = 0;
  // Where its bytes lie; who has the file open keeps them, whatever becomes of the name.
  virtual Result<Path> path(const std::string& name) = 0;

  // Removes what has expired; done before all of the above too, and each minute.
  virtual void sweep() = 0;
};

bool is_file_name(std::string_view name);

}  // namespace onsight::server
