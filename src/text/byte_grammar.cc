#include "text/byte_grammar.h"

#include <algorithm>
#include <queue>

namespace onsight::text {
namespace {

bool all_missing(const ByteGrammar::Edge& edge, const std::bitset<256>& missing) {
  for (int value = edge.first; value <= edge.last; ++value)
    if (!missing[static_cast<size_t>(value)]) return false;
  return true;
}

}  // namespace

ByteGrammar::NewRule ByteGrammar::add_rule() {
  const NewRule rule{static_cast<Rule>(rules_.size()), add_state(), add_state()};
  states_[static_cast<size_t>(rule.end)].ends = true;
  rules_.push_back(rule);
  return rule;
}

ByteGrammar::State ByteGrammar::add_state() {
  if (states_.size() >= kMaxStates) {
    too_large_ = true;
    return 0;
  }
  const State state = static_cast<State>(states_.size());
  states_.push_back({state});
  return state;
}

void ByteGrammar::add_edge(const Edge& edge) {
  if (edges_.size() >= kMaxEdges) too_large_ = true;
  if (!too_large_) edges_.push_back(edge);
}

void ByteGrammar::bytes(State from, uint8_t first, uint8_t last, State to) {
  add_edge({from, to, 0, Kind::kBytes, first, last});
}

ByteGrammar::State ByteGrammar::literal(State from, std::string_view text) {
  for (const char c : text) {
    const State to = add_state();
    byte(from, c, to);
    from = to;
  }
  return from;
}

void ByteGrammar::skip(State from, State to) { add_edge({from, to, 0, Kind::kSkip, 0, 0}); }
void ByteGrammar::call(State from, Rule rule, State to) { add_edge({from, to, rule, Kind::kCall, 0, 0}); }

// Knuth's generalisation of Dijkstra's algorithm: a call costs what its rule and its way back cost together.
void ByteGrammar::measure(const std::bitset<256>& missing) {
  const size_t n = states_.size();
  std::vector<Rule> begins(n, -1);
  for (const NewRule& rule : rules_) begins[static_cast<size_t>(rule.begin)] = rule.rule;
  // Edges by the state, and calls also by the rule, whose distance they wait for.
  const auto lists_by = [this, &missing](size_t count, const auto& key) {
    std::pair<std::vector<uint32_t>, std::vector<uint32_t>> out;  // where each list begins, and all of them
    out.first.assign(count + 1, 0);
    const auto each = [&](const auto& use) {
      for (uint32_t i = 0; i < edges_.size(); ++i)
        if (edges_[i].kind != Kind::kBytes || !all_missing(edges_[i], missing))
          if (const int32_t list = key(edges_[i]); list >= 0) use(static_cast<size_t>(list), i);
    };
    each([&](size_t list, uint32_t) { ++out.first[list]; });
    for (size_t i = 1; i <= count; ++i) out.first[i] += out.first[i - 1];
    out.second.resize(out.first[count]);
    each([&](size_t list, uint32_t i) { out.second[--out.first[list]] = i; });
    return out;
  };
  const auto into = lists_by(n, [](const Edge& edge) { return edge.to; });
  const auto calls =
      lists_by(rules_.size(), [](const Edge& edge) { return edge.kind == Kind::kCall ? edge.rule : -1; });
  distances_.assign(n, kNever);
  using Entry = std::pair<int64_t, State>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  const auto reach = [&](State state, int64_t distance) {
    int64_t& known = distances_[static_cast<size_t>(state)];
    distance = std::min(distance, kNever - 1);
    if (distance >= known) return;
    known = distance;
    queue.push({distance, state});
  };
  for (size_t i = 0; i < n; ++i)
    if (states_[i].ends) reach(static_cast<State>(i), 0);
  const auto relax = [&](uint32_t i) {
    const Edge& edge = edges_[i];
    const int64_t rest = distance(edge.to);
    const int64_t step = edge.kind == Kind::kCall ? distance(begin(edge.rule)) : edge.kind == Kind::kBytes ? 1 : 0;
    if (rest < kNever && step < kNever) reach(edge.from, rest + step);
  };
  while (!queue.empty()) {
    const auto [at, state] = queue.top();
    queue.pop();
    if (at > distance(state)) continue;
    const auto relax_all = [&](const auto& lists, int32_t list) {
      for (uint32_t i = lists.first[static_cast<size_t>(list)]; i < lists.first[static_cast<size_t>(list) + 1]; ++i)
        relax(lists.second[i]);
    };
    relax_all(into, state);
    if (const Rule rule = begins[static_cast<size_t>(state)]; rule >= 0) relax_all(calls, rule);
  }
  least_bytes_.clear();
  for (const NewRule& rule : rules_) least_bytes_.push_back(distance(rule.begin));
  for (int64_t& distance : distances_)
    if (distance > kLongest) distance = kNever;
}

// By the state that they leave; those of one state stay in their order.
void ByteGrammar::sort_edges() {
  first_.assign(states_.size() + 1, 0);
  for (const Edge& edge : edges_) ++first_[static_cast<size_t>(edge.from) + 1];
  for (size_t i = 0; i < states_.size(); ++i) first_[i + 1] += first_[i];
  std::vector<uint32_t> next = first_;
  std::vector<Edge> sorted(edges_.size());
  for (const Edge& edge : edges_) sorted[next[static_cast<size_t>(edge.from)]++] = edge;
  edges_ = std::move(sorted);
}

void ByteGrammar::finish(Rule root, const std::bitset<256>& missing) {
  root_ = root;
  measure(missing);
  const auto dead = [&](const Edge& edge) {
    return distance(edge.to) >= kNever || (edge.kind == Kind::kCall && distance(begin(edge.rule)) >= kNever);
  };
  std::vector<Edge> live;
  live.reserve(edges_.size());
  std::bitset<257> borders;  // where a class of bytes begins
  const auto keep = [&](Edge edge, int first, int last) {
    edge.first = static_cast<uint8_t>(first);
    edge.last = static_cast<uint8_t>(last);
    borders.set(static_cast<size_t>(first)).set(static_cast<size_t>(last) + 1);
    live.push_back(edge);
  };
  for (const Edge& edge : edges_) {
    if (dead(edge)) continue;
    if (edge.kind != Kind::kBytes) {
      live.push_back(edge);
      continue;
    }
    for (int value = edge.first; value <= edge.last;) {
      int end = value;
      while (end <= edge.last && !missing[static_cast<size_t>(end)]) ++end;
      if (end > value) keep(edge, value, end - 1);
      value = end + 1;
    }
  }
  edges_ = std::move(live);
  sort_edges();
  byte_classes_ = 0;
  for (size_t value = 0; value < 256; ++value) {
    if (value > 0 && borders[value]) ++byte_classes_;
    class_of_[value] = byte_classes_;
  }
  ++byte_classes_;
}

}  // namespace onsight::text
