#include "text/token_mask.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace onsight::text {

Result<TokenMask> TokenMask::make(const JsonSchema& schema, std::shared_ptr<const TokenTrie> trie) {
  std::shared_ptr<const ByteGrammar> grammar = schema.grammar();
  if (trie->missing().any()) {  // no way may lead to a byte that cannot be written
    auto spelled = std::make_shared<ByteGrammar>(*grammar);
    spelled->finish(spelled->root(), trie->missing());
    grammar = std::move(spelled);
  }
  if (grammar->distance(grammar->begin(grammar->root())) >= ByteGrammar::kNever)
    return bad_input("the tokenizer's vocabulary has no tokens for any value of the schema");
  return TokenMask(std::move(grammar), std::move(trie));
}

TokenMask::TokenMask(std::shared_ptr<const ByteGrammar> grammar, std::shared_ptr<const TokenTrie> trie)
    : grammar_(std::move(grammar)), trie_(std::move(trie)), automaton_(grammar_), state_(automaton_.start()) {}

void TokenMask::restart() {
  state_ = automaton_.start();
  written_.clear();
}

void TokenMask::accept(int32_t token) {
  for (const char c : trie_->bytes_of(token)) {
    state_ = automaton_.next(state_, static_cast<uint8_t>(c));
    ONSIGHT_CHECK(state_ != Automaton::kDead);
  }
  written_ += trie_->bytes_of(token);
}

// Bounds the memory of long answers to wide schemas.
void TokenMask::forget() {
  automaton_ = Automaton(grammar_);
  masks_.clear();
  closing_.clear();
  state_ = automaton_.start();
  for (const char c : written_) state_ = automaton_.next(state_, static_cast<uint8_t>(c));
  closing(state_);
  most_states_ = automaton_.size() + kKeptStates;
  most_places_ = automaton_.places() + kKeptPlaces;
}

template <class Use>
void TokenMask::walk(const Use& use) {
  const std::span<const TokenTrie::Node> nodes = trie_->nodes();
  std::array<Automaton::State, ByteGrammar::kSight + 1> path;
  path[0] = state_;
  for (size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node& node = nodes[i];
    const Automaton::State to = automaton_.next(path[node.depth], node.byte);
    if (to == Automaton::kDead) {
      i = static_cast<size_t>(node.end);
      continue;
    }
    path[node.depth + size_t{1}] = to;
    use(to, i++);
  }
}

// Without a question whether there is a token, whose answer no processor foresees: a node without one has a bit behind
// the last token's.
void TokenMask::allow(std::vector<uint64_t>& bits, size_t node) const {
  const auto set = [&bits](int32_t token) { bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << token % 64; };
  set(trie_->nodes()[node].token);
  if (trie_->tokens_of(node).size() > 1)
    for (const int32_t token : trie_->tokens_of(node)) set(token);
}

void TokenMask::finish(std::vector<uint64_t>& bits) const {
  const auto behind = static_cast<size_t>(trie_->vocabulary_size());
  bits[behind / 64] &= ~(uint64_t{1} << behind % 64);
  if (!complete()) return;
  for (const int32_t token : trie_->end_tokens())
    if (token >= 0 && token < trie_->vocabulary_size())
      bits[static_cast<size_t>(token) / 64] |= uint64_t{1} << token % 64;
}

const TokenMask::Mask& TokenMask::mask_of_view() {
  const auto [entry, is_new] = masks_.try_emplace(automaton_.view(state_));
  Mask& mask = entry->second;
  if (!is_new) return mask;
  mask.bits.resize(narrow_.size());
  const int64_t here = automaton_.distance(state_);
  int64_t farthest = here;  // of a token's end or of a place on the way there: to tell them apart would cost more
  walk([&](Automaton::State to, size_t node) {
    allow(mask.bits, node);
    farthest = std::max(farthest, automaton_.distance(to));
  });
  mask.growth = farthest - here;
  finish(mask.bits);
  return mask;
}

std::span<const uint64_t> TokenMask::allowed(int64_t left) {
  if (automaton_.size() > most_states_ || automaton_.places() > most_places_ || masks_.size() > kKeptMasks) forget();
  narrow_.resize(static_cast<size_t>(trie_->vocabulary_size()) / 64 + 1);
  const Mask& mask = mask_of_view();
  // Each byte can be written as a token of its own.
  if (automaton_.distance(state_) + mask.growth < left) return mask.bits;
  std::fill(narrow_.begin(), narrow_.end(), 0);
  walk([&](Automaton::State to, size_t node) {
    if (!trie_->tokens_of(node).empty() && (automaton_.distance(to) < left || closing(to) < left)) allow(narrow_, node);
  });
  finish(narrow_);
  return narrow_;
}

// The least tokens that spell the shortest way to the end; the way from each state on it is the rest of that way, so
// that whoever takes the first of these tokens needs one less.
int64_t TokenMask::closing(Automaton::State state) {
  const auto known = [this](Automaton::State s) {
    return static_cast<size_t>(s) < closing_.size() ? closing_[static_cast<size_t>(s)] : -1;
  };
  if (known(state) >= 0) return known(state);
  if (automaton_.distance(state) > ByteGrammar::kLongest) return automaton_.distance(state);  // as single bytes
  std::vector<Automaton::State> way = {state};
  std::vector<uint8_t> bytes;
  size_t unknown = 1;  // the states of the way to compute; behind them as much as a token may reach
  while (automaton_.distance(way.back()) > 0 && (unknown == way.size() || way.size() < unknown + ByteGrammar::kSight)) {
    bytes.push_back(automaton_.closing_byte(way.back()));
    way.push_back(automaton_.next(way.back(), bytes.back()));
    if (unknown + 1 == way.size() && known(way.back()) < 0) ++unknown;
  }
  closing_.resize(automaton_.size(), -1);
  const std::span<const TokenTrie::Node> nodes = trie_->nodes();
  for (size_t i = unknown; i-- > 0;) {
    int64_t best = automaton_.distance(way[i]);
    size_t begin = 0, end = nodes.size();
    for (size_t at = i; at < bytes.size() && at - i < ByteGrammar::kSight; ++at) {
      while (begin < end && nodes[begin].byte != bytes[at]) begin = static_cast<size_t>(nodes[begin].end);
      if (begin == end) break;
      if (!trie_->tokens_of(begin).empty()) best = std::min(best, 1 + closing_[static_cast<size_t>(way[at + 1])]);
      end = static_cast<size_t>(nodes[begin].end);
      ++begin;
    }
    closing_[static_cast<size_t>(way[i])] = best;
  }
  return closing_[static_cast<size_t>(state)];
}

}  // namespace onsight::text
