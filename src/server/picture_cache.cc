#include "server/picture_cache.h"

namespace onsight::server {
namespace {

int64_t bytes_of(const media::Image& image) { return static_cast<int64_t>(image.rgb.size()); }

}  // namespace

Result<Picture> PictureCache::get(std::string_view bytes, const std::function<Result<media::Image>()>& decode) {
  const Digest digest = sha256(bytes);
  std::unique_lock lock(mutex_);
  if (Picture kept = find(digest)) return kept;
  std::shared_ptr<Decoding>& running = decoding_[digest];
  if (const auto other = running) {
    ended_.wait(lock, [&] { return other->ended; });
    if (other->picture) {
      ++counts_.reused;
      return other->picture;
    }
    lock.unlock();
    TRY(media::Image image, decode());
    return std::make_shared<const media::Image>(std::move(image));
  }
  const auto mine = std::make_shared<Decoding>();
  const auto picture = std::make_shared<media::Image>();
  running = mine;
  lock.unlock();
  Result<media::Image> image = decode();
  lock.lock();
  decoding_.erase(digest);
  mine->ended = true;
  ended_.notify_all();
  if (!image) return tl::unexpected<Error>(std::move(image.error()));
  *picture = *std::move(image);
  mine->picture = picture;
  ++counts_.decoded;
  keep(digest, picture);
  return picture;
}

PictureCache::Counts PictureCache::counts() const {
  const std::scoped_lock lock(mutex_);
  return counts_;
}

Picture PictureCache::find(const Digest& digest) {
  const auto found = by_digest_.find(digest);
  if (found == by_digest_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  ++counts_.reused;
  return found->second->second;
}

void PictureCache::keep(const Digest& digest, Picture picture) {
  const int64_t bytes = bytes_of(*picture);
  if (bytes > max_bytes_) return;
  while (counts_.bytes + bytes > max_bytes_) {
    counts_.bytes -= bytes_of(*recent_.back().second);
    by_digest_.erase(recent_.back().first);
    recent_.pop_back();
  }
  recent_.emplace_front(digest, std::move(picture));
  by_digest_[digest] = recent_.begin();
  counts_.bytes += bytes;
}

}  // namespace onsight::server
