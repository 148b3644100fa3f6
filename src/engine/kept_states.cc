#include "engine/kept_states.h"

#include <unordered_set>

namespace onsight::engine {

void KeptStates::keep(KeptState state) {
  if (state.keys.empty()) return;
  std::erase_if(recent_, [&](const KeptState& other) {
    return common_prefix(other.keys, state.keys) == other.keys.size() && other.start <= state.start;
  });
  recent_.push_front(std::move(state));
}

const KeptState* KeptStates::nearest(std::span<const PositionKey> keys) {
  auto best = recent_.end();
  size_t longest = 0;
  for (auto it = recent_.begin(); it != recent_.end(); ++it)
    if (const size_t shared = common_prefix(it->keys, keys); shared > longest) {
      longest = shared;
      best = it;
    }
  if (best == recent_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, best);
  return &recent_.front();
}

void KeptStates::trim(size_t count) {
  while (recent_.size() > count) recent_.pop_back();
}

int64_t bytes_of(std::span<const compute::KvCache* const> caches) {
  std::unordered_set<const std::byte*> pages;
  int64_t bytes = 0;
  for (const compute::KvCache* cache : caches)
    for (int64_t i = 0; i < cache->pages(); ++i)
      if (pages.insert(cache->page(i).data()).second) bytes += cache->layout().page_bytes();
  return bytes;
}

}  // namespace onsight::engine
