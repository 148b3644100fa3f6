// KeptStates: the decoder's states that ended requests left, for requests that begin alike.
//
//   states.keep({.keys = keys, .start = start, .cache = std::move(cache)});
//   if (const KeptState* state = states.nearest(keys)) cache = state->cache;   // a fork, which shares its pages
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "compute/kv_cache.h"
#include "engine/features.h"

namespace onsight::engine {

struct KeptState {
  std::vector<PositionKey> keys;  // what the positions hold
  int64_t start = 0;              // so many of them were computed as of a prompt's start
  compute::KvCache cache;
};

class KeptStates {
 public:
  // Replaces states that are the beginning of this one.
  void keep(KeptState state);
  // The one that shares the longest beginning, or null if none shares any; the latest of equals.
  const KeptState* nearest(std::span<const PositionKey> keys);
  // Forgets what was not used lately until at most so many are left.
  void trim(size_t count);
  size_t count() const { return recent_.size(); }
  const std::list<KeptState>& all() const { return recent_; }

 private:
  std::list<KeptState> recent_;  // most recent first
};

// Bytes of the pages of all these, each page once: forks share them.
int64_t bytes_of(std::span<const compute::KvCache* const> caches);

}  // namespace onsight::engine
