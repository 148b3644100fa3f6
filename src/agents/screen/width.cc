#include "agents/screen/width.h"

#include <utf8proc.h>

namespace onsight::agents::screen {

int columns_of(char32_t character) {
  if (character >= 0x20 && character < 0x7f) return 1;
  if (character < 0xa0 || character > 0x10ffff) return -1;
  const auto point = static_cast<utf8proc_int32_t>(character);
  switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
      return 0;
    case UTF8PROC_CATEGORY_CF:
      if (character == 0x200d) return 0;  // joins emoji
      return character == 0xad ? 1 : -1;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return -1;
    default:
      break;
  }
  // Vowels and final consonants of Hangul, which join the syllable before them.
  if ((character >= 0x1160 && character <= 0x11ff) || (character >= 0xd7b0 && character <= 0xd7ff)) return 0;
  return utf8proc_charwidth(point) == 2 ? 2 : 1;
}

}  // namespace onsight::agents::screen
