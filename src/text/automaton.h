// Automaton: walks a ByteGrammar byte by byte. Its states are made when they are first reached, and kept.
//
//   Automaton automaton(grammar);
//   Automaton::State state = automaton.start();
//   for (unsigned char c : bytes) if ((state = automaton.next(state, c)) == Automaton::kDead) return refused;
//   bool whole = automaton.accepts(state);
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>

#include "text/byte_grammar.h"

namespace onsight::text {

class Automaton {
 public:
  using State = int32_t;
  static constexpr State kDead = -1;
  // Where so many calls are open, only what leads to the end is allowed: no text nests without bound.
  static constexpr int32_t kDeepest = 64;

  explicit Automaton(std::shared_ptr<const ByteGrammar> grammar);

  State start() const { return 0; }
  State next(State state, uint8_t byte) {
    const State known = rows_[static_cast<size_t>(state) * classes_ + static_cast<size_t>(grammar_->byte_class(byte))];
    return known == kUnknown ? step(state, byte) : known;
  }
  bool accepts(State state) const { return states_[static_cast<size_t>(state)].accepts; }
  // Nothing may follow.
  bool ends(State state) const { return states_[static_cast<size_t>(state)].places.empty(); }
  // The least bytes to an accepting state.
  int64_t distance(State state) const { return states_[static_cast<size_t>(state)].distance; }
  // The first byte of a shortest way there; the way from the next state is the rest of it.
  uint8_t closing_byte(State state);
  // States with the same view allow and forbid the same for the next ByteGrammar::kSight bytes.
  int32_t view(State state) const { return states_[static_cast<size_t>(state)].view; }
  size_t size() const { return states_.size(); }
  // What the states are made of: the memory that they take.
  size_t places() const { return places_; }

 private:
  static constexpr State kUnknown = -2;
  // What is left to do once a called rule has ended; 0 is the bottom. Calls of one rule from several places that come
  // back to one state share a frame: otherwise rules that begin alike would double the frames at each nesting.
  struct Frame {
    ByteGrammar::State back;
    std::vector<int32_t> below;
    int32_t depth;     // of the deepest below it
    int64_t distance;  // by the nearest
  };
  struct Place {
    ByteGrammar::State state;
    int32_t frame;
    bool operator==(const Place& other) const = default;
    bool operator<(const Place& other) const { return std::tie(state, frame) < std::tie(other.state, other.frame); }
  };
  struct Call {
    ByteGrammar::State back, begin;
    int32_t below;
    int64_t bound;
    bool operator<(const Call& o) const { return std::tie(back, begin, below) < std::tie(o.back, o.begin, o.below); }
    bool shares_frame(const Call& o) const { return back == o.back && begin == o.begin; }
  };
  // A set that is emptied in no time.
  class PlaceSet {
   public:
    bool insert(Place place);  // whether it was not there
    void clear();

   private:
    std::vector<std::pair<Place, uint32_t>> slots_ = std::vector<std::pair<Place, uint32_t>>(64);
    uint32_t now_ = 1;  // slots with another number are free
    size_t size_ = 0;
  };
  struct Key {
    bool accepts = false;
    std::vector<Place> places;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Info {
    std::vector<Place> places;  // sorted; those from which a byte may be taken
    bool accepts;
    int32_t view;
    int64_t distance;
  };

  State step(State state, uint8_t byte);
  void reach(Place from, int64_t bound, Key& out);
  void enter_calls(Key& out);
  int32_t push(ByteGrammar::State back, const std::vector<int32_t>& below);
  State intern(Key key);
  int64_t distance_of(const Place& place) const {
    return grammar_->distance(place.state) + frames_[static_cast<size_t>(place.frame)].distance;
  }
  bool only_ends(ByteGrammar::State state) const { return grammar_->ends(state) && grammar_->edges(state).empty(); }

  std::shared_ptr<const ByteGrammar> grammar_;
  size_t classes_;
  std::vector<Frame> frames_;
  std::map<std::pair<ByteGrammar::State, int32_t>, int32_t> frame_ids_;  // by what is below: a frame, or ~ of several
  std::map<std::vector<int32_t>, int32_t> several_ids_;
  std::vector<Info> states_;
  std::unordered_map<Key, State, Hash> state_ids_;
  std::unordered_map<Key, int32_t, Hash> view_ids_;
  std::vector<State> rows_;
  size_t places_ = 0;
  // Of the step that is being made:
  std::vector<Place> work_;
  PlaceSet seen_;  // under the bound of the last reach()
  int64_t seen_under_ = 0;
  std::vector<Call> calls_, entered_;  // those that wait, and those of one round
  std::vector<int32_t> below_;
};

}  // namespace onsight::text
