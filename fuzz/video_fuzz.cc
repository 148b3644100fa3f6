// Any bytes as a video, some of whose frames are read: no crash, no leak of ours, no memory beyond what small limits
// allow.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "media/video.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  const auto check = [](const Error& error) {
    if (error.message.empty() || error.message.find('\n') != std::string::npos) std::abort();
  };
  const auto video = media::Video::open(std::string(reinterpret_cast<const char*>(data), size), "fuzz",
                                        {.max_pixels = 1 << 16, .max_frames = 2000});
  if (!video) return check(video.error()), 0;
  const media::VideoFacts& facts = (*video)->facts();
  if (facts.frames < 1 || !(facts.fps > 0) || !(facts.duration >= 0)) std::abort();
  const std::vector<int64_t> wanted = {0, 3, 20, 41};
  size_t next = 0;
  const Status read = (*video)->read(wanted, [&](size_t i, const media::Image& image) {
    if (i != next++ || image.rgb.size() != size_t{3} * image.width * image.height || image.rgb.empty()) std::abort();
    return true;
  });
  if (!read) check(read.error());
  return 0;
}
