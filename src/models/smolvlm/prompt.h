// Messages and pictures become token ids, exactly as SmolVLMProcessor builds them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/model.h"
#include "models/smolvlm/config.h"

namespace onsight::models::smolvlm {

// The text that stands for one picture: rows and columns of its tiles, 0 and 0 if it was not split.
std::string picture_text(const ImageTokens& tokens, int rows, int columns, int64_t tokens_per_tile);

class PromptBuilder {
 public:
  // Verifies that tokenizer and config agree: the image token's id, and no id beyond the embedding.
  static Result<PromptBuilder> load(const FileSource& files, const Config& config);
  // The same from parts that were read elsewhere; `where` is the tokenizer's place.
  static Result<PromptBuilder> make(text::Tokenizer tokenizer, text::ChatTemplate chat, const Config& config,
                                    std::string_view where);
  Result<Prompt> build(const std::vector<text::ChatMessage>& messages, const Attachments& attachments,
                       const Config& config) const;
  const text::Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  PromptBuilder(text::Tokenizer tokenizer, text::ChatTemplate chat)
      : tokenizer_(std::move(tokenizer)), template_(std::move(chat)) {}
  text::Tokenizer tokenizer_;
  text::ChatTemplate template_;
};

}  // namespace onsight::models::smolvlm
