// Inside the room: FFmpeg's libraries, opened when they are first needed. A program that never sees a video neither
// loads them nor needs them: they and what they depend on are over a hundred files.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include "base/result.h"

namespace onsight::media {

#define ONSIGHT_AVUTIL(X) \
  X(av_dict_free)         \
  X(av_dict_set)          \
  X(av_frame_alloc)       \
  X(av_frame_free)        \
  X(av_frame_unref)       \
  X(av_freep)             \
  X(av_log_set_level)     \
  X(av_malloc)            \
  X(av_opt_set_int)       \
  X(av_pix_fmt_desc_get)  \
  X(av_strerror)
#define ONSIGHT_AVCODEC(X)         \
  X(av_packet_alloc)               \
  X(av_packet_free)                \
  X(av_packet_unref)               \
  X(avcodec_alloc_context3)        \
  X(avcodec_find_decoder)          \
  X(avcodec_flush_buffers)         \
  X(avcodec_free_context)          \
  X(avcodec_get_name)              \
  X(avcodec_open2)                 \
  X(avcodec_parameters_to_context) \
  X(avcodec_receive_frame)         \
  X(avcodec_send_packet)
#define ONSIGHT_AVFORMAT(X)    \
  X(av_find_input_format)      \
  X(av_read_frame)             \
  X(av_seek_frame)             \
  X(avformat_alloc_context)    \
  X(avformat_close_input)      \
  X(avformat_find_stream_info) \
  X(avformat_open_input)       \
  X(avio_alloc_context)        \
  X(avio_context_free)
#define ONSIGHT_SWSCALE(X) \
  X(sws_alloc_context)     \
  X(sws_freeContext)       \
  X(sws_getCoefficients)   \
  X(sws_init_context)      \
  X(sws_scale)             \
  X(sws_setColorspaceDetails)

// The functions that are used, by their own names: ffmpeg.av_read_frame(…).
struct Ffmpeg {
#define ONSIGHT_MEMBER(name) decltype(&::name) name = nullptr;  // NOLINT(bugprone-macro-parentheses): a declaration
  ONSIGHT_AVUTIL(ONSIGHT_MEMBER)
  ONSIGHT_AVCODEC(ONSIGHT_MEMBER)
  ONSIGHT_AVFORMAT(ONSIGHT_MEMBER)
  ONSIGHT_SWSCALE(ONSIGHT_MEMBER)
#undef ONSIGHT_MEMBER
};

// The libraries of the version that this program was built with; the same for the life of the process.
Result<const Ffmpeg*> ffmpeg();

// The input of cameras, which is in a library of its own; null where that is not there. After ffmpeg().
const AVInputFormat* camera_input();

}  // namespace onsight::media
