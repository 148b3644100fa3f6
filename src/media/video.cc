#include "media/video.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "media/video_stream.h"

namespace onsight::media {
namespace {

constexpr double kSameTime = 0.5e-3;   // seconds: containers round times to milliseconds
constexpr int64_t kWorthJumping = 16;  // frames; fewer are decoded sooner than the decoder is emptied and filled again

// Where frames lie: the times at which they are shown, and at which of them decoding can begin.
struct Places {
  std::vector<int64_t> times;  // rising; of frame 0, 1, …
  std::vector<int64_t> keys;   // rising
  int64_t end = 0;             // when the last is over
  bool known = true;           // false: there are frames without a time of their own, and only counting finds one
};

class FileVideo final : public Video {
 public:
  static Result<std::shared_ptr<const Video>> open(std::shared_ptr<const Bytes> bytes, const VideoLimits& limits) {
    TRY(const Ffmpeg* lib, ffmpeg());
    auto out = std::make_shared<FileVideo>(*lib, std::move(bytes), limits);
    TRY_STATUS(out->look());
    return std::shared_ptr<const Video>(std::move(out));
  }
  FileVideo(const Ffmpeg& lib, std::shared_ptr<const Bytes> bytes, const VideoLimits& limits)
      : lib_(lib), bytes_(std::move(bytes)), limits_(limits) {}

  const std::string& name() const override { return bytes_->name(); }
  const VideoFacts& facts() const override { return facts_; }
  double time_of(int64_t frame) const override {
    frame = std::clamp(frame, int64_t{0}, facts_.frames);
    // A container may count more frames than it holds.
    if (!places_.known || std::ssize(places_.times) != facts_.frames) return static_cast<double>(frame) / facts_.fps;
    const int64_t time = frame < facts_.frames ? places_.times[static_cast<size_t>(frame)] : places_.end;
    return static_cast<double>(time - places_.times.front()) * tick_;
  }
  Status read(std::span<const int64_t> wanted, const std::function<bool(size_t, Image)>& sink) const override;

 private:
  Status look();
  // The container's time of that frame, where it has one.
  std::optional<int64_t> place_of(int64_t index) const {
    if (!places_.known || index >= std::ssize(places_.times)) return std::nullopt;
    return places_.times[static_cast<size_t>(index)];
  }

