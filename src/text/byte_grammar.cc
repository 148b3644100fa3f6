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
  std::vector<std::vector<uint32_t>> into(n), calls(rules_.size());
  for (uint32_t i = 0; i < edges_.size(); ++i) {
    const Edge& edge = edges_[i];
    if (edge.kind == Kind::kBytes && all_missing(edge, missing)) continue;
    into[static_cast<size_t>(edge.to)].push_back(i);
    if (edge.kind == Kind::kCall) calls[static_cast<size_t>(edge.rule)].push_back(i);
  }
  distances_.assign(n, kNever);
  using Entry = std::pair<int64_t, State>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  const auto reach = [&](State state, int64_t distance) {
    int64_t& known = distances_[static_cast<size_t>(state)];
    if (distance >= known || distance >= kNever) return;
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
    for (const uint32_t i : into[static_cast<size_t>(state)]) relax(i);
    if (const Rule rule = begins[static_cast<size_t>(state)]; rule >= 0)
      for (const uint32_t i : calls[static_cast<size_t>(rule)]) relax(i);
  }
}

void ByteGrammar::finish(Rule root, const std::bitset<256>& missing) {
  root_ = root;
  measure(missing);
  live_.clear();
  const auto dead = [&](const Edge& edge) {
    return distance(edge.to) >= kNever || (edge.kind == Kind::kCall && distance(begin(edge.rule)) >= kNever);
  };
  std::bitset<257> borders;  // where a class of bytes begins
  const auto keep = [&](Edge edge, int first, int last) {
    edge.first = static_cast<uint8_t>(first);
    edge.last = static_cast<uint8_t>(last);
    borders.set(static_cast<size_t>(first)).set(static_cast<size_t>(last) + 1);
    live_.push_back(edge);
  };
  for (const Edge& edge : edges_) {
    if (dead(edge)) continue;
    if (edge.kind != Kind::kBytes) {
      live_.push_back(edge);
      continue;
    }
    for (int value = edge.first; value <= edge.last;) {
      int end = value;
      while (end <= edge.last && !missing[static_cast<size_t>(end)]) ++end;
      if (end > value) keep(edge, value, end - 1);
      value = end + 1;
    }
  }
  std::stable_sort(live_.begin(), live_.end(), [](const Edge& a, const Edge& b) { return a.from < b.from; });
  first_.assign(states_.size() + 1, 0);
  for (const Edge& edge : live_) ++first_[static_cast<size_t>(edge.from) + 1];
  for (size_t i = 0; i < states_.size(); ++i) first_[i + 1] += first_[i];
  byte_classes_ = 0;
  for (size_t value = 0; value < 256; ++value) {
    if (value > 0 && borders[value]) ++byte_classes_;
    class_of_[value] = byte_classes_;
  }
  ++byte_classes_;
}

}  // namespace onsight::text
