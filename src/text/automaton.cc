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

bool Automaton::PlaceSet::insert(Place place) {
  if (2 * size_ >= slots_.size()) {
    std::vector<std::pair<Place, uint32_t>> old(4 * slots_.size());
    old.swap(slots_);
    size_ = 0;
    for (const auto& [known, number] : old)
      if (number == now_) insert(known);
  }
  const uint64_t bits =
      static_cast<uint64_t>(static_cast<uint32_t>(place.state)) << 32 | static_cast<uint32_t>(place.frame);
  size_t slot = (bits * 0x9e3779b97f4a7c15u >> 32) & (slots_.size() - 1);
  for (; slots_[slot].second == now_; slot = (slot + 1) & (slots_.size() - 1))
    if (slots_[slot].first == place) return false;
  slots_[slot] = {place, now_};
  ++size_;
  return true;
}

void Automaton::PlaceSet::clear() {
  size_ = 0;
  ++now_;
}

Automaton::Automaton(std::shared_ptr<const ByteGrammar> grammar)
    : grammar_(std::move(grammar)), classes_(static_cast<size_t>(grammar_->byte_classes())) {
  frames_.push_back({0, {}, 0, 0});
  Key first;
  reach({grammar_->begin(grammar_->root()), 0}, ByteGrammar::kNever, first);
  enter_calls(first);
  intern(std::move(first));
}

int32_t Automaton::push(ByteGrammar::State back, const std::vector<int32_t>& below) {
  const int32_t group = below.size() == 1
                            ? below[0]
                            : ~several_ids_.try_emplace(below, static_cast<int32_t>(several_ids_.size())).first->second;
  const auto [entry, is_new] = frame_ids_.try_emplace({back, group}, static_cast<int32_t>(frames_.size()));
  if (is_new) {
    Frame frame{back, below, 0, ByteGrammar::kNever};
    for (const int32_t under : frame.below) {
      frame.depth = std::max(frame.depth, frames_[static_cast<size_t>(under)].depth + 1);
      frame.distance = std::min(frame.distance, frames_[static_cast<size_t>(under)].distance);
    }
    frame.distance += grammar_->distance(back);
    frames_.push_back(std::move(frame));
  }
  return entry->second;
}

// Adds the places that are reached from `from` without a byte or a call and are no further than `bound` from the end.
void Automaton::reach(Place from, int64_t bound, Key& out) {
  if (bound != seen_under_) seen_.clear();
  seen_under_ = bound;
  work_.assign(1, from);
  while (!work_.empty()) {
    const Place place = work_.back();
    work_.pop_back();
    if (distance_of(place) > bound || !seen_.insert(place)) continue;
    const Frame& frame = frames_[static_cast<size_t>(place.frame)];
    if (grammar_->ends(place.state)) {
      if (place.frame == 0) out.accepts = true;
      for (const int32_t under : frame.below) work_.push_back({frame.back, under});
    }
    bool takes = false;
    for (const ByteGrammar::Edge& edge : grammar_->edges(place.state)) switch (edge.kind) {
        case ByteGrammar::Kind::kBytes:
          takes = true;
          break;
        case ByteGrammar::Kind::kSkip:
          work_.push_back({edge.to, place.frame});
          break;
        case ByteGrammar::Kind::kCall: {
          const ByteGrammar::State begin = grammar_->begin(edge.rule);
          if (only_ends(edge.to))  // a call at the end of a rule returns to the caller of that
            work_.push_back({begin, place.frame});
          else if (grammar_->distance(begin) + grammar_->distance(edge.to) + frame.distance <= bound)
            calls_.push_back({edge.to, begin, place.frame, bound});
          break;
        }
      }
    if (takes) out.places.push_back(place);
  }
}

// A value takes a byte at least, so that the calls within calls come to an end before anything returns.
void Automaton::enter_calls(Key& out) {
  while (!calls_.empty()) {
    entered_.clear();
    entered_.swap(calls_);
    std::sort(entered_.begin(), entered_.end());
    for (size_t i = 0; i < entered_.size();) {
      const Call call = entered_[i];
      int64_t bound = 0;
      for (below_.clear(); i < entered_.size() && entered_[i].shares_frame(call); ++i) {
        if (below_.empty() || below_.back() != entered_[i].below) below_.push_back(entered_[i].below);
        bound = std::max(bound, entered_[i].bound);
      }
      reach({call.begin, push(call.back, below_)}, bound, out);
    }
  }
}

Automaton::State Automaton::step(State state, uint8_t byte) {
  Key key;
  seen_.clear();
  const std::vector<Place> places = states_[static_cast<size_t>(state)].places;
  for (const Place& place : places)
    for (const ByteGrammar::Edge& edge : grammar_->edges(place.state)) {
      if (edge.kind != ByteGrammar::Kind::kBytes || byte < edge.first || byte > edge.last) continue;
      const bool deep = frames_[static_cast<size_t>(place.frame)].depth >= kDeepest;
      reach({edge.to, place.frame}, deep ? distance_of(place) - 1 : ByteGrammar::kNever, key);
    }
  enter_calls(key);
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
  places_ += key.places.size();
  states_.push_back({std::move(key.places), key.accepts, view->second, distance});
  rows_.resize(rows_.size() + classes_, kUnknown);
  return entry->second;
}

// Looks at edges only: no states are made beside the way.
uint8_t Automaton::closing_byte(State state) {
  const Info& info = states_[static_cast<size_t>(state)];
  int best = 256;
  for (const Place& place : info.places)
    for (const ByteGrammar::Edge& edge : grammar_->edges(place.state))
      if (edge.kind == ByteGrammar::Kind::kBytes && distance_of({edge.to, place.frame}) == info.distance - 1)
        best = std::min<int>(best, edge.first);
  ONSIGHT_CHECK(best < 256);  // a state with a distance has a way to the end
  return static_cast<uint8_t>(best);
}

}  // namespace onsight::text
