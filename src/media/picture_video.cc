#include <utility>

#include "media/image.h"
#include "media/video.h"

namespace onsight::media {
namespace {

class PictureVideo final : public Video {
 public:
  PictureVideo(std::vector<std::string> pictures, std::string name, int64_t max_pixels)
      : pictures_(std::move(pictures)), name_(std::move(name)), max_pixels_(max_pixels) {}

  Status look(double fps) {
    if (pictures_.empty()) return bad_input("{}: expected at least one picture", name_);
    TRY(const Image first, decode(0));
    const auto frames = static_cast<int64_t>(pictures_.size());
    facts_ = {.width = first.width,
              .height = first.height,
              .frames = frames,
              .fps = fps,
              .duration = static_cast<double>(frames) / fps};
    return {};
  }

  const std::string& name() const override { return name_; }
  const VideoFacts& facts() const override { return facts_; }
  double time_of(int64_t frame) const override { return static_cast<double>(frame) / facts_.fps; }

  Status read(std::span<const int64_t> wanted, const std::function<bool(size_t, Image)>& sink) const override {
    for (size_t i = 0; i < wanted.size() && wanted[i] < facts_.frames; ++i) {
      TRY(Image image, decode(wanted[i]));
      if (image.width != facts_.width || image.height != facts_.height)
        return bad_input("{}: frame {} has {}x{} pixels, expected {}x{} as the first has", name_, wanted[i],
                         image.width, image.height, facts_.width, facts_.height);
      if (!sink(i, std::move(image))) return make_error(ErrorCode::kInterrupted, "interrupted");
    }
    return {};
  }

 private:
  Result<Image> decode(int64_t frame) const {
    return decode_image(pictures_[static_cast<size_t>(frame)], fmt::format("{}: frame {}", name_, frame),
                        {.max_pixels = max_pixels_});
  }

  std::vector<std::string> pictures_;
  std::string name_;
  int64_t max_pixels_;
  VideoFacts facts_;
};

}  // namespace

Result<std::shared_ptr<const Video>> Video::of_pictures(std::vector<std::string> pictures, double fps, std::string name,
                                                        const VideoLimits& limits) {
  if (std::ssize(pictures) > limits.max_frames) return bad_input("{}: more than {} frames", name, limits.max_frames);
  auto out = std::make_shared<PictureVideo>(std::move(pictures), std::move(name), limits.max_pixels);
  TRY_STATUS(out->look(fps));
  return std::shared_ptr<const Video>(std::move(out));
}

}  // namespace onsight::media
