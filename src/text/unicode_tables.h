// Tables that unicode_tables.py measures; unicode.h is the way to ask them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onsight::text::tables {

struct CodeRange {
  uint32_t first, last;
};
struct SpecialCase {
  uint32_t code;
  const char* upper;
  const char* title;
};

extern const CodeRange kLetterRanges[], kNumberRanges[], kSpaceRanges[], kDigitRanges[], kWordRanges[], kStripRanges[];
extern const size_t kLetterRangesCount, kNumberRangesCount, kSpaceRangesCount, kDigitRangesCount, kWordRangesCount,
    kStripRangesCount;
extern const SpecialCase kSpecialCases[];
extern const size_t kSpecialCasesCount;

}  // namespace onsight::text::tables
