// The tokenizer and the chat template that a GGUF file holds in its metadata: the same ids and the same prompt as those
// of the checkpoint folder that it was made from.
//
//   TRY(text::Tokenizer tokenizer, gguf_tokenizer(checkpoint.gguf().front()));
#pragma once

#include <map>
#include <string>

#include "base/file_source.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace onsight::models {

// What tokenizer.ggml.token_type says of a token.
inline constexpr int32_t kGgufNormal = 1, kGgufControl = 3, kGgufUserDefined = 4, kGgufUnused = 5;

// Byte-level BPE ("gpt2") with one of the pre-tokenizers smollm, gpt-2 and llama-bpe. Added tokens come without their
// strip and single-word properties, which GGUF does not keep.
Result<text::Tokenizer> gguf_tokenizer(const formats::GgufMetadata& metadata);

// tokenizer.chat_template, or the family's own where the file has none.
Result<text::ChatTemplate> gguf_chat_template(const formats::GgufMetadata& metadata, const text::Tokenizer& tokenizer);

// The same as a checkpoint folder has it: tokenizer.json, tokenizer_config.json and chat_template.jinja, by name.
Result<std::map<std::string, std::string>> gguf_tokenizer_files(const formats::GgufMetadata& metadata,
                                                                const text::Tokenizer& tokenizer);

// The other way: what a GGUF file says of a folder's tokenizer and chat template. `vocabulary` rows are filled up with
// unused tokens, `ends` are the ids that end an answer.
Result<formats::GgufValues> gguf_tokenizer_values(const FileSource& files, const text::Tokenizer& tokenizer,
                                                  int64_t vocabulary, std::vector<int32_t> ends);

}  // namespace onsight::models
