#include "engine/features.h"

#include <algorithm>

namespace onsight::engine {
namespace {

// FNV-1a over 8-byte words; equality of pixels is checked besides.
uint64_t hash_pixels(const media::Image& image) {
  uint64_t h = 0xcbf29ce484222325ull ^ (static_cast<uint64_t>(image.width) << 32 | static_cast<uint32_t>(image.height));
  const size_t words = image.rgb.size() / 8;
  for (size_t i = 0; i < words; ++i) {
    uint64_t word;
    std::copy_n(image.rgb.data() + i * 8, 8, reinterpret_cast<uint8_t*>(&word));
    h = (h ^ word) * 0x100000001b3ull;
    h ^= h >> 29;
  }
  for (size_t i = words * 8; i < image.rgb.size(); ++i) h = (h ^ image.rgb[i]) * 0x100000001b3ull;
  return h;
}

bool same_pixels(const media::Image& a, const media::Image& b) {
  return a.width == b.width && a.height == b.height && a.rgb == b.rgb;
}

int64_t bytes_of_entry(const FeatureCache::Entry& e) {
  return static_cast<int64_t>(e.tile.rgb.size() + e.features.bytes());
}

}  // namespace

std::shared_ptr<FeatureCache::Entry> FeatureCache::find_or_add(media::Image tile) {
  const uint64_t hash = hash_pixels(tile);
  auto [begin, end] = by_hash_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (!same_pixels((*it->second)->tile, tile)) continue;
    recent_.splice(recent_.begin(), recent_, it->second);
    return *it->second;
  }
  auto entry = std::make_shared<Entry>();
  entry->id = next_id_++;
  entry->tile = std::move(tile);
  recent_.push_front(entry);
  by_hash_.emplace(hash, recent_.begin());
  return entry;
}

void FeatureCache::trim() {
  int64_t bytes = 0;
  for (auto it = recent_.begin(); it != recent_.end();) {
    const Entry& entry = **it;
    // Tiles that were never read (the request was cancelled) hold nothing worth keeping, but those in use give the
    // decoder's state their name.
    const bool worth = entry.features.bytes() > 0 || it->use_count() > 1;
    if (worth && bytes + bytes_of_entry(entry) <= max_bytes_) {
      bytes += bytes_of_entry(entry);
      ++it;
      continue;
    }
    std::erase_if(by_hash_, [&](const auto& row) { return row.second == it; });
    it = recent_.erase(it);
  }
}

size_t common_prefix(std::span<const PositionKey> a, std::span<const PositionKey> b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace onsight::engine
