// toml++, so that it bears any text. What it holds to be so of its input (TOML_ASSERT) it also tests, and is not always
// so: without the assumption it says what is wrong. Nor does 3.3 bear what is beyond ASCII outside of strings and
// comments, where TOML 1.0 has nothing: line_beyond_ascii() comes before it.
//
//   if (const size_t line = line_beyond_ascii(text)) return bad_input("{}, line {}: …", where, line);
//   toml::parse_result parsed = toml::parse(text, where);
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(expr) static_assert(true)
#pragma push_macro("NDEBUG")
#undef NDEBUG
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace onsight {

// The line of the first such byte; 0: there is none.
inline size_t line_beyond_ascii(std::string_view text) {
  size_t line = 1, i = 0;
  const auto skip_to = [&](size_t end) {
    end = std::min(end, text.size());
    line += static_cast<size_t>(
        std::count(text.begin() + static_cast<ptrdiff_t>(i), text.begin() + static_cast<ptrdiff_t>(end), '\n'));
    i = end;
  };
  while (i < text.size()) {
    const char c = text[i];
    if (static_cast<unsigned char>(c) >= 0x80 && !(i == 0 && text.starts_with("\xEF\xBB\xBF"))) return line;
    if (c == '#') {
      skip_to(text.find('\n', i));
    } else if (c == '"' || c == '\'') {
      const bool many = text.substr(i, 3) == std::string_view(c == '"' ? "\"\"\"" : "'''");
      size_t end = i + (many ? 3 : 1);
      for (; end < text.size(); ++end) {
        if (c == '"' && text[end] == '\\') {
          ++end;
        } else if (!many && (text[end] == c || text[end] == '\n')) {
          ++end;
          break;
        } else if (many && text.substr(end, 3) == text.substr(i, 3)) {
          end += 3;
          break;
        }
      }
      skip_to(end);
    } else {
      skip_to(i + (static_cast<unsigned char>(c) >= 0x80 ? 3 : 1));
    }
  }
  return 0;
}

}  // namespace onsight
