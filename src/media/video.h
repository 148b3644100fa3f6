// Video: outside bytes -> the frames that are asked for, as exact 8-bit RGB pixels.
//
//   TRY(std::shared_ptr<const Video> video, Video::open("clip.mp4"));
//   const std::vector<int64_t> wanted = {0, 24, 48};
//   TRY_STATUS(video->read(wanted, [&](size_t i, Image frame) { …; return true; }));
//
// Whatever FFmpeg's libraries decode: H.264, HEVC, VP9, AV1, MJPEG, GIF, … in MP4, MOV, WebM, Matroska, AVI, MPEG-TS,
// … They are opened when the first video is; a machine without them reads pictures only.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "media/image.h"

namespace onsight::media {

// As the container tells them; what it does not tell is counted, or is the reference's default. Prompts are made of
// these, as the reference makes them, which takes all frames for equally long: when each is shown, Video knows.
struct VideoFacts {
  int width = 0, height = 0;  // of a frame that stands upright
  int64_t frames = 0;         // at least 1
  double fps = 24;            // frames a second, on average
  double duration = 0;        // seconds: frames / fps
};

struct VideoLimits {
  int64_t max_pixels = 100'000'000;  // of one frame
  int64_t max_frames = 4'000'000;    // of the file: 18 hours of 60 a second
};

inline constexpr double kEveryFrame = std::numeric_limits<double>::infinity();
inline constexpr int64_t kHoweverMany = std::numeric_limits<int64_t>::max();

// What of a video is looked at.
struct ClipOptions {
  double fps = 0;             // frames a second; 0: as the model's checkpoint says; or kEveryFrame
  int64_t max_frames = 0;     // 0: as the model's checkpoint says; or kHoweverMany
  double start = 0, end = 0;  // seconds; an end of 0: the video's
};

class Video {
 public:
  // Reads the headers and where every frame lies, and decodes nothing. `name` stands in messages; without one the path.
  static Result<std::shared_ptr<const Video>> open(const Path& path, const VideoLimits& limits = {},
                                                   std::string name = {});
  static Result<std::shared_ptr<const Video>> open(std::string bytes, std::string name, const VideoLimits& limits = {});
  // Pictures of one size, whose bytes these are, as the frames of a video, so many a second. Decoded when they are
  // read, but for the first.
  static Result<std::shared_ptr<const Video>> of_pictures(std::vector<std::string> pictures, double fps,
                                                          std::string name, const VideoLimits& limits = {});
  // The same of pictures that are decoded already.
  static Result<std::shared_ptr<const Video>> of_images(std::vector<std::shared_ptr<const Image>> images, double fps,
                                                        std::string name, const VideoLimits& limits = {});
  virtual ~Video() = default;

  virtual const std::string& name() const = 0;  // for messages
  virtual const VideoFacts& facts() const = 0;
  // When a frame is shown, in seconds from when the first one is, as the container says, or by the frame rate where it
  // does not; for a frame after the last, when that one is over.
  virtual double time_of(int64_t frame) const = 0;
  // The first frame that begins then or later, and the one that is on screen then; half a millisecond is no
  // difference. facts().frames if all begin before.
  int64_t frame_from(double seconds) const;
  int64_t frame_at(double seconds) const;
  // Frames of these numbers, counted from 0 in the order in which they are shown; the numbers rise. Decodes from the
  // nearest point where that can begin, and holds one frame at a time. The sink gets the place in `wanted` and the
  // frame, turned upright; false ends it with ErrorCode::kInterrupted. A file that ends early gives fewer frames, and
  // none at all is an error. May be called from several threads at once.
  virtual Status read(std::span<const int64_t> wanted, const std::function<bool(size_t, Image)>& sink) const = 0;
};

// What a model made of a clip's frames, for when it is asked about them again.
struct KeptFrames {
  std::mutex mutex;
  std::vector<int64_t> frames;  // whose they are
  int64_t tile_size = 0;
  std::vector<Image> tiles;
};

struct Clip {
  std::shared_ptr<const Video> video;
  ClipOptions options;
  std::shared_ptr<KeptFrames> kept = nullptr;  // null: nothing is kept, and frames are decoded each time
};

}  // namespace onsight::media
