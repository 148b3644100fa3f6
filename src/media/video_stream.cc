#include "media/video_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "media/camera.h"
#include "media/live.h"
#include "media/orientation.h"

namespace onsight::media {
namespace {

// Containers of one file. Others, playlists among them, would open more files or the network.
constexpr char kContainers[] =
    "mov,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,m4v,flv,ogg,mjpeg,h264,hevc,obu,ivf,asf,apng,mxf";
// What a stream may be carried by: no file of this machine, whatever a playlist says.
constexpr char kProtocols[] = "http,https,httpproxy,tcp,tls,udp,rtp,rtsp,rtmp,srt,crypto,data";
constexpr int kBufferBytes = 1 << 16;
constexpr unsigned kMaxThreads = 8;

Result<const AVInputFormat*> camera_format(const std::string& source) {
  TRY_STATUS(expect_camera(source));
  if (const AVInputFormat* found = camera_input()) return found;
  return bad_input("{0}: no libavdevice.so.{1} on this machine, expected FFmpeg's (Debian: libavdevice{1})", source,
                   LIBAVFORMAT_VERSION_MAJOR);
}

int orientation_of_matrix(const int32_t* matrix) {
  const auto sign = [](int32_t x) { return x > 0 ? 1 : x < 0 ? -1 : 0; };
  const int a = sign(matrix[0]), b = sign(matrix[1]), c = sign(matrix[3]), d = sign(matrix[4]);
  if (b == 0 && c == 0) return a >= 0 ? (d >= 0 ? 1 : 4) : (d >= 0 ? 2 : 3);
  if (a == 0 && d == 0) return b > 0 ? (c > 0 ? 5 : 6) : (c > 0 ? 8 : 7);
  return 1;
}

}  // namespace

Result<std::shared_ptr<const Bytes>> Bytes::of_file(const Path& path, std::string name) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bad_input("{}: {}", name, std::strerror(errno));
  auto out = std::make_shared<Bytes>();
  out->fd_ = fd;
  out->name_ = std::move(name);
  struct stat facts {};
  if (::fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) return bad_input("{}: expected a file", out->name_);
  out->size_ = facts.st_size;
  return std::shared_ptr<const Bytes>(std::move(out));
}

std::shared_ptr<const Bytes> Bytes::of_memory(std::string bytes, std::string name) {
  auto out = std::make_shared<Bytes>();
  out->memory_ = std::move(bytes);
  out->size_ = static_cast<int64_t>(out->memory_.size());
  out->name_ = std::move(name);
  return out;
}

Bytes::~Bytes() {
  if (fd_ >= 0) ::close(fd_);
}

int64_t Bytes::read(int64_t at, uint8_t* out, int64_t most) const {
  if (at >= size_) return 0;
  most = std::min(most, size_ - at);
  if (fd_ < 0) {
    std::memcpy(out, memory_.data() + at, static_cast<size_t>(most));
    return most;
  }
  ssize_t got;
  do got = ::pread(fd_, out, static_cast<size_t>(most), at);
  while (got < 0 && errno == EINTR);
  return std::max<ssize_t>(got, 0);
}

tl::unexpected<Error> no_memory_for_video(const std::string& name) {
  return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to read the video", name);
}

Result<std::unique_ptr<Demuxer>> Demuxer::open(const Ffmpeg& lib, std::shared_ptr<const Bytes> bytes) {
  std::unique_ptr<Demuxer> out(new Demuxer(lib, bytes->name()));
  out->bytes_ = std::move(bytes);
  TRY_STATUS(out->start());
  return out;
}

Result<std::unique_ptr<Demuxer>> Demuxer::open_live(const Ffmpeg& lib, const std::string& source,
                                                    std::chrono::milliseconds patience, std::function<bool()> stop) {
  std::unique_ptr<Demuxer> out(new Demuxer(lib, shown_source(source)));
  out->patience_ = patience;
  out->stop_ = std::move(stop);
  TRY_STATUS(out->start_live(source));
  return out;
}

Demuxer::~Demuxer() {
  lib_.avformat_close_input(&format_);
  if (io_) lib_.av_freep(&io_->buffer);
  lib_.avio_context_free(&io_);
}

