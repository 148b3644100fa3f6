// AddedTokens: finds the tokens of "added_tokens" in text, before anything else cuts it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace onsight::text {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false, single_word = false, lstrip = false, rstrip = false;
  bool normalized = false;  // found only after all those that are not
};

class AddedTokens {
 public:
  struct Match {
    size_t begin = 0, end = 0;
    int32_t id = 0;
  };

  // Contents are not empty and all different; found in order of position, the longest first.
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  const std::vector<AddedToken>& all() const { return tokens_; }
  const AddedToken* by_content(std::string_view content) const;
  const AddedToken* by_id(int32_t id) const;

  // The matches in `text` (valid UTF-8), in order. With kAsText special tokens are passed over as the package does. No
  // match touches a range of `literal`, but white space there may be swallowed by a token's lstrip or rstrip.
  std::vector<Match> find(std::string_view text, SpecialTokens special, std::span<const ByteRange> literal) const;

 private:
  // The sorted contents of one pass, narrowed byte by byte: a trie without nodes.
  struct Pass {
    std::vector<uint32_t> sorted;            // indices into tokens_
    std::array<uint32_t, 257> first_byte{};  // where the contents starting with each byte begin in `sorted`
  };

  void find_in(const Pass& pass, std::string_view text, size_t begin, size_t end, SpecialTokens special,
               std::span<const ByteRange> literal, std::vector<Match>& out) const;
  const AddedToken* longest_at(const Pass& pass, std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<uint32_t> by_id_;       // indices, sorted by id
  std::vector<uint32_t> by_content_;  // indices, sorted by content
  Pass exact_, normalized_;
};

}  // namespace onsight::text
