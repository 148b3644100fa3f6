// Classes of code points, equal to what the `tokenizers` package uses (see unicode_tables.py).
#pragma once

#include <cstdint>

namespace onsight::text {

enum CharClass : uint8_t {
  kLetter = 1,     // \p{L} in a pre-tokeniser's regular expression
  kNumber = 2,     // \p{N} there
  kSpace = 4,      // \s there
  kDigit = 8,      // what the Digits pre-tokeniser splits off
  kWord = 16,      // what an added token with single_word must not touch
  kStripped = 32,  // what lstrip and rstrip of an added token swallow
};

// The table of all 0x110000 code points; made on first use, in well under a millisecond.
const uint8_t* char_classes();

}  // namespace onsight::text
