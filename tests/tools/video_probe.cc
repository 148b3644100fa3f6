// A way for tests to see the frames of src/media:
//   video_probe facts FILE             "width height frames fps duration\n"
//   video_probe frames FILE I,J,...    for each frame that there is "index width height\n" and raw RGB
// or one line on stderr and status 3.
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "media/video.h"

namespace {

using onsight::Status;
using onsight::media::Image;
using onsight::media::Video;

Status answer(const std::string& what, const std::string& file, const std::string& list) {
  TRY(const std::shared_ptr<const Video> video, Video::open(onsight::Path(file)));
  const onsight::media::VideoFacts& facts = video->facts();
  if (what == "facts") {
    std::printf("%d %d %lld %.17g %.17g\n", facts.width, facts.height, static_cast<long long>(facts.frames), facts.fps,
                facts.duration);
    return {};
  }
  std::vector<int64_t> wanted;
  std::istringstream fields(list);
  for (std::string field; std::getline(fields, field, ',');) wanted.push_back(std::atoll(field.c_str()));
  return video->read(wanted, [&](size_t i, const Image& image) {
    std::printf("%lld %d %d\n", static_cast<long long>(wanted[i]), image.width, image.height);
    std::fwrite(image.rgb.data(), 1, image.rgb.size(), stdout);
    return true;
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: video_probe facts|frames FILE [I,J,...]\n"), 2;
  const Status status = answer(argv[1], argv[2], argc > 3 ? argv[3] : "");
  if (!status) return std::fprintf(stderr, "%s\n", status.error().message.c_str()), 3;
  return 0;
}
