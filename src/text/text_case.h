// Upper, lower and title case as Python's str methods have them, keeping who typed each letter.
#pragma once

#include "text/template_value.h"

namespace onsight::text {

// The one letter left out is the Greek capital sigma, whose lower case depends on its place in the word.
Result<MarkedText> to_lower(const MarkedText& text, size_t begin, size_t end);
MarkedText to_upper(const MarkedText& text, size_t begin, size_t end);
Result<MarkedText> capitalize(const MarkedText& text);   // str.capitalize
Result<MarkedText> title_words(const MarkedText& text);  // Jinja's title filter, which is not str.title

}  // namespace onsight::text
