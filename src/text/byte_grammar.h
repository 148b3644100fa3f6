// ByteGrammar: which bytes may follow one another. Rules of states; an edge takes a byte, calls a rule, or takes
// nothing.
//
//   ByteGrammar grammar;                                             // lists = "[" lists "]" | ""
//   auto [rule, begin, end] = grammar.add_rule();
//   grammar.skip(begin, end);
//   auto open = grammar.literal(begin, "["), close = grammar.add_state();
//   grammar.call(open, rule, close);
//   grammar.skip(grammar.literal(close, "]"), end);
//   grammar.finish(rule);                                            // then Automaton (automaton.h) walks it
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

namespace onsight::text {

class ByteGrammar {
 public:
  using State = int32_t;
  using Rule = int32_t;
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max() / 4;
  static constexpr size_t kMaxStates = size_t{1} << 19, kMaxEdges = kMaxStates * 4;

  // Values that take more bytes at least are not written.
  static constexpr int64_t kLongest = 1 << 16;

  // How far looks_like() looks: tokens of more bytes are not used.
  static constexpr size_t kSight = 32;

  struct NewRule {
    Rule rule;
    State begin, end;
  };
  NewRule add_rule();
  State add_state();
  void bytes(State from, uint8_t first, uint8_t last, State to);
  void byte(State from, char value, State to) {
    bytes(from, static_cast<uint8_t>(value), static_cast<uint8_t>(value), to);
  }
  State literal(State from, std::string_view text);  // the state behind it
  void skip(State from, State to);
  void call(State from, Rule rule, State to);
  // Says that `state` allows and forbids the same as `like` for the next kSight bytes.
  void looks_like(State state, State like) { states_[static_cast<size_t>(state)].like = like; }
  // More than kMaxStates or kMaxEdges were asked for; what came after is lost.
  bool too_large() const { return too_large_; }
  size_t size() const { return states_.size(); }

  // Counts how far each state is from its rule's end, and forgets edges from which no end can be reached or only one
  // beyond kLongest, and those that take a byte of `missing`. May be called again, with more of these.
  void finish(Rule root, const std::bitset<256>& missing = {});

  enum class Kind : uint8_t { kBytes, kSkip, kCall };
  struct Edge {
    State from, to;
    Rule rule;  // of a call
    Kind kind;
    uint8_t first, last;
  };
  Rule root() const { return root_; }
  State begin(Rule rule) const { return rules_[static_cast<size_t>(rule)].begin; }
  bool ends(State state) const { return states_[static_cast<size_t>(state)].ends; }
  State like(State state) const { return states_[static_cast<size_t>(state)].like; }
  // The least bytes of a rule's values, kLongest or not (kNever - 1: that or more); kNever: there are none.
  int64_t least_bytes(Rule rule) const { return least_bytes_[static_cast<size_t>(rule)]; }
  // The least bytes from here to the end of the rule; kNever: it cannot be reached.
  int64_t distance(State state) const { return distances_[static_cast<size_t>(state)]; }
  std::span<const Edge> edges(State state) const {
    return std::span(edges_).subspan(first_[static_cast<size_t>(state)],
                                     first_[static_cast<size_t>(state) + 1] - first_[static_cast<size_t>(state)]);
  }
  // Bytes of one class stand on the same edges everywhere.
  int byte_classes() const { return byte_classes_; }
  int byte_class(uint8_t value) const { return class_of_[value]; }

 private:
  struct StateInfo {
    State like;
    bool ends = false;
  };
  void add_edge(const Edge& edge);
  void measure(const std::bitset<256>& missing);
  void sort_edges();

  std::vector<StateInfo> states_;
  std::vector<NewRule> rules_;
  std::vector<Edge> edges_;
  std::vector<uint32_t> first_;  // of each state's edges
  std::vector<int64_t> distances_, least_bytes_;
  std::array<int, 256> class_of_{};
  int byte_classes_ = 0;
  Rule root_ = 0;
  bool too_large_ = false;
};

}  // namespace onsight::text
