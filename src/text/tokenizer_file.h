// TokenizerFile: what tokenizer.json says, read in one pass. The vocabulary and the merges, nearly all of the file,
// never become JSON values; that keeps loading short.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/file_source.h"
#include "base/json.h"
#include "base/result.h"
#include "text/added_tokens.h"
#include "text/string_table.h"

namespace onsight::text {

struct TokenizerFile {
  Json rest;               // the document without model.vocab and model.merges
  StringTable vocabulary;  // token → id
  std::string merge_text;  // the tokens of all merges, one after the other
  struct Merge {
    uint32_t left_size, right_size;
  };
  std::vector<Merge> merges;
  bool has_vocabulary = false, has_merges = false;

  static Result<TokenizerFile> parse(std::string_view json, std::string_view where);
};

inline constexpr int64_t kMaxTokenId = 10'000'000;

// The tokens that a checkpoint's other files name, as transformers reads them.
struct SpecialTokenFiles {
  // bos_token, eos_token, … : {name, content}; the standard ones, which chat templates see as variables.
  std::vector<std::pair<std::string, std::string>> named;
  // What must be among the added tokens: their properties, or just their contents.
  std::vector<AddedToken> added;       // added_tokens_decoder, sorted by id
  std::vector<AddedToken> if_missing;  // the others

  // tokenizer_config.json and special_tokens_map.json; either may be missing.
  static Result<SpecialTokenFiles> load(const FileSource& files);
};

// An added token written as an object; "id" is read if `with_id`.
Result<AddedToken> read_added_token(const JsonView& view, bool with_id);

}  // namespace onsight::text