  const Ffmpeg& lib_;
  std::shared_ptr<const Bytes> bytes_;
  VideoLimits limits_;
  VideoFacts facts_;
  Places places_;
  double tick_ = 0;  // seconds of the container's unit of time
};

double to_double(AVRational ratio) { return ratio.den == 0 ? 0 : static_cast<double>(ratio.num) / ratio.den; }

Status FileVideo::look() {
  TRY(auto demuxer, Demuxer::open(lib_, bytes_));
  const AVStream& stream = demuxer->stream();
  facts_.width = stream.codecpar->width;
  facts_.height = stream.codecpar->height;
  if (int64_t{facts_.width} * facts_.height > limits_.max_pixels)
    return bad_input("{}: frames of {}x{} pixels, expected at most {}", bytes_->name(), facts_.width, facts_.height,
                     limits_.max_pixels);
  if (orientation_of(stream) >= 5) std::swap(facts_.width, facts_.height);
  {
    TRY(auto decoder, Decoder::open(lib_, *demuxer, limits_.max_pixels));  // says now what cannot be decoded
  }

  PacketPtr packet(lib_.av_packet_alloc());
  if (!packet) return no_memory_for_video(bytes_->name());
  int64_t count = 0, latest = 0, last_lasts = 0;
  while (demuxer->read(*packet)) {
    const int64_t time = packet->pts, lasts = std::max<int64_t>(0, packet->duration);
    const int flags = packet->flags;
    lib_.av_packet_unref(packet.get());
    if (flags & AV_PKT_FLAG_DISCARD) continue;  // before an edit list's start: decoded, never shown
    if (++count > limits_.max_frames) return bad_input("{}: more than {} frames", bytes_->name(), limits_.max_frames);
    if (count == 1 && !(flags & AV_PKT_FLAG_KEY)) places_.known = false;
    if (time == AV_NOPTS_VALUE) places_.known = false;
    if (!places_.known) continue;
    places_.times.push_back(time);
    if (places_.times.size() == 1 || time >= latest) {
      latest = time;
      last_lasts = lasts;
    }
    if (flags & AV_PKT_FLAG_KEY) places_.keys.push_back(time);
  }
  std::sort(places_.times.begin(), places_.times.end());
  std::sort(places_.keys.begin(), places_.keys.end());
  if (std::adjacent_find(places_.times.begin(), places_.times.end()) != places_.times.end()) places_.known = false;
  if (!places_.known) places_ = {.times = {}, .keys = {}, .known = false};

  facts_.frames = stream.nb_frames > 0 ? stream.nb_frames : count;
  if (count < 1) return bad_input("{}: truncated or corrupt video, expected at least one frame", bytes_->name());
  if (const double fps = to_double(stream.avg_frame_rate); fps > 0) {
    facts_.fps = fps;
  } else if (const double base = to_double(stream.r_frame_rate); base > 0) {
    facts_.fps = base;
  }
  facts_.duration = static_cast<double>(facts_.frames) / facts_.fps;
  tick_ = to_double(stream.time_base);
  if (places_.known && last_lasts == 0 && tick_ > 0) last_lasts = std::llround(1 / (facts_.fps * tick_));
  places_.end = latest + last_lasts;
  return {};
}

Status FileVideo::read(std::span<const int64_t> wanted, const std::function<bool(size_t, Image)>& sink) const {
  TRY(auto demuxer, Demuxer::open(lib_, bytes_));
  TRY(auto decoder, Decoder::open(lib_, *demuxer, limits_.max_pixels));
  const auto place = [&](const std::vector<int64_t>& times, int64_t time) {  // of the last that is not later, or -1
    return std::upper_bound(times.begin(), times.end(), time) - times.begin() - 1;
  };

  size_t next = 0;
  int64_t counted = -1;            // the frame that came last, where only counting finds one
  std::optional<int64_t> reached;  // its time, where it has one
  bool may_jump = places_.known, jumped = false;
  std::optional<int64_t> led_to;  // by the last jump, if the index tells the truth
  std::ptrdiff_t back = 0;        // points before the nearest where decoding can begin
  while (next < wanted.size()) {
    const std::optional<int64_t> target = place_of(wanted[next]);
    if (places_.known && !target) break;  // the container promised more frames than it holds
    if (may_jump) {
      const std::ptrdiff_t key = std::max<std::ptrdiff_t>(0, place(places_.keys, *target) - back);
      const int64_t from = places_.keys[static_cast<size_t>(key)];
      const std::ptrdiff_t ahead = place(places_.times, from) - (reached ? place(places_.times, *reached) : -1);
      if (ahead > kWorthJumping && led_to != from) {
        may_jump = demuxer->seek(from);
        jumped = true;
        led_to = from;
        decoder->forget();
      }
    }
    const AVFrame* frame = decoder->next(*demuxer, target);
    if (jumped && (!frame || frame->best_effort_timestamp > *target)) {
      // The jump led past it, or the decoder lacked something of before: from further back, then from the start.
      back = back == 0 ? 1 : 4 * back;
      if (may_jump && back < place(places_.keys, *target)) {
        reached = INT64_MIN;
      } else {
        TRY(demuxer, Demuxer::open(lib_, bytes_));
        TRY(decoder, Decoder::open(lib_, *demuxer, limits_.max_pixels));
        may_jump = jumped = false;
      }
      continue;
    }
    if (!frame) break;
    ++counted;
    reached = frame->best_effort_timestamp;
    const auto ready = [&] {
      if (next >= wanted.size()) return false;
      const std::optional<int64_t> time = place_of(wanted[next]);
      return places_.known ? time && *reached >= *time : counted == wanted[next];
    };
    while (ready()) {
      TRY(Image image, decoder->to_image(*frame));
      if (!sink(next++, std::move(image))) return make_error(ErrorCode::kInterrupted, "interrupted");
      back = 0;
    }
  }
  if (next == 0 && !wanted.empty())
    return bad_input("{}: truncated or corrupt video, none of its frames could be decoded", bytes_->name());
  return {};
}

}  // namespace

int64_t Video::frame_at(double seconds) const {
  const int64_t next = frame_from(seconds);
  const bool begins = next < facts().frames && time_of(next) <= seconds + kSameTime;
  return begins ? next : std::max<int64_t>(0, next - 1);
}

int64_t Video::frame_from(double seconds) const {
  int64_t first = 0, last = facts().frames;  // it is at one of these
  while (first < last) {
    const int64_t middle = first + (last - first) / 2;
    if (time_of(middle) < seconds - kSameTime) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

Result<std::shared_ptr<const Video>> Video::open(const Path& path, const VideoLimits& limits, std::string name) {
  TRY(auto bytes, Bytes::of_file(path, name.empty() ? path.string() : std::move(name)));
  return FileVideo::open(std::move(bytes), limits);
}

Result<std::shared_ptr<const Video>> Video::open(std::string bytes, std::string name, const VideoLimits& limits) {
  return FileVideo::open(Bytes::of_memory(std::move(bytes), std::move(name)), limits);
}

}  // namespace onsight::media
