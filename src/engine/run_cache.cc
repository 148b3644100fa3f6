#include "engine/run_cache.h"

#include <algorithm>

namespace onsight::engine {
namespace {

using Kind = DiskCache::Kind;

Digest digest_of(FeatureCache::Entry& tile) {
  if (!tile.digest) tile.digest = pixel_digest(tile.tile);
  return *tile.digest;
}

std::vector<std::span<std::byte>> parts_of(const compute::KvCache& cache) {
  std::vector<std::span<std::byte>> parts;
  for (int64_t i = 0; i < cache.pages(); ++i) parts.push_back(cache.page(i));
  return parts;
}

}  // namespace

bool RunCache::load_features(FeatureCache::Entry& tile, size_t bytes) const {
  compute::Buffer features(bytes);
  const std::span<std::byte> parts[] = {{features.data(), bytes}};
  if (!disk_.load(Kind::kFeatures, feature_key(model_, how_, digest_of(tile)), parts)) return false;
  tile.features = std::move(features);
  return true;
}

void RunCache::save_features(FeatureCache::Entry& tile) const {
  const std::span<const std::byte> parts[] = {{tile.features.data(), tile.features.bytes()}};
  disk_.save(Kind::kFeatures, feature_key(model_, how_, digest_of(tile)), parts);
}

void RunCache::make_digests(const Tiles& tiles) const {
  std::vector<FeatureCache::Entry*> without;
  for (const auto& tile : tiles)
    if (!tile->digest && std::find(without.begin(), without.end(), tile.get()) == without.end())
      without.push_back(tile.get());
  pool_.run(static_cast<int64_t>(without.size()), [&](int64_t i, int) { digest_of(*without[static_cast<size_t>(i)]); });
}

Digest RunCache::prefix_key(const models::Prompt& prompt, int64_t length, const Tiles& tiles) const {
  make_digests(tiles);
  std::vector<Digest> digests;
  for (const auto& tile : tiles) digests.push_back(*tile->digest);
  return engine::prefix_key(model_, how_, std::span(prompt.ids).first(static_cast<size_t>(length)),
                            prompt.image_positions, digests);
}

bool RunCache::load_prefix(const Digest& key, int64_t length, compute::KvCache& cache) const {
  if (!disk_.has(Kind::kKeysAndValues, key)) return false;
  compute::KvCache kept(cache.layout());
  kept.reserve(length);
  if (!disk_.load(Kind::kKeysAndValues, key, parts_of(kept))) return false;
  cache = std::move(kept);
  return true;
}

void RunCache::save_prefix(const Digest& key, const compute::KvCache& cache) const {
  const std::vector<std::span<std::byte>> pages = parts_of(cache);
  const std::vector<std::span<const std::byte>> parts(pages.begin(), pages.end());
  disk_.save(Kind::kKeysAndValues, key, parts);
}

}  // namespace onsight::engine
