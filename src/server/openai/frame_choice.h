// Which frames of its videos a request wants looked at, in vLLM's words. The room's own.
//
//   {"media_io_kwargs": {"video": {"num_frames": 8}},             what its loader takes out of a file
//    "mm_processor_kwargs": {"fps": 2, "do_sample_frames": true}}  what its processor chooses of that
#pragma once

#include "media/video.h"
#include "server/fields.h"

namespace onsight::server::openai {

// Without either: as the model's checkpoint says.
Result<media::ClipOptions> read_frame_choice(const Fields& request);

}  // namespace onsight::server::openai
