// Tokenizer: byte-level BPE as tokenizer.json describes it; the same ids as the `tokenizers` package.
//
//   TRY(Tokenizer tokenizer, Tokenizer::load(folder));
//   std::vector<int32_t> ids = tokenizer.encode("Hello <image>");                        // "<image>" stays text
//   std::vector<int32_t> ids = tokenizer.encode("Hello <image>", SpecialTokens::kParse);   // "<image>" is one token
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_source.h"
#include "base/result.h"

namespace onsight::text {

struct TokenizerFile;

enum class SpecialTokens { kAsText, kParse };

// A byte range [begin, end) of a string.
struct ByteRange {
  size_t begin = 0, end = 0;
};

class Tokenizer {
 public:
  // Reads tokenizer.json of a checkpoint (and tokenizer_config.json where it matters). Refuses a model,
  // pre-tokeniser, normaliser or decoder that is not supported, by name.
  static Result<Tokenizer> load(const FileSource& files);
  static Result<Tokenizer> from_json(std::string_view tokenizer_json, std::string_view where);
  // What another container holds in place of that file; see tokenizer_file.h.
  static Result<Tokenizer> from_file(TokenizerFile file, std::string_view where);

  // Text is any bytes; invalid UTF-8 is replaced by U+FFFD, as Python's decode(errors="replace") does.
  std::vector<int32_t> encode(std::string_view text, SpecialTokens special = SpecialTokens::kAsText) const;
  // As kParse, but no special (added) token is recognised where it would touch one of `literal` (sorted byte ranges of
  // text that a user typed); all else, pre-tokenisation included, runs across the borders of the ranges.
  std::vector<int32_t> encode(std::string_view text, std::span<const ByteRange> literal) const;

  // What the post-processor puts around a whole text (transformers' add_special_tokens=True); encode() never adds it.
  std::span<const int32_t> tokens_before() const;
  std::span<const int32_t> tokens_after() const;

  // The bytes that a token stands for: not always valid UTF-8 alone. Special tokens give their content.
  std::string_view token_bytes(int32_t id) const;
  bool is_special(int32_t id) const;  // "special": true in added_tokens
  // As tokenizers' decode(ids, skip_special_tokens): bytes joined, invalid UTF-8 replaced by U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;
  std::optional<int32_t> token_to_id(
      std::string_view token) const;  // of an added token or a vocabulary entry, as written in tokenizer.json
  int32_t vocabulary_size() const;    // 1 + the largest id
  // No token of a text takes in more of its bytes, so that a text of n has at least n / this; 0 if that cannot be said.
  size_t longest_token() const;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

}  // namespace onsight::text
