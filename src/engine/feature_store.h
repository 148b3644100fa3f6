// FeatureStore: image features in a folder, for other runs of the program. A cache: what cannot be read or does not
// check out is as if it were not there, what cannot be written is not kept.
//
//   TRY(FeatureStore store, FeatureStore::open(folder, max_bytes));
//   if (!store.load(key, bytes)) { … store.save(key, bytes); }
//   store.trim();
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "media/image.h"

namespace onsight::engine {

// The files of a model at `path` (a folder; a file, or two with a comma between, and the GGUF files beside them):
// names, sizes, times, small files whole and large ones in samples. Another model has another identity.
Digest model_identity(const Path& path);

// Names what one model, computing in one way (`how`), sees in these pixels.
Digest feature_key(const Digest& model, std::string_view how, const media::Image& tile);

class FeatureStore {
 public:
  // Makes the folder, for its owner only, if it is not there. Fails if it is none or cannot be written.
  static Result<FeatureStore> open(const Path& folder, int64_t max_bytes);

  // Fills `out` if the store holds exactly so many bytes under the key, unharmed.
  bool load(const Digest& key, std::span<std::byte> out) const;
  // Readable by the owner only: pictures can be guessed from features.
  void save(const Digest& key, std::span<const std::byte> bytes) const;
  // Removes what was not used for longest until the rest fits. Touches no file that is not the store's.
  void trim() const;

 private:
  FeatureStore(Path folder, int64_t max_bytes) : folder_(std::move(folder)), max_bytes_(max_bytes) {}
  Path folder_;
  int64_t max_bytes_;
};

// A file of the store: the bytes behind a header that names the key, and a checksum of all.
std::string make_record(const Digest& key, std::string_view bytes);
Result<std::string_view> read_record(std::string_view file, const Digest& key);

}  // namespace onsight::engine
