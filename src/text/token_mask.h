// TokenMask: the tokens that an answer may go on with, so that it always comes to a whole value of a schema.
//
//   TRY(TokenMask mask, TokenMask::make(schema, trie));
//   if (mask.least_tokens() > max_tokens) return too_short;
//   while (!mask.ended()) {
//     int32_t token = sampler.next(logits, seen, mask.allowed(tokens_left));   // the end tokens too, where it may end
//     if (is_end(token)) break;
//     mask.accept(token);
//   }
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/automaton.h"
#include "text/json_schema.h"
#include "text/token_trie.h"

namespace onsight::text {

class TokenMask {
 public:
  // Refuses a schema of which the vocabulary can write no value.
  static Result<TokenMask> make(const JsonSchema& schema, std::shared_ptr<const TokenTrie> trie);

  // Back to an answer's begin; what was computed is kept.
  void restart();
  // One bit a token, in words of 64. `left` counts the tokens that may still be written, this one included; if it was
  // least_tokens() or more at the start, it suffices to the end.
  std::span<const uint64_t> allowed(int64_t left);
  void accept(int32_t token);
  // The value is whole; nothing need follow.
  bool complete() const { return automaton_.accepts(state_); }
  // The value is whole and nothing may follow.
  bool ended() const { return automaton_.ends(state_); }
  // How many tokens are enough to complete the value from here.
  int64_t least_tokens() { return closing(state_); }

 private:
  struct Mask {
    std::vector<uint64_t> bits;
    int64_t growth = 0;  // how much farther the end may be behind an allowed token than before it
  };
  static constexpr size_t kKeptStates = 50'000, kKeptPlaces = 2'000'000, kKeptMasks = 4'000;

  TokenMask(std::shared_ptr<const ByteGrammar> grammar, std::shared_ptr<const TokenTrie> trie);
  void forget();
  int64_t closing(Automaton::State state);
  const Mask& mask_of_view();
  // Calls use(state, node) for each node of the trie that the automaton reaches.
  template <class Use>
  void walk(const Use& use);
  void allow(std::vector<uint64_t>& bits, size_t node) const;
  // The end, where the value is whole.
  void finish(std::vector<uint64_t>& bits) const;

  std::shared_ptr<const ByteGrammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
  Automaton automaton_;
  Automaton::State state_;
  size_t most_states_ = kKeptStates, most_places_ = kKeptPlaces;
  std::string written_;
  std::unordered_map<int32_t, Mask> masks_;  // by view
  std::vector<uint64_t> narrow_;             // the mask near the end of the budget
  std::vector<int64_t> closing_;             // by state; -1: not known yet
};

}  // namespace onsight::text
