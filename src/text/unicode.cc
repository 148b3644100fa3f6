#include "text/unicode.h"

#include <array>
#include <memory>

#include "text/unicode_tables.h"

namespace onsight::text {
namespace {

using tables::CodeRange;

void mark(uint8_t* classes, const CodeRange* ranges, size_t count, uint8_t bit) {
  for (size_t i = 0; i < count; ++i)
    for (uint32_t code = ranges[i].first; code <= ranges[i].last; ++code) classes[code] |= bit;
}

uint8_t* make() {
  static std::array<uint8_t, 0x110000> classes;  // zero pages: only those with marks are ever touched
  mark(classes.data(), tables::kLetterRanges, tables::kLetterRangesCount, kLetter);
  mark(classes.data(), tables::kNumberRanges, tables::kNumberRangesCount, kNumber);
  mark(classes.data(), tables::kSpaceRanges, tables::kSpaceRangesCount, kSpace);
  mark(classes.data(), tables::kDigitRanges, tables::kDigitRangesCount, kDigit);
  mark(classes.data(), tables::kWordRanges, tables::kWordRangesCount, kWord);
  mark(classes.data(), tables::kStripRanges, tables::kStripRangesCount, kStripped);
  return classes.data();
}

}  // namespace

const uint8_t* char_classes() {
  static const uint8_t* classes = make();
  return classes;
}

}  // namespace onsight::text