bool Demuxer::read(AVPacket& packet) {
  deadline_ = Clock::now() + patience_;
  for (;;) {
    const int got = lib_.av_read_frame(format_, &packet);
    if (got == AVERROR(EAGAIN) && stop_ && has_to_end(this) == 0) {  // a camera that has no frame yet
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      continue;
    }
    if (got < 0) return false;
    if (packet.stream_index == stream_->index) return true;
    lib_.av_packet_unref(&packet);
  }
}

int Demuxer::read_bytes(void* self, uint8_t* out, int size) {
  auto& demuxer = *static_cast<Demuxer*>(self);
  const int64_t got = demuxer.bytes_->read(demuxer.at_, out, size);
  demuxer.at_ += got;
  return got > 0 ? static_cast<int>(got) : AVERROR_EOF;
}

int64_t Demuxer::seek_bytes(void* self, int64_t offset, int whence) {
  auto& demuxer = *static_cast<Demuxer*>(self);
  const int64_t size = demuxer.bytes_->size();
  if (whence & AVSEEK_SIZE) return size;
  whence &= ~AVSEEK_FORCE;
  const int64_t from = whence == SEEK_CUR ? demuxer.at_ : whence == SEEK_END ? size : 0;
  if (offset < -from || offset > INT64_MAX - from) return AVERROR(EINVAL);
  return demuxer.at_ = from + offset;
}

int Demuxer::has_to_end(void* self) {
  auto& demuxer = *static_cast<Demuxer*>(self);
  demuxer.given_up_ = demuxer.given_up_ || demuxer.stop_() || Clock::now() > demuxer.deadline_;
  return demuxer.given_up_ ? 1 : 0;
}

Status Demuxer::start() {
  format_ = lib_.avformat_alloc_context();
  auto* buffer = static_cast<unsigned char*>(lib_.av_malloc(kBufferBytes));
  io_ = buffer ? lib_.avio_alloc_context(buffer, kBufferBytes, 0, this, read_bytes, nullptr, seek_bytes) : nullptr;
  if (!io_) lib_.av_freep(static_cast<void*>(&buffer));
  if (!format_ || !io_) return no_memory_for_video(name_);
  format_->pb = io_;
  format_->flags |= AVFMT_FLAG_CUSTOM_IO;
  AVDictionary* options = nullptr;
  lib_.av_dict_set(&options, "format_whitelist", kContainers, 0);
  lib_.av_dict_set(&options, "protocol_whitelist", "", 0);
  const int opened = lib_.avformat_open_input(&format_, nullptr, nullptr, &options);  // frees format_ if it fails
  lib_.av_dict_free(&options);
  if (opened == AVERROR(ENOMEM)) return no_memory_for_video(name_);
  if (opened < 0)
    return bad_input(
        "{}: not a video, expected MP4, MOV, WebM, Matroska, AVI, MPEG, GIF or a stream of H.264, HEVC, "
        "AV1 or JPEG pictures",
        name_);
  return find_stream();
}

Status Demuxer::start_live(const std::string& source) {
  format_ = lib_.avformat_alloc_context();
  if (!format_) return no_memory_for_video(name_);
  format_->interrupt_callback = {.callback = has_to_end, .opaque = this};
  deadline_ = Clock::now() + patience_;
  const AVInputFormat* camera = nullptr;
  AVDictionary* options = nullptr;
  // Nobody asks for its rate, and what comes in the seconds in which it is reckoned would be shown late.
  lib_.av_dict_set(&options, "fpsprobesize", "0", 0);
  if (is_device(source)) {
    TRY(camera, camera_format(source));
    format_->flags |= AVFMT_FLAG_NONBLOCK;  // the driver would wait without asking whether to stop
  } else {
    lib_.av_dict_set(&options, "protocol_whitelist", kProtocols, 0);
    // Datagrams get lost, and with them half a picture; there are cameras that know nothing else.
    lib_.av_dict_set(&options, "rtsp_flags", "prefer_tcp", 0);
  }
  const int opened = lib_.avformat_open_input(&format_, source.c_str(), camera, &options);
  lib_.av_dict_free(&options);
  if (stop_()) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (opened == AVERROR(ENOMEM)) return no_memory_for_video(name_);
  if (opened < 0) {
    char reason[AV_ERROR_MAX_STRING_SIZE] = "";
    lib_.av_strerror(opened, reason, sizeof reason);
    return bad_input("{}: cannot be opened ({})", name_, opened == AVERROR_EXIT ? "no answer" : reason);
  }
  return find_stream();
}

