#include "text/text_case.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

const tables::SpecialCase* special_case(uint32_t code) {
  const auto *begin = tables::kSpecialCases, *end = begin + tables::kSpecialCasesCount;
  const auto* it = std::lower_bound(begin, end, code, [](const auto& s, uint32_t c) { return s.code < c; });
  return it != end && it->code == code ? it : nullptr;
}

void append_upper(std::string& out, uint32_t code, bool title) {
  if (const auto* special = special_case(code)) {
    out += title ? special->title : special->upper;
  } else {
    auto c = static_cast<utf8proc_int32_t>(code);
    append_utf8(out, static_cast<uint32_t>(title ? utf8proc_totitle(c) : utf8proc_toupper(c)));
  }
}

// Puts what `append(letter, code)` makes of each letter behind `out`.
template <class Append>
void map_letters(MarkedText& out, const MarkedText& text, size_t begin, size_t end, Append&& append) {
  std::string letter;
  for (size_t at = begin; at < end;) {
    const char* p = text.bytes.data() + at;
    letter.clear();
    append(letter, next_code_point(p));
    out.append(letter, text.is_user(at));
    at = static_cast<size_t>(p - text.bytes.data());
  }
}

size_t first_letter_end(const MarkedText& text, size_t begin) {
  const char* p = text.bytes.data() + begin;
  next_code_point(p);
  return static_cast<size_t>(p - text.bytes.data());
}

}  // namespace

MarkedText to_upper(const MarkedText& text, size_t begin, size_t end) {
  MarkedText out;
  map_letters(out, text, begin, end, [](std::string& letter, uint32_t code) { append_upper(letter, code, false); });
  return out;
}

Result<MarkedText> to_lower(const MarkedText& text, size_t begin, size_t end) {
  MarkedText out;
  bool sigma = false;
  map_letters(out, text, begin, end, [&](std::string& letter, uint32_t code) {
    sigma = sigma || code == 0x3a3;
    if (code == 0x130)
      letter += "i\xcc\x87";  // the dotted capital I keeps its dot
    else
      append_utf8(letter, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  });
  if (sigma) return bad_input("the lower case of a Greek capital sigma is not supported");
  return out;
}

Result<MarkedText> capitalize(const MarkedText& text) {
  if (text.bytes.empty()) return text;
  size_t rest = first_letter_end(text, 0);
  MarkedText out;
  map_letters(out, text, 0, rest, [](std::string& letter, uint32_t code) { append_upper(letter, code, true); });
  TRY(MarkedText lower, to_lower(text, rest, text.bytes.size()));
  out.append(lower);
  return out;
}

Result<MarkedText> title_words(const MarkedText& text) {
  auto separates = [](uint32_t code) {
    return is_python_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
  };
  MarkedText out;
  size_t size = text.bytes.size();
  for (size_t at = 0; at < size;) {
    size_t end = at;
    bool separator = false;
    for (bool first = true; end < size; first = false) {
      const char* p = text.bytes.data() + end;
      bool s = separates(next_code_point(p));
      if (first) separator = s;
      if (s != separator) break;
      end = static_cast<size_t>(p - text.bytes.data());
    }
    size_t rest = first_letter_end(text, at);
    out.append(to_upper(text, at, rest));
    TRY(MarkedText lower, to_lower(text, rest, end));
    out.append(lower);
    at = end;
  }
  return out;
}

}  // namespace onsight::text
