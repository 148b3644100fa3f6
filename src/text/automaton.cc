#include "text/automaton.h"

#include <algorithm>

#include "base/check.h"

namespace onsight::text {

size_t Automaton::Hash::operator()(const Key& key) const {
  uint64_t hash = key.accepts ? 0x9e3779b97f4a7c15u : 0;
  for (const Place& place : key.places) {
    hash ^= static_cast<uint64_t>(static_cast<uint32_t>(place.state)) << 32 | static_cast<uint32_t>(place.frame);
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  return hash;
}

Automaton::Automaton(std::shared_ptr<const ByteGrammar> grammar)
    : grammar_(std::move(grammar)), classes_(static_cast<size_t>(grammar_->byte_classes())) {
  frames_.push_back({0, 0, 0, 0});
  Key first;
  reach({grammar_->begin(grammar_->root()), 0}, ByteGrammar::kNever, first);
  intern(std::move(first));
}

int32_t Automaton::push(ByteGrammar::State back, int32_t below) {
  const auto [entry, is_new] = frame_ids_.try_emplace({back, below}, static_cast<int32_t>(frames_.size()));
  if (is_new) {
    const Frame under = frames_[static_cast<size_t>(below)];
    frames_.push_back({back, below, under.depth + 1, grammar_->distance(back) + under.distance});
  }
  return entry->second;
}

// Adds the places that are reached from `from` without a byte and are no further than `bound` from the end.
void Automaton::reach(Place from, int64_t bound, Key& out) {
  work_.assign(1, from);
  seen_.clear();
  while (!work_.empty()) {
    const Place place = work_.back();
    work_.pop_back();
    if (distance_of(place) > bound || std::find(seen_.begin(), seen_.end(), place) != seen_.end()) continue;
    seen_.push_back(place);
    if (grammar_->ends(place.state)) {
      const Frame& frame = frames_[static_cast<size_t>(place.frame)];
      if (place.frame == 0)
        out.accepts = true;
      else
        work_.push_back({frame.back, frame.below});
    }
    bool takes = false;
    for (const ByteGrammar::Edge& edge : grammar_->edges(place.state)) switch (edge.kind) {
        case ByteGrammar::Kind::kBytes:
          takes = true;
          break;
        case ByteGrammar::Kind::kSkip:
          work_.push_back({edge.to, place.frame});
          break;
        case ByteGrammar::Kind::kCall:  // a call at the end of a rule returns to the caller of that
          work_.push_back({grammar_->begin(edge.rule), only_ends(edge.to) ? place.frame : push(edge.to, place.frame)});
          break;
      }
    if (takes) out.places.push_back(place);
  }
}

Automaton::State Automaton::step(State state, uint8_t byte) {
  Key key;
  const std::vector<Place> places = states_[static_cast<size_t>(state)].places;
  for (const Place& place : places)
    for (const ByteGrammar::Edge& edge : grammar_->edges(place.state)) {
      if (edge.kind != ByteGrammar::Kind::kBytes || byte < edge.first || byte > edge.last) continue;
      const bool deep = frames_[static_cast<size_t>(place.frame)].depth >= kDeepest;
      reach({edge.to, place.frame}, deep ? distance_of(place) - 1 : ByteGrammar::kNever, key);
    }
  const State to = key.places.empty() && !key.accepts ? kDead : intern(std::move(key));
  rows_[static_cast<size_t>(state) * classes_ + static_cast<size_t>(grammar_->byte_class(byte))] = to;
  return to;
}

Automaton::State Automaton::intern(Key key) {
  std::sort(key.places.begin(), key.places.end());
  key.places.erase(std::unique(key.places.begin(), key.places.end()), key.places.end());
  const auto [entry, is_new] = state_ids_.try_emplace(key, static_cast<State>(states_.size()));
  if (!is_new) return entry->second;
  int64_t distance = key.accepts ? 0 : ByteGrammar::kNever;
  for (const Place& place : key.places) distance = std::min(distance, distance_of(place));
  Key seen = key;
  for (Place& place : seen.places) place.state = grammar_->like(place.state);
  std::sort(seen.places.begin(), seen.places.end());
  const auto view = view_ids_.try_emplace(std::move(seen), static_cast<int32_t>(view_ids_.size())).first;
  states_.push_back({std::move(key.places), key.accepts, view->second, distance});
  rows_.resize(rows_.size() + classes_, kUnknown);
  return entry->second;
}

uint8_t Automaton::closing_byte(State state) {
  const int64_t wanted = distance(state) - 1;
  for (int value = 0; value < 256; ++value) {
    const State to = next(state, static_cast<uint8_t>(value));
    if (to != kDead && distance(to) == wanted) return static_cast<uint8_t>(value);
  }
  ONSIGHT_CHECK(!"a state with a distance has a way to the end");
  return 0;
}

}  // namespace onsight::text
