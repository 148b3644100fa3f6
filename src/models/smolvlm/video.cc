#include "models/smolvlm/video.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/smolvlm/prompt.h"

namespace onsight::models::smolvlm {
namespace {

constexpr double kSkipped = 1;  // seconds at either end of a long video

constexpr std::array<std::string_view, 20> kSmall = {
    "zero", "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",    "nine",
    "ten",  "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::array<std::string_view, 10> kTens = {"",      "",      "twenty",  "thirty", "forty",
                                                    "fifty", "sixty", "seventy", "eighty", "ninety"};

std::string below_thousand(int64_t n) {
  const std::string_view small = kSmall[static_cast<size_t>(n < 20 ? n : n % 10)];
  if (n < 20) return std::string(small);
  if (n < 100) {
    const std::string_view tens = kTens[static_cast<size_t>(n / 10)];
    return n % 10 ? fmt::format("{}-{}", tens, small) : std::string(tens);
  }
  const std::string_view hundreds = kSmall[static_cast<size_t>(n / 100)];
  return n % 100 ? fmt::format("{} hundred and {}", hundreds, below_thousand(n % 100))
                 : fmt::format("{} hundred", hundreds);
}

// numpy.linspace(first, last, count, dtype=int), in its order of operations.
std::vector<int64_t> linspace(int64_t first, int64_t last, int64_t count) {
  const auto start = static_cast<double>(first), stop = static_cast<double>(last);
  std::vector<int64_t> out;
  const double gaps = static_cast<double>(count - 1), delta = stop - start;
  const double step = gaps > 0 ? delta / gaps : 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto n = static_cast<double>(i);
    double x = gaps <= 0 ? n * delta : step == 0 ? n / gaps * delta : n * step;
    x += start;
    if (count > 1 && i == count - 1) x = stop;
    out.push_back(static_cast<int64_t>(std::floor(x)));
  }
  return out;
}

}  // namespace

std::vector<int64_t> sample_frames(int64_t frames, double native_fps, double duration, const Sampling& sampling) {
  // Of halves to the even number, as Python rounds.
  const double estimate = std::nearbyint(sampling.fps * duration);
  const auto most = static_cast<double>(sampling.max_frames);
  int64_t first = 0, last = frames - 1;
  if (duration - 2 * kSkipped > most * sampling.fps) {
    first = std::max<int64_t>(0, static_cast<int64_t>(kSkipped * native_fps));
    last = std::min(last, static_cast<int64_t>(static_cast<double>(frames) - kSkipped * native_fps));
    if (first >= last) first = 0, last = frames - 1;
  }
  // More would be the same ones twice, and memory without bound.
  const auto there = static_cast<double>(last - first + 1);
  const auto count = static_cast<int64_t>(std::max(1.0, std::min({estimate, most, there})));
  std::vector<int64_t> out = linspace(first, last, count);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<FramePlan> plan_frames(const media::Clip& clip, const VideoConfig& config) {
  const media::VideoFacts& facts = clip.video->facts();
  const media::ClipOptions& options = clip.options;
  const Sampling sampling = {options.fps > 0 ? options.fps : config.fps,
                             options.max_frames > 0 ? options.max_frames : config.max_frames};
  int64_t first = 0, frames = facts.frames;
  double duration = facts.duration, fps = facts.fps;
  const bool is_part = options.start > 0 || options.end > 0;
  if (is_part) {
    // The frames that begin there, or the one that is on screen all the while; sampled as a video of their own would
    // be.
    const double whole = clip.video->time_of(facts.frames),
                 end = options.end > 0 ? std::min(options.end, whole) : whole;
    if (options.start >= end)
      return bad_input("{}: nothing between {:g} and {:g} s, expected a part of its {:.2f} s", clip.video->name(),
                       options.start, options.end > 0 ? options.end : whole, whole);
    first = clip.video->frame_from(options.start);
    frames = clip.video->frame_from(end) - first;
    if (frames < 1) {
      first = clip.video->frame_at(options.start);
      frames = 1;
    }
    duration = clip.video->time_of(first + frames) - clip.video->time_of(first);
    fps = duration > 0 ? static_cast<double>(frames) / duration : facts.fps;
  }
  FramePlan plan;
  plan.duration = facts.duration;
  plan.frames = sample_frames(frames, fps, duration, sampling);
  for (int64_t& frame : plan.frames) {
    frame += first;
    // Of a whole video as the reference has it, which takes all frames for equally long.
    plan.times.push_back(is_part ? clip.video->time_of(frame) : static_cast<double>(frame) / facts.fps);
  }
  return plan;
}

std::string video_text(const ImageTokens& tokens, std::span<const double> times, double duration, int64_t count,
                       int64_t tokens_per_tile) {
  std::string out = fmt::format("You are provided the following series of {} frames from a {} [H:MM:SS] video.\n",
                                in_words(count), clock_time(static_cast<int64_t>(duration)));
  const std::string picture = picture_text(tokens, 0, 0, tokens_per_tile);
  for (const double time : times) {
    const double minutes = std::floor(time / 60);
    out += fmt::format("\nFrame from {:02}:{:02}:", static_cast<int64_t>(minutes),
                       static_cast<int64_t>(std::fmod(time, 60)));
    out += picture;
  }
  return out + "\n\n";
}

std::string in_words(int64_t number) {
  constexpr std::array<std::pair<int64_t, std::string_view>, 3> kScales = {
      {{1'000'000, " million"}, {1'000, " thousand"}, {1, ""}}};
  std::string out;
  for (const auto& [scale, name] : kScales) {
    const int64_t part = number / scale % 1000;
    if (part == 0) continue;
    // "one thousand and one", yet "one thousand, one hundred and one"
    if (!out.empty()) out += scale == 1 && part < 100 ? " and " : ", ";
    out += below_thousand(part) + std::string(name);
  }
  return out.empty() ? "zero" : out;
}

std::string clock_time(int64_t seconds) {
  const int64_t days = seconds / 86'400;
  seconds %= 86'400;
  std::string out = days == 0 ? "" : fmt::format("{} day{}, ", days, days == 1 ? "" : "s");
  return out + fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace onsight::models::smolvlm
