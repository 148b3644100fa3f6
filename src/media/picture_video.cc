#include <functional>
#include <utility>

#include "media/image.h"
#include "media/video.h"

namespace onsight::media {
namespace {

class PictureVideo final : public Video {
 public:
  using Frame = std::function<Result<Image>(size_t)>;
  PictureVideo(Frame frame, std::string name) : frame_(std::move(frame)), name_(std::move(name)) {}

  Status look(int64_t frames, double fps, const VideoLimits& limits) {
    if (frames == 0) return bad_input("{}: expected at least one picture", name_);
    if (frames > limits.max_frames) return bad_input("{}: more than {} frames", name_, limits.max_frames);
    TRY(const Image first, frame_(0));
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
      TRY(Image image, frame_(static_cast<size_t>(wanted[i])));
      if (image.width != facts_.width || image.height != facts_.height)
        return bad_input("{}: frame {} has {}x{} pixels, expected {}x{} as the first has", name_, wanted[i],
                         image.width, image.height, facts_.width, facts_.height);
      if (!sink(i, std::move(image))) return make_error(ErrorCode::kInterrupted, "interrupted");
    }
    return {};
  }

 private:
  Frame frame_;
  std::string name_;
  VideoFacts facts_;
};

Result<std::shared_ptr<const Video>> video_of(PictureVideo::Frame frame, size_t frames, double fps, std::string name,
                                              const VideoLimits& limits) {
  auto out = std::make_shared<PictureVideo>(std::move(frame), std::move(name));
  TRY_STATUS(out->look(static_cast<int64_t>(frames), fps, limits));
  return std::shared_ptr<const Video>(std::move(out));
}

}  // namespace

Result<std::shared_ptr<const Video>> Video::of_pictures(std::vector<std::string> pictures, double fps, std::string name,
                                                        const VideoLimits& limits) {
  const size_t frames = pictures.size();
  auto frame = [pictures = std::move(pictures), name, most = limits.max_pixels](size_t i) {
    return decode_image(pictures[i], fmt::format("{}: frame {}", name, i), {.max_pixels = most});
  };
  return video_of(std::move(frame), frames, fps, std::move(name), limits);
}

Result<std::shared_ptr<const Video>> Video::of_images(std::vector<std::shared_ptr<const Image>> images, double fps,
                                                      std::string name, const VideoLimits& limits) {
  const size_t frames = images.size();
  auto frame = [images = std::move(images)](size_t i) -> Result<Image> { return *images[i]; };
  return video_of(std::move(frame), frames, fps, std::move(name), limits);
}

}  // namespace onsight::media
