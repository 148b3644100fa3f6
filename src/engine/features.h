// Features of tiles seen before, and what stands at the positions of a sequence.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/sha256.h"
#include "compute/tensor.h"
#include "media/image.h"
#include "models/model.h"

namespace onsight::engine {

// Image features by the exact pixels of their tile. Equal tiles, in one picture or in different requests, are computed
// once.
class FeatureCache {
 public:
  explicit FeatureCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  struct Entry {
    uint64_t id = 0;  // never reused: equal ids mean equal pixels
    media::Image tile;
    compute::Buffer features;      // [tokens_per_tile, text_width]; empty until computed
    std::optional<Digest> digest;  // of the pixels, where a RunCache asked for it
  };
  // The entry of these pixels, made if there is none. An entry in use stays alive even when the cache drops it.
  std::shared_ptr<Entry> find_or_add(media::Image tile);
  // Forgets what was not used lately until the rest fits.
  void trim();

 private:
  int64_t max_bytes_;
  uint64_t next_id_ = 1;
  std::list<std::shared_ptr<Entry>> recent_;  // most recent first
  std::unordered_multimap<uint64_t, std::list<std::shared_ptr<Entry>>::iterator> by_hash_;
};

using Tiles = std::vector<std::shared_ptr<FeatureCache::Entry>>;

// What stands at a position of a sequence: a token, or a row of a tile's features.
struct PositionKey {
  int32_t token = 0;
  uint64_t tile = 0;  // 0: a token
  bool operator==(const PositionKey&) const = default;
};

// Length of the common start of two sequences.
size_t common_prefix(std::span<const PositionKey> a, std::span<const PositionKey> b);

}  // namespace onsight::engine
