// Numbers of a range as bytes: decimal digits without exponents, at most 15 of them, so that whoever reads them as
// doubles finds the same order.
//
//   NumberRange range;  range.least = parse_decimal("0.5");  range.integer = true;
//   TRY_STATUS(add_number_bytes(grammar, from, range, to));
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/byte_grammar.h"

namespace onsight::text {

// An exact decimal number. `whole` has no leading zero ("0" is ""), `part` no trailing one.
struct Decimal {
  bool negative = false;
  std::string whole, part;
  bool is_zero() const { return whole.empty() && part.empty(); }
};
Decimal parse_decimal(std::string_view json_number);
int compare(const Decimal& a, const Decimal& b);  // <0, 0, >0

struct NumberRange {
  struct Bound {
    Decimal value;
    bool open = false;  // the value itself is not allowed
  };
  std::optional<Bound> least, most;
  bool integer = false;
  int multiple_of = 0;  // 0: of anything; otherwise the number is an integer too
  static constexpr int kMaxMultiple = 4096;
};

// Refuses a least magnitude of over 18 digits.
Status add_number_bytes(ByteGrammar& grammar, ByteGrammar::State from, const NumberRange& range, ByteGrammar::State to);

}  // namespace onsight::text
