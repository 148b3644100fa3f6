// The settings of a SmolVLM, SmolVLM2 or Idefics3 model from the metadata that llama.cpp's converter writes.
#pragma once

#include <functional>

#include "formats/gguf.h"
#include "models/outline.h"
#include "models/smolvlm/config.h"
#include "text/tokenizer.h"

namespace onsight::models::smolvlm {

bool is_gguf_pair(const formats::GgufMetadata& text, const formats::GgufMetadata& projector);

// What GGUF does not keep is as in the published folders: pictures are split, resized with Lanczos and scaled by 1/255;
// the longest edge is four tiles where clip.vision.preproc_image_size is missing; <end_of_utterance> ends an answer.
// `has_tensor` tells a head of its own and biases, for which there are no keys.
Result<ConfigFiles> config_files_from_gguf(const formats::GgufMetadata& text, const formats::GgufMetadata& projector,
                                           const text::Tokenizer& tokenizer,
                                           const std::function<bool(std::string_view)>& has_tensor);

// The other way; what the files would say wrongly is refused.
Result<GgufDescription> describe_in_gguf(const Config& config, const FileSource& files,
                                         const text::Tokenizer& tokenizer);

}  // namespace onsight::models::smolvlm
