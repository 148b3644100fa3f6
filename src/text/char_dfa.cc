#include "text/char_dfa.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "text/utf8.h"

namespace onsight::text {
namespace {

constexpr uint32_t kLast = 0x10ffff;

// Each state's steps on a code and what they cost to keep and to write.
constexpr uint64_t kStepsPerDfaEdge = 20, kStepsPerDfaState = 60;

// Edges to the children, and to `other` for all other codes.
void add_edges(CharDfa::State& state, const std::map<uint32_t, int32_t>& children, int32_t other) {
  uint32_t first = 0;
  for (const auto& [code, to] : children) {
    if (code > first) state.edges.push_back({first, code - 1, other});
    state.edges.push_back({code, code, to});
    first = code + 1;
  }
  if (first <= kLast) state.edges.push_back({first, kLast, other});
}

struct ByteRangeOf {
  uint8_t first, last;
  bool operator<(const ByteRangeOf& o) const { return std::tie(first, last) < std::tie(o.first, o.last); }
};
using Sequence = std::vector<ByteRangeOf>;

// Writes the code points of JSON strings as bytes, sharing the tails of their sequences.
class StringWriter {
 public:
  explicit StringWriter(ByteGrammar& grammar) : grammar_(grammar) {}

  void add(ByteGrammar::State from, ByteGrammar::State& escape, uint32_t first, uint32_t last, ByteGrammar::State to) {
    static constexpr std::pair<uint32_t, char> kEscapes[] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                                             {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
    for (const auto& [code, letter] : kEscapes) {
      if (code < first || code > last) continue;
      if (escape < 0) escape = grammar_.literal(from, "\\");
      grammar_.byte(escape, letter, to);
    }
    // Ranges whose sequences have one length and, but for the last byte, whole ranges of continuation bytes.
    static constexpr std::pair<uint32_t, uint32_t> kRaw[] = {
        {0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, kLast}};
    for (const auto& [low, high] : kRaw)
      if (low <= last && first <= high) split(from, std::max(first, low), std::min(last, high), to);
  }

 private:
  void split(ByteGrammar::State from, uint32_t first, uint32_t last, ByteGrammar::State to) {
    const int more = first < 0x80 ? 0 : first < 0x800 ? 1 : first < 0x10000 ? 2 : 3;
    for (int i = 1; i <= more; ++i) {
      const uint32_t low = (1u << 6 * i) - 1;
      if ((first & ~low) == (last & ~low)) continue;
      if (first & low) {
        split(from, first, first | low, to);
        return split(from, (first | low) + 1, last, to);
      }
      if ((last & low) != low) {
        split(from, first, (last & ~low) - 1, to);
        return split(from, last & ~low, last, to);
      }
    }
    std::string a, b;
    append_utf8(a, first);
    append_utf8(b, last);
    Sequence sequence;
    for (size_t i = 0; i < a.size(); ++i) sequence.push_back({static_cast<uint8_t>(a[i]), static_cast<uint8_t>(b[i])});
    write(from, sequence, to);
  }

  void write(ByteGrammar::State from, const Sequence& sequence, ByteGrammar::State to) {
    const Sequence tail(sequence.begin() + 1, sequence.end());
    ByteGrammar::State next = to;
    if (!tail.empty()) {
      const auto [entry, is_new] = tails_.try_emplace({to, tail}, -1);
      if (is_new) {
        entry->second = next = grammar_.add_state();
        write(next, tail, to);
      }
      next = tails_.at({to, tail});
    }
    grammar_.bytes(from, sequence[0].first, sequence[0].last, next);
  }

  ByteGrammar& grammar_;
  std::map<std::pair<ByteGrammar::State, Sequence>, ByteGrammar::State> tails_;
};

}  // namespace

bool CharDfa::matches(std::string_view utf8) const {
  int32_t state = 0;
  for (const char* p = utf8.data(); p < utf8.data() + utf8.size();) {
    const uint32_t code = next_code_point(p);
    const auto& edges = states[static_cast<size_t>(state)].edges;
    const auto edge = std::lower_bound(edges.begin(), edges.end(), code,
                                       [](const Edge& e, uint32_t wanted) { return e.last < wanted; });
    if (edge == edges.end() || code < edge->first) return false;
    state = edge->to;
  }
  return states[static_cast<size_t>(state)].accepts;
}

CharDfa texts_of_length(uint64_t min, std::optional<uint64_t> max) {
  CharDfa out;
  const uint64_t last = max.value_or(min), sight = ByteGrammar::kSight;
  for (uint64_t i = 0; i <= last; ++i) {
    CharDfa::State& state = out.states.emplace_back();
    state.accepts = i >= min;
    if (i < last || !max) state.edges.push_back({0, kLast, static_cast<int32_t>(std::min(i + 1, last))});
    const bool far_from_max = !max || *max > i + sight;
    if (far_from_max && min > i + sight) state.like = 0;
    if (far_from_max && i >= min) state.like = static_cast<int32_t>(min);
  }
  return out;
}

std::optional<CharDfa> texts_other_than(const std::vector<std::string>& names, WorkBudget& work) {
  CharDfa out;
  out.states.resize(2);  // the start, and "differs already"
  out.states[0].accepts = out.states[1].accepts = true;
  std::vector<std::map<uint32_t, int32_t>> children(2);
  for (const std::string& name : names) {
    if (!work.spend(name.size() * (kStepsPerDfaState + 3 * kStepsPerDfaEdge))) return std::nullopt;
    int32_t at = 0;
    for (const char* p = name.data(); p < name.data() + name.size();) {
      const auto [entry, is_new] =
          children[static_cast<size_t>(at)].try_emplace(next_code_point(p), static_cast<int32_t>(out.states.size()));
      at = entry->second;
      if (!is_new) continue;
      out.states.emplace_back().accepts = true;
      children.emplace_back();
    }
    out.states[static_cast<size_t>(at)].accepts = false;
  }
  for (size_t i = 0; i < out.states.size(); ++i) add_edges(out.states[i], children[i], 1);
  return out;
}

std::optional<CharDfa> intersect(const CharDfa& a, const CharDfa& b, WorkBudget& work) {
  CharDfa out;
  std::map<std::pair<int32_t, int32_t>, int32_t> ids;
  std::vector<std::pair<int32_t, int32_t>> pairs;
  const auto id_of = [&](int32_t x, int32_t y) {
    const auto [entry, is_new] = ids.try_emplace({x, y}, static_cast<int32_t>(pairs.size()));
    if (is_new) pairs.emplace_back(x, y);
    return entry->second;
  };
  id_of(0, 0);
  // What one of the two looks like, the pair looks like beside the same other.
  std::map<std::pair<int32_t, int32_t>, int32_t> like_a, like_b;
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (pairs.size() > CharDfa::kMaxStates || !work.spend(kStepsPerDfaState)) return std::nullopt;
    const CharDfa::State &x = a.states[static_cast<size_t>(pairs[i].first)],
                         &y = b.states[static_cast<size_t>(pairs[i].second)];
    CharDfa::State state;
    state.accepts = x.accepts && y.accepts;
    const auto id = static_cast<int32_t>(i);
    if (x.like >= 0) state.like = like_a.try_emplace({x.like, pairs[i].second}, id).first->second;
    if (x.like < 0 && y.like >= 0) state.like = like_b.try_emplace({pairs[i].first, y.like}, id).first->second;
    for (auto p = x.edges.begin(), q = y.edges.begin(); p != x.edges.end() && q != y.edges.end();) {
      if (p->first <= q->last && q->first <= p->last)
        state.edges.push_back({std::max(p->first, q->first), std::min(p->last, q->last), id_of(p->to, q->to)});
      if (p->last < q->last)
        ++p;
      else
        ++q;
    }
    work.spend(kStepsPerDfaEdge * (x.edges.size() + y.edges.size()));
    out.states.push_back(std::move(state));
  }
  return out;
}

void add_string_bytes(ByteGrammar& grammar, ByteGrammar::State from, const CharDfa& texts, ByteGrammar::State to) {
  std::vector<ByteGrammar::State> places;
  for (size_t i = 0; i < texts.states.size(); ++i) places.push_back(grammar.add_state());
  grammar.skip(from, places[0]);
  StringWriter writer(grammar);
  for (size_t i = 0; i < texts.states.size() && !grammar.too_large(); ++i) {
    const CharDfa::State& state = texts.states[i];
    ByteGrammar::State escape = -1;
    for (const CharDfa::Edge& edge : state.edges)
      writer.add(places[i], escape, edge.first, edge.last, places[static_cast<size_t>(edge.to)]);
    if (state.accepts) grammar.skip(places[i], to);
    if (state.like >= 0) grammar.looks_like(places[i], places[static_cast<size_t>(state.like)]);
  }
}

}  // namespace onsight::text