Status Demuxer::find_stream() {
  // What RTSP says of its streams is enough to decode them. Reading ahead would keep pictures back, and show them late.
  if (format_->nb_streams == 0 || std::strcmp(format_->iformat->name, "rtsp") != 0)
    lib_.avformat_find_stream_info(format_, nullptr);
  bool sound = false;
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    AVStream& stream = *format_->streams[i];
    sound = sound || stream.codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
    const bool cover = (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
    if (!stream_ && stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !cover)
      stream_ = &stream;
    else
      stream.discard = AVDISCARD_ALL;
  }
  if (!stream_) return bad_input("{}: {}, expected a video", name_, sound ? "holds sound alone" : "holds no pictures");
  return {};
}

int orientation_of(const AVStream& stream) {
  const AVPacketSideData* found = nullptr;
#if LIBAVFORMAT_VERSION_MAJOR >= 61
  const AVPacketSideData* data = stream.codecpar->coded_side_data;
  const int count = stream.codecpar->nb_coded_side_data;
#else
  const AVPacketSideData* data = stream.side_data;
  const int count = stream.nb_side_data;
#endif
  for (int i = 0; i < count; ++i)
    if (data[i].type == AV_PKT_DATA_DISPLAYMATRIX && data[i].size >= 9 * sizeof(int32_t)) found = &data[i];
  if (!found) return 1;
  int32_t matrix[9];
  std::memcpy(matrix, found->data, sizeof matrix);
  return orientation_of_matrix(matrix);
}

Result<std::unique_ptr<Decoder>> Decoder::open(const Ffmpeg& lib, const Demuxer& demuxer, int64_t max_pixels,
                                               bool in_time) {
  const AVCodecParameters& parameters = *demuxer.stream().codecpar;
  const AVCodec* codec = lib.avcodec_find_decoder(parameters.codec_id);
  if (!codec)
    return bad_input("{}: no decoder for {} pictures on this machine", demuxer.name(),
                     lib.avcodec_get_name(parameters.codec_id));
  std::unique_ptr<Decoder> out(new Decoder(lib, demuxer, max_pixels));
  out->context_.reset(lib.avcodec_alloc_context3(codec));
  out->packet_.reset(lib.av_packet_alloc());
  out->frame_.reset(lib.av_frame_alloc());
  if (!out->context_ || !out->packet_ || !out->frame_) return no_memory_for_video(demuxer.name());
  lib.avcodec_parameters_to_context(out->context_.get(), &parameters);
  out->context_->pkt_timebase = demuxer.stream().time_base;
  out->context_->max_pixels = max_pixels;
  out->context_->thread_count = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads));
  if (in_time) out->context_->thread_type = FF_THREAD_SLICE;
  if (lib.avcodec_open2(out->context_.get(), codec, nullptr) < 0)
    return bad_input("{}: truncated or corrupt {} video", demuxer.name(), codec->name);
  return out;
}

const AVFrame* Decoder::next(Demuxer& demuxer, std::optional<int64_t> from) {
  for (;;) {
    lib_.av_frame_unref(frame_.get());
    const int got = lib_.avcodec_receive_frame(context_.get(), frame_.get());
    if (got >= 0) return frame_.get();
    if (got != AVERROR(EAGAIN) || ended_) return nullptr;
    if (!demuxer.read(*packet_)) {
      ended_ = true;
      lib_.avcodec_send_packet(context_.get(), nullptr);
      continue;
    }
    const bool skip = from && packet_->pts != AV_NOPTS_VALUE && packet_->pts < *from;
    context_->skip_frame = skip ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
    lib_.avcodec_send_packet(context_.get(), packet_.get());  // what is corrupt gives no frame
    lib_.av_packet_unref(packet_.get());
  }
}

