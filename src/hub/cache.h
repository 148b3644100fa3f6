// Cache: the models that were pulled, in the layout of huggingface_hub, which finds them there and whose models are
// found:
//
//   models--OWNER--NAME/refs/main                      the commit that "main" was
//   models--OWNER--NAME/snapshots/COMMIT/config.json   a link to
//   models--OWNER--NAME/blobs/ETAG                     a file by its checksum
//
// A file in a folder of the repository, "folder/file", is a link in that folder of the snapshot.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "hub/repository.h"

namespace onsight::hub {

struct CachedModel {
  Repository repository;
  std::string commit;
  Path folder;        // snapshots/COMMIT
  int64_t bytes = 0;  // of its files
};

class Cache {
 public:
  explicit Cache(Path root) : root_(std::move(root)) {}
  const Path& root() const { return root_; }
  Path folder(const Repository& repository) const { return root_ / ("models--" + folder_name(repository)); }
  Path blobs(const Repository& repository) const { return folder(repository) / "blobs"; }
  Path snapshot(const Repository& repository, const std::string& commit) const {
    return folder(repository) / "snapshots" / commit;
  }
  // Where processes that write a blob wait for each other.
  Path lock(const Repository& repository, const std::string& blob) const {
    return root_ / ".locks" / ("models--" + folder_name(repository)) / (blob + ".lock");
  }

  // The folder of a revision that is there, with settings and weights.
  std::optional<Path> find(const Repository& repository) const;
  // All revisions that a name leads to, and commits that none does.
  std::vector<CachedModel> models() const;
  // Notes what a branch or tag is; the revision is found from now on.
  Status refer(const Repository& repository, const std::string& commit) const;
  // Links snapshots/COMMIT/file to the blob. `file` is a relative path without "..".
  Status link(const Repository& repository, const std::string& commit, const std::string& file,
              const std::string& blob) const;
  // Removes a revision, and of the blobs those that no other needs; also what a pull left that never came to an end.
  // Returns the bytes that were freed. Refuses, with ErrorCode::kBusy, while a blob of the model is being written.
  Result<int64_t> remove(const Repository& repository) const;

 private:
  static std::string folder_name(const Repository& repository) { return repository.owner + "--" + repository.name; }
  std::optional<std::string> commit_of(const Repository& repository) const;
  Path root_;
};

}  // namespace onsight::hub
