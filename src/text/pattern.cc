#include "text/pattern.h"

#include <map>
#include <set>

#include "base/check.h"
#include "text/pattern_parser.h"

namespace onsight::text {
namespace {

constexpr size_t kMaxPatternBytes = 20'000;
constexpr uint64_t kStepsPerNfaPlace = 10, kStepsPerSubset = 200;
constexpr size_t kMaxNfaStates = 20'000, kMaxDfaStates = 4'000;

// Thompson's construction; ^ and $ are edges that may be taken at the text's begin and end only.
struct Nfa {
  enum class Kind { kSet, kSkip, kBegin, kEnd };
  struct Edge {
    Kind kind;
    int to;
    const CodeSet* set;  // of the tree
  };
  std::vector<std::vector<Edge>> states;

  int add() {
    states.emplace_back();
    return static_cast<int>(states.size()) - 1;
  }
  void edge(int from, Kind kind, int to, const CodeSet* set = nullptr) {
    states[static_cast<size_t>(from)].push_back({kind, to, set});
  }
  bool full() const { return states.size() > kMaxNfaStates; }

  // The state behind `node`.
  int write(const PatternNode& node, int from) {
    if (full()) return from;
    const int to = add();
    switch (node.kind) {
      case PatternNode::Kind::kSet:
        edge(from, Kind::kSet, to, &node.set);
        break;
      case PatternNode::Kind::kBegin:
        edge(from, Kind::kBegin, to);
        break;
      case PatternNode::Kind::kEnd:
        edge(from, Kind::kEnd, to);
        break;
      case PatternNode::Kind::kSequence:
        for (const PatternNode& part : node.parts) from = write(part, from);
        edge(from, Kind::kSkip, to);
        break;
      case PatternNode::Kind::kChoice:
        for (const PatternNode& part : node.parts) edge(write(part, from), Kind::kSkip, to);
        break;
      case PatternNode::Kind::kRepeat:
        for (int i = 0; i < node.min; ++i) from = write(node.parts[0], from);
        for (int i = node.min; i < node.max; ++i) {
          edge(from, Kind::kSkip, to);
          from = write(node.parts[0], from);
        }
        if (node.max < 0) {
          const int again = add();
          edge(from, Kind::kSkip, again);
          edge(write(node.parts[0], again), Kind::kSkip, again);
          from = again;
        }
        edge(from, Kind::kSkip, to);
        break;
    }
    return to;
  }

