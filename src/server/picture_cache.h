// PictureCache: pictures that have been decoded, by the SHA-256 of their files: the next turn of a chat, and another
// question about the same picture, bring the same bytes again.
//
//   PictureCache pictures(256 << 20);
//   TRY(Picture picture, pictures.get(bytes, [&] { return media::decode_image(bytes, "photo.jpg"); }));
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/sha256.h"
#include "media/image.h"

namespace onsight::server {

using Picture = std::shared_ptr<const media::Image>;

class PictureCache {
 public:
  // Of pixels that are kept; a picture that is larger alone is not.
  explicit PictureCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Thread safe. Those who ask for the same bytes at the same time wait for one `decode`, which must not throw; if it
  // fails, each has a failure of its own, which names its own place.
  Result<Picture> get(std::string_view bytes, const std::function<Result<media::Image>()>& decode);

  struct Counts {
    int64_t decoded = 0, reused = 0;  // since the start
    int64_t bytes = 0;                // kept now
  };
  Counts counts() const;

 private:
  struct Decoding {
    bool ended = false;
    Picture picture;  // null: it failed
  };
  using Recent = std::list<std::pair<Digest, Picture>>;

  Picture find(const Digest& digest);
  void keep(const Digest& digest, Picture picture);

  const int64_t max_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::map<Digest, std::shared_ptr<Decoding>> decoding_;
  Recent recent_;  // most recent first
  std::map<Digest, Recent::iterator> by_digest_;
  Counts counts_;
};

}  // namespace onsight::server
