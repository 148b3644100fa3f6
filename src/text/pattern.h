// The "pattern" of a JSON schema: a regular expression that some part of the text matches.
//
//   TRY(CharDfa texts, compile_pattern("^[A-Z]{2}-\\d+$", work));
//
// Supported: literals, ., classes, ( ), (?: ), |, * + ? {n} {n,} {n,m} and their lazy forms, ^ and $ anywhere, \d \w \s
// \D \W \S, \t \n \v \f \r \0 \xHH \uHHHH \u{H}, and \ before punctuation. Refused: look-around, back references, \b,
// \p, flags. Where ECMA-262 and Python read a class differently, the texts are those that both accept.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/char_dfa.h"
#include "text/work_budget.h"

namespace onsight::text {

// Refused too where the budget does not suffice.
Result<CharDfa> compile_pattern(std::string_view pattern, WorkBudget& work);

// Texts of "date", "time", "date-time" (RFC 3339, real days of the calendar, no leap seconds) and "uuid"; nothing for
// other formats.
const CharDfa* texts_of_format(std::string_view format);

}  // namespace onsight::text