  using Places = std::vector<int>;
  void close(Places& places, bool at_begin, bool at_end) const {
    std::vector<bool> seen(states.size());
    for (const int place : places) seen[static_cast<size_t>(place)] = true;
    for (size_t i = 0; i < places.size(); ++i)
      for (const Edge& e : states[static_cast<size_t>(places[i])]) {
        const bool passes =
            e.kind == Kind::kSkip || (e.kind == Kind::kBegin && at_begin) || (e.kind == Kind::kEnd && at_end);
        if (!passes || seen[static_cast<size_t>(e.to)]) continue;
        seen[static_cast<size_t>(e.to)] = true;
        places.push_back(e.to);
      }
    std::sort(places.begin(), places.end());
  }
};

// Nothing if it takes too many states or too much work.
std::optional<CharDfa> determinise(const Nfa& nfa, int start, int match, WorkBudget& work) {
  CharDfa out;
  std::map<Nfa::Places, int32_t> ids;
  std::vector<const Nfa::Places*> all;
  const auto id_of = [&](Nfa::Places places, bool at_begin) {
    nfa.close(places, at_begin, false);
    work.spend(nfa.states.size() / 4 + kStepsPerNfaPlace * places.size());
    const auto [entry, is_new] = ids.try_emplace(places, static_cast<int32_t>(all.size()));
    if (!is_new) return entry->second;
    all.push_back(&entry->first);
    nfa.close(places, at_begin, true);
    out.states.emplace_back().accepts = std::binary_search(places.begin(), places.end(), match);
    return entry->second;
  };
  id_of({start}, true);
  for (size_t i = 0; i < all.size(); ++i) {
    if (all.size() > kMaxDfaStates || !work.spend(kStepsPerSubset)) return std::nullopt;
    std::vector<const Nfa::Edge*> edges;
    std::set<uint32_t> borders;
    for (const int place : *all[i])
      for (const Nfa::Edge& e : nfa.states[static_cast<size_t>(place)]) {
        if (e.kind != Nfa::Kind::kSet) continue;
        edges.push_back(&e);
        for (const CodeRange range : e.set->ranges()) borders.insert({range.first, range.last + 1});
        work.spend(kStepsPerNfaPlace * e.set->ranges().size());
      }
    std::map<std::vector<int>, int32_t> known;
    for (auto border = borders.begin(); border != borders.end() && !work.exhausted(); ++border) {
      const uint32_t first = *border;
      Nfa::Places next;
      for (const Nfa::Edge* e : edges) {
        const auto& ranges = e->set->ranges();
        auto range = std::upper_bound(ranges.begin(), ranges.end(), first,
                                      [](uint32_t code, CodeRange r) { return code < r.first; });
        if (range != ranges.begin() && first <= (--range)->last) next.push_back(e->to);
      }
      work.spend(2 * edges.size());
      if (next.empty()) continue;
      std::sort(next.begin(), next.end());
      next.erase(std::unique(next.begin(), next.end()), next.end());
      const auto found = known.find(next);
      const int32_t to = found != known.end() ? found->second : known[next] = id_of(next, false);
      const uint32_t last = *std::next(border) - 1;  // every range that is open ends at a border
      auto& into = out.states[i].edges;
      if (!into.empty() && into.back().to == to && into.back().last + 1 == first) {
        into.back().last = last;
      } else {
        work.spend(sizeof(CharDfa::Edge));
        into.push_back({first, last, to});
      }
    }
  }
  return out;
}

CharDfa compiled(std::string_view pattern) {
  WorkBudget work;
  auto out = compile_pattern(pattern, work);
  ONSIGHT_CHECK(out);
  return *std::move(out);
}

CharDfa dates(std::string_view rest) {
  const std::string days =
      "\\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)";
  const std::string leap = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29";
  WorkBudget work;
  // There is no year 0.
  return *intersect(compiled(fmt::format("^(?:{}|{}){}$", days, leap, rest)),
                    compiled("^(?:[1-9]\\d{3}|0[1-9]\\d\\d|00[1-9]\\d|000[1-9])-"), work);
}

}  // namespace

Result<CharDfa> compile_pattern(std::string_view pattern, WorkBudget& work) {
  if (pattern.size() > kMaxPatternBytes)
    return bad_input("{} bytes, expected at most {}", pattern.size(), kMaxPatternBytes);
  work.spend(kStepsPerSubset * pattern.size());
  TRY(PatternNode tree, parse_pattern(pattern));
  Nfa nfa;
  const CodeSet any = CodeSet().complement();
  const int start = nfa.add();
  nfa.edge(start, Nfa::Kind::kSet, start, &any);
  const int match = nfa.write(tree, start);
  nfa.edge(match, Nfa::Kind::kSet, match, &any);
  if (!nfa.full())
    if (auto out = determinise(nfa, start, match, work)) return *std::move(out);
  return bad_input("'{}' takes too many states, expected a simpler expression", pattern);
}

const CharDfa* texts_of_format(std::string_view format) {
  static const std::string kTime =
      "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
  static const std::map<std::string_view, CharDfa> kFormats = {
      {"date", dates("")},
      {"time", compiled("^" + kTime + "$")},
      {"date-time", dates("T" + kTime)},
      {"uuid", compiled("^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")}};
  const auto found = kFormats.find(format);
  return found == kFormats.end() ? nullptr : &found->second;
}

}  // namespace onsight::text
