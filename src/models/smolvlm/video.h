// Videos: which frames the model looks at and the words around them, as SmolVLMVideoProcessor and SmolVLMProcessor
// choose them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "media/video.h"
#include "models/smolvlm/config.h"

namespace onsight::models::smolvlm {

struct Sampling {
  double fps = 1;
  int64_t max_frames = 64;
};

// Numbers of frames, rising: about `fps` a second, at most so many, evenly over the video, or, where that is long,
// without its first and last second. `duration` in seconds. At least one.
std::vector<int64_t> sample_frames(int64_t frames, double native_fps, double duration, const Sampling& sampling);

// What is taken of a clip: numbers of frames, and when each is shown, in seconds from the video's start.
struct FramePlan {
  std::vector<int64_t> frames;
  std::vector<double> times;
  double duration = 0;  // of the video
};
// As sample_frames, for the part of the video that the clip's options ask for.
Result<FramePlan> plan_frames(const media::Clip& clip, const VideoConfig& config);

// The text that stands for a video: `count` is the number that it begins with.
std::string video_text(const ImageTokens& tokens, std::span<const double> times, double duration, int64_t count,
                       int64_t tokens_per_tile);

// 64 -> "sixty-four"; from 0 to 999,999,999, with the "and" and the commas of num2words.
std::string in_words(int64_t number);
// Whole seconds as Python writes a timedelta: "0:03:20", "1 day, 2:00:00".
std::string clock_time(int64_t seconds);

}  // namespace onsight::models::smolvlm
