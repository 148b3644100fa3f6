// RunCache: what runs of one model keep for other runs, in a DiskCache: features of tiles, and the decoder's state of a
// prompt's start.
//
//   RunCache kept(std::move(disk), model_identity(path), "AVX3_VNNI q8 q8", pool);
//   if (!kept.load_features(tile, bytes)) { … kept.save_features(tile); }
//   const Digest key = kept.prefix_key(prompt, length, tiles);
//   if (!kept.load_prefix(key, length, cache)) { … kept.save_prefix(key, cache); }
#pragma once

#include <string>

#include "base/thread_pool.h"
#include "compute/kv_cache.h"
#include "engine/disk_cache.h"
#include "engine/features.h"
#include "models/model.h"

namespace onsight::engine {

class RunCache {
 public:
  // `how`: all that decides the last bits of what this model computes, beside its files and the program.
  RunCache(DiskCache disk, const Digest& model, std::string how, ThreadPool& pool)
      : disk_(std::move(disk)), model_(model), how_(std::move(how)), pool_(pool) {}

  bool load_features(FeatureCache::Entry& tile, size_t bytes) const;
  void save_features(FeatureCache::Entry& tile) const;

  // The key of the state after the first `length` tokens, in which all tiles must stand.
  Digest prefix_key(const models::Prompt& prompt, int64_t length, const Tiles& tiles) const;
  // Replaces the cache by `length` positions; leaves it as it is if they are not kept.
  bool load_prefix(const Digest& key, int64_t length, compute::KvCache& cache) const;
  void save_prefix(const Digest& key, const compute::KvCache& cache) const;

  void trim() const { disk_.trim(); }

 private:
  // Of tiles that have none; pictures are large, so all threads help.
  void make_digests(const Tiles& tiles) const;
  DiskCache disk_;
  Digest model_;
  std::string how_;
  ThreadPool& pool_;
};

}  // namespace onsight::engine
