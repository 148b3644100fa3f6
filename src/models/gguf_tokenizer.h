// The tokenizer and the chat template that a GGUF file holds in its metadata: the same ids and the same prompt as those
// of the checkpoint folder that it was made from.
//
//   TRY(text::Tokenizer tokenizer, gguf_tokenizer(checkpoint.gguf().front()));
#pragma once

#include <map>
#include <string>

#include "formats/gguf.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace onsight::models {

// Byte-level BPE ("gpt2") with one of the pre-tokenizers smollm, gpt-2 and llama-bpe. Added tokens come without their
// strip and single-word properties, which GGUF does not keep.
Result<text::Tokenizer> gguf_tokenizer(const formats::GgufMetadata& metadata);

// tokenizer.chat_template, or the family's own where the file has none.
Result<text::ChatTemplate> gguf_chat_template(const formats::GgufMetadata& metadata, const text::Tokenizer& tokenizer);

// The same as a checkpoint folder has it: tokenizer.json, tokenizer_config.json and chat_template.jinja, by name.
Result<std::map<std::string, std::string>> gguf_tokenizer_files(const formats::GgufMetadata& metadata,
                                                                const text::Tokenizer& tokenizer);

}  // namespace onsight::models
