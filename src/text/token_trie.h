// TokenTrie: the tokens of a vocabulary by their bytes. Made once a model.
//
//   auto trie = std::make_shared<const TokenTrie>(tokenizer, vocabulary_size, end_tokens);
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace onsight::text {

class TokenTrie {
 public:
  // Special tokens, and those of over ByteGrammar::kSight bytes, are left out.
  TokenTrie(const Tokenizer& tokenizer, int32_t vocabulary_size, std::span<const int32_t> end_tokens);

  // In the order of a walk that goes deep first; a node's children follow it.
  struct Node {
    int32_t end;          // behind its last descendant
    int32_t first_token;  // its tokens are tokens()[first_token .. first_token of the next node)
    int32_t token;        // the first of them; where there is none, vocabulary_size()
    uint8_t depth;        // of the byte: 0 is a token's first
    uint8_t byte;
  };
  std::span<const Node> nodes() const { return std::span(nodes_).first(nodes_.size() - 1); }
  std::span<const int32_t> tokens_of(size_t node) const {
    return std::span(tokens_).subspan(static_cast<size_t>(nodes_[node].first_token),
                                      static_cast<size_t>(nodes_[node + 1].first_token - nodes_[node].first_token));
  }
  std::string_view bytes_of(int32_t token) const { return spellings_[static_cast<size_t>(token)]; }
  int32_t vocabulary_size() const { return vocabulary_size_; }
  std::span<const int32_t> end_tokens() const { return end_tokens_; }
  // Bytes that no token stands for alone.
  const std::bitset<256>& missing() const { return missing_; }

 private:
  int32_t vocabulary_size_;
  std::vector<int32_t> end_tokens_;
  std::vector<std::string> spellings_;  // empty: left out
  std::vector<Node> nodes_;             // and one behind the last
  std::vector<int32_t> tokens_;
  std::bitset<256> missing_;
};

}  // namespace onsight::text
