#include "media/live.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "media/camera.h"
#include "media/video_stream.h"

namespace onsight::media {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{15'000};  // with a source that says nothing
constexpr int64_t kMaxPixels = 100'000'000;

class DecodedLive final : public Live {
 public:
  explicit DecodedLive(std::string source) : source_(std::move(source)) {}
  DecodedLive(const DecodedLive&) = delete;
  DecodedLive& operator=(const DecodedLive&) = delete;
  ~DecodedLive() override {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
  }

  void start() {
    thread_ = std::thread([this] { run(); });
  }

  // Until there is a frame.
  Status wait(const std::function<bool()>& stop) {
    std::unique_lock lock(mutex_);
    while (!frame_ && !failed_) {
      if (stop()) return make_error(ErrorCode::kInterrupted, "interrupted");
      changed_.wait_for(lock, milliseconds(50));
    }
    if (!frame_) return tl::unexpected(*failed_);
    return {};
  }

  Result<Image> newest(const std::function<bool()>& stop) override {
    {
      const std::scoped_lock lock(mutex_);
      if (given_) frame_.reset();  // it is as old as the last look
      given_ = wanted_ = true;
    }
    TRY_STATUS(wait(stop));
    const std::scoped_lock lock(mutex_);
    Image out = *std::move(frame_);
    frame_.reset();
    wanted_ = false;
    return out;
  }

  bool was_picture() const override {
    const std::scoped_lock lock(mutex_);
    return was_picture_;
  }

 private:
  void run() {
    Status done;
    try {
      done = decode();
    } catch (const std::exception&) {  // of a thread nobody else would catch it
      done = make_error(ErrorCode::kOutOfMemory, "{}: not enough memory for its frames", shown_source(source_));
    }
    const std::scoped_lock lock(mutex_);
    was_picture_ = done && frames_ == 1;
    failed_ = done ? Error{ErrorCode::kBadInput, fmt::format("{}: the stream has ended", shown_source(source_))}
                   : done.error();
    changed_.notify_all();
  }

  Status decode() {
    TRY(const Ffmpeg* lib, ffmpeg());
    TRY(auto demuxer, Demuxer::open_live(*lib, source_, kPatience, [this] { return ended_.load(); }));
    TRY(auto decoder, Decoder::open(*lib, *demuxer, kMaxPixels, /*in_time=*/true));
    // Every frame is decoded, as the later ones depend on it; only what somebody waits for becomes a picture.
    while (const AVFrame* frame = decoder->next(*demuxer, std::nullopt)) {
      if (ended_) break;
      ++frames_;
      {
        const std::scoped_lock lock(mutex_);
        if (!wanted_) continue;
        wanted_ = false;
      }
      TRY(Image image, decoder->to_image(*frame));
      const std::scoped_lock lock(mutex_);
      frame_ = std::move(image);
      changed_.notify_all();
    }
    return {};
  }

  const std::string source_;
  std::atomic<bool> ended_{false};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Image> frame_;
  std::optional<Error> failed_;
  bool wanted_ = true;  // the next frame is to become a picture
  bool given_ = false;  // one was given out: until then the first, which open() waited for, will do
  int64_t frames_ = 0;  // decoded; the thread's own
  bool was_picture_ = false;
  std::thread thread_;
};

}  // namespace

bool is_live_source(const std::string& source) {
  constexpr std::array<std::string_view, 9> kStarts = {"rtsp://", "rtsps://", "http://", "https://", "rtmp://",
                                                       "udp://",  "tcp://",   "srt://",  "rtp://"};
  for (const std::string_view start : kStarts)
    if (source.starts_with(start)) return true;
  return is_device(source);
}

Status expect_live_source(const std::string& source) { return is_device(source) ? expect_camera(source) : Status(); }

std::string shown_source(const std::string& source) {
  const size_t scheme = source.find("://");
  if (scheme == std::string::npos) return source;
  const size_t begin = scheme + 3;
  const size_t at = source.substr(0, source.find_first_of("/?#", begin)).rfind('@');
  const size_t colon = source.find(':', begin);
  if (at == std::string::npos || colon > at) return source;
  return source.substr(0, colon + 1) + "***" + source.substr(at);
}

Result<std::unique_ptr<Live>> Live::open(const std::string& source, const std::function<bool()>& stop) {
  auto out = std::make_unique<DecodedLive>(source);
  out->start();
  TRY_STATUS(out->wait(stop));
  return out;
}

}  // namespace onsight::media
