// Which frames of its videos a request wants looked at, in vLLM's words. The room's own.
//
//   {"media_io_kwargs": {"video": {"num_frames": 8}},             what its loader takes out of a file
//    "mm_processor_kwargs": {"fps": 2, "do_sample_frames": true}}  what its processor chooses of that
#pragma once

#include "media/video.h"
#include "server/fields.h"

namespace onsight::server::openai {

struct FrameChoice {
  media::ClipOptions file;  // of a video's file; without either field: as the model's checkpoint says
  // Of a list of pictures, which somebody has chosen already: so many of them, from the first on, at this rate, and of
  // these, without the processor's word, all.
  int64_t most_pictures = media::kHoweverMany;
  double picture_fps = 1;
  media::ClipOptions pictures;
};
Result<FrameChoice> read_frame_choice(const Fields& request);

}  // namespace onsight::server::openai