void Decoder::forget() {
  lib_.avcodec_flush_buffers(context_.get());
  ended_ = false;
}

Result<Image> Decoder::to_image(const AVFrame& frame) {
  const int width = frame.width, height = frame.height;
  if (width < 1 || height < 1 || int64_t{width} * height > max_pixels_)
    return bad_input("{}: a frame of {}x{} pixels, expected at most {}", name_, width, height, max_pixels_);
  if (!prepare_scaler(frame)) return bad_input("{}: pixels of a kind that is not supported", name_);
  // Rows with room behind them: the library's kernels write in whole registers.
  const int stride = (width * 3 + 63) / 64 * 64 + 64;
  rows_.resize(static_cast<size_t>(stride) * static_cast<size_t>(height) + 64);
  uint8_t* const planes[4] = {rows_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {stride, 0, 0, 0};
  if (lib_.sws_scale(scaler_, frame.data, frame.linesize, 0, height, planes, strides) != height)
    return bad_input("{}: a frame could not be converted to RGB", name_);
  UprightWriter upright(width, height, orientation_);
  for (int y = 0; y < height; ++y) upright.append(rows_.data() + static_cast<size_t>(y) * static_cast<size_t>(stride));
  return upright.finish();
}

// Colours as the frame is marked, or as ITU-R BT.601; chroma where it is sampled, if it has to be interpolated.
bool Decoder::prepare_scaler(const AVFrame& frame) {
  // A file may mark its frames with any number, also one that the enumeration does not know.
  const auto mark = [](const auto& value) {
    static_assert(sizeof value == sizeof(int));
    int number = 0;
    std::memcpy(&number, &value, sizeof number);
    return number;
  };
  const Kind kind = {.width = frame.width,
                     .height = frame.height,
                     .format = frame.format,
                     .space = mark(frame.colorspace),
                     .range = mark(frame.color_range),
                     .place = mark(frame.chroma_location)};
  if (scaler_ && kind == kind_) return true;
  kind_ = kind;
  lib_.sws_freeContext(scaler_);
  scaler_ = lib_.sws_alloc_context();
  if (!scaler_) return false;
  const bool on_line = kind.place == AVCHROMA_LOC_TOPLEFT || kind.place == AVCHROMA_LOC_TOP;
  const bool centred = kind.place == AVCHROMA_LOC_CENTER || kind.place == AVCHROMA_LOC_TOP;
  const AVPixFmtDescriptor* pixels = lib_.av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  const bool sampled = pixels && (pixels->log2_chroma_w > 0 || pixels->log2_chroma_h > 0);
  constexpr int64_t kUnsaid = -513;
  for (const auto& [name, value] : {std::pair<const char*, int64_t>{"srcw", frame.width},
                                    {"srch", frame.height},
                                    {"src_format", frame.format},
                                    {"dstw", frame.width},
                                    {"dsth", frame.height},
                                    {"dst_format", AV_PIX_FMT_RGB24},
                                    {"sws_flags", SWS_BICUBIC},
                                    {"src_h_chr_pos", !sampled  ? kUnsaid
                                                      : centred ? 128
                                                                : 0},
                                    {"src_v_chr_pos", !sampled  ? kUnsaid
                                                      : on_line ? 0
                                                                : 128}})
    if (lib_.av_opt_set_int(scaler_, name, value, 0) < 0) return false;
  if (lib_.sws_init_context(scaler_, nullptr, nullptr) < 0) return false;
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const bool full = kind.range == AVCOL_RANGE_JPEG || format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P ||
                    format == AV_PIX_FMT_YUVJ444P || format == AV_PIX_FMT_YUVJ440P;
  // Refused where there is nothing to say, between kinds of RGB.
  lib_.sws_setColorspaceDetails(scaler_, lib_.sws_getCoefficients(kind.space), full ? 1 : 0,
                                lib_.sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
  return true;
}

}  // namespace onsight::media
