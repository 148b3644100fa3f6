// DiskCache: what runs of the program have computed, in a folder, for other runs. What cannot be read or does not check
// out is as if it were not there, what cannot be written is not kept.
//
//   TRY(DiskCache cache, DiskCache::open(folder, max_bytes));
//   if (!cache.load(Kind::kFeatures, key, parts)) { … cache.save(Kind::kFeatures, key, parts); }
//   cache.trim();
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "media/image.h"

namespace onsight::engine {

// The files of a model at `path` (a folder; a file, or two with a comma between, and the GGUF files beside them):
// names, sizes, small files whole and large ones in samples. A copy has the same.
Digest model_contents(const Path& path);
// The same and their times, and this program: another model, or a model that is written anew, has another identity.
Digest model_identity(const Path& path);

Digest pixel_digest(const media::Image& tile);
// Names what one model, computing in one way (`how`), sees in these pixels.
Digest feature_key(const Digest& model, std::string_view how, const Digest& tile);
// Names the state that it has after these tokens, of which those at `image_positions` are the features of the tiles.
Digest prefix_key(const Digest& model, std::string_view how, std::span<const int32_t> ids,
                  std::span<const int32_t> image_positions, std::span<const Digest> tiles);

class DiskCache {
 public:
  // Image features of a tile; keys and values of a prompt's start.
  enum class Kind { kFeatures, kKeysAndValues };
  // What a file holds, in pieces wherever they lie in memory.
  using Parts = std::span<const std::span<std::byte>>;
  using ConstParts = std::span<const std::span<const std::byte>>;

  // Makes the folder, for its owner only, if it is not there. Fails if it is none or cannot be written.
  static Result<DiskCache> open(const Path& folder, int64_t max_bytes);

  bool has(Kind kind, const Digest& key) const;
  // Fills the parts if the folder holds exactly so many bytes under the key, unharmed; otherwise they may hold
  // anything.
  bool load(Kind kind, const Digest& key, Parts parts) const;
  // Readable by the owner only: pictures can be guessed from features.
  void save(Kind kind, const Digest& key, ConstParts parts) const;
  // Removes what was not used for longest until the rest fits, and until keys and values take half of that: by the byte
  // they spare much less work than features. Touches no file that is not the cache's.
  void trim() const;

 private:
  DiskCache(Path folder, int64_t max_bytes) : folder_(std::move(folder)), max_bytes_(max_bytes) {}
  Path path(Kind kind, const Digest& key) const;
  int64_t room(Kind kind) const { return kind == Kind::kFeatures ? max_bytes_ : max_bytes_ / 2; }
  Path folder_;
  int64_t max_bytes_;
};

// A file of the cache: the parts behind a header that names the key, and a checksum of them. Functions that move bytes
// say whether they moved all.
int64_t record_bytes(int64_t payload);
bool write_record(const Digest& key, DiskCache::ConstParts parts,
                  const std::function<bool(std::span<const std::byte>)>& write);
bool read_record(const Digest& key, DiskCache::Parts parts, const std::function<bool(std::span<std::byte>)>& read);

}  // namespace onsight::engine
