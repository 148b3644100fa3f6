// Inside the room: a container or a live source that is open (Demuxer), and its pictures (Decoder).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "media/ffmpeg.h"
#include "media/image.h"

namespace onsight::media {

// The bytes of a file, read from any place by several readers at once.
class Bytes {
 public:
  static Result<std::shared_ptr<const Bytes>> of_file(const Path& path, std::string name);
  static std::shared_ptr<const Bytes> of_memory(std::string bytes, std::string name);
  Bytes() = default;
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes();

  const std::string& name() const { return name_; }
  int64_t size() const { return size_; }
  // So many of the bytes at `at`; 0 at the end, and where reading fails.
  int64_t read(int64_t at, uint8_t* out, int64_t most) const;

 private:
  int fd_ = -1;
  std::string memory_, name_;
  int64_t size_ = 0;
};

// What FFmpeg allocates, freed by FFmpeg.
template <class T, auto Free>
struct Freed {
  void operator()(T* pointer) const {
    auto functions = ffmpeg();
    ((**functions).*Free)(&pointer);
  }
};
using PacketPtr = std::unique_ptr<AVPacket, Freed<AVPacket, &Ffmpeg::av_packet_free>>;
using FramePtr = std::unique_ptr<AVFrame, Freed<AVFrame, &Ffmpeg::av_frame_free>>;
using DecoderPtr = std::unique_ptr<AVCodecContext, Freed<AVCodecContext, &Ffmpeg::avcodec_free_context>>;

// Its first video stream is what is read.
class Demuxer {
 public:
  // A container of one file: nothing else is opened, whatever it says.
  static Result<std::unique_ptr<Demuxer>> open(const Ffmpeg& lib, std::shared_ptr<const Bytes> bytes);
  // A stream of the network, or a camera of this machine. `stop` is asked while it waits; so is a source that says
  // nothing for `patience`.
  static Result<std::unique_ptr<Demuxer>> open_live(const Ffmpeg& lib, const std::string& source,
                                                    std::chrono::milliseconds patience, std::function<bool()> stop);
  Demuxer(const Demuxer&) = delete;
  Demuxer& operator=(const Demuxer&) = delete;
  ~Demuxer();

  const std::string& name() const { return name_; }
  const AVStream& stream() const { return *stream_; }
  // The next packet of the stream; false at the end.
  bool read(AVPacket& packet);
  bool seek(int64_t time) { return lib_.av_seek_frame(format_, stream_->index, time, AVSEEK_FLAG_BACKWARD) >= 0; }

 private:
  using Clock = std::chrono::steady_clock;
  Demuxer(const Ffmpeg& lib, std::string name) : lib_(lib), name_(std::move(name)) {}
  static int read_bytes(void* self, uint8_t* out, int size);
  static int64_t seek_bytes(void* self, int64_t offset, int whence);
  static int has_to_end(void* self);
  Status start();
  Status start_live(const std::string& source);
  Status find_stream();

  const Ffmpeg& lib_;
  const std::string name_;
  std::shared_ptr<const Bytes> bytes_;
  int64_t at_ = 0;
  AVFormatContext* format_ = nullptr;
  AVIOContext* io_ = nullptr;
  AVStream* stream_ = nullptr;
  std::function<bool()> stop_;
  std::chrono::milliseconds patience_{0};
  Clock::time_point deadline_;
  // For good: what a parser had kept still comes, and the read after it must not wait as long again.
  bool given_up_ = false;
};

// The EXIF orientation that does what a stream's display matrix says; only mirrors and quarter turns are known.
int orientation_of(const AVStream& stream);

// Packets to frames to RGB.
class Decoder {
 public:
  // `in_time`: a frame comes out as soon as it is in, and no others are decoded beside it.
  static Result<std::unique_ptr<Decoder>> open(const Ffmpeg& lib, const Demuxer& demuxer, int64_t max_pixels,
                                               bool in_time = false);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { lib_.sws_freeContext(scaler_); }

  // The next frame in the order of showing; null at the end. Frames before `from`, a time of the stream, need not come
  // where nothing depends on them.
  const AVFrame* next(Demuxer& demuxer, std::optional<int64_t> from);
  // After a seek.
  void forget();
  Result<Image> to_image(const AVFrame& frame);

 private:
  Decoder(const Ffmpeg& lib, const Demuxer& demuxer, int64_t max_pixels)
      : lib_(lib), name_(demuxer.name()), orientation_(orientation_of(demuxer.stream())), max_pixels_(max_pixels) {}

  // What a conversion to RGB depends on.
  struct Kind {
    int width = 0, height = 0, format = -1, space = 0, range = 0, place = 0;
    bool operator==(const Kind&) const = default;
  };
  bool prepare_scaler(const AVFrame& frame);

  const Ffmpeg& lib_;
  const std::string name_;
  const int orientation_;
  const int64_t max_pixels_;
  DecoderPtr context_;
  PacketPtr packet_;
  FramePtr frame_;
  SwsContext* scaler_ = nullptr;
  Kind kind_;  // that it converts
  std::vector<uint8_t> rows_;
  bool ended_ = false;
};

tl::unexpected<Error> no_memory_for_video(const std::string& name);

}  // namespace onsight::media
