// CharDfa: a set of texts, as a deterministic automaton over code points. What patterns, lengths and formats come to.
//
//   std::optional<CharDfa> both = intersect(texts_of_length(1, 20), pattern, work);
//   bool fits = both->matches("Total");
//   add_string_bytes(grammar, from, *both, to);   // as they stand between the quotes of a JSON string
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_grammar.h"
#include "text/work_budget.h"

namespace onsight::text {

struct CharDfa {
  static constexpr size_t kMaxStates = 100'000;
  struct Edge {
    uint32_t first, last;
    int32_t to;
  };
  struct State {
    std::vector<Edge> edges;  // sorted; none overlaps another
    bool accepts = false;
    int32_t like = -1;  // ByteGrammar::looks_like(); -1: itself
  };
  std::vector<State> states;  // the first is the start

  bool matches(std::string_view utf8) const;
};

// Texts of min to max code points; no max: of any length. `max` is at most kMaxStates - 1.
CharDfa texts_of_length(uint64_t min, std::optional<uint64_t> max);
// Texts that are none of `names`; nothing if there are too many of them for the budget.
std::optional<CharDfa> texts_other_than(const std::vector<std::string>& names, WorkBudget& work);
// Texts that are in both; nothing if that takes more than kMaxStates states or the budget.
std::optional<CharDfa> intersect(const CharDfa& a, const CharDfa& b, WorkBudget& work);

// Each text has one spelling: raw UTF-8 where JSON allows it, and \" \\ \b \f \n \r \t. Texts with other control
// characters are left out.
void add_string_bytes(ByteGrammar& grammar, ByteGrammar::State from, const CharDfa& texts, ByteGrammar::State to);

}  // namespace onsight::text
