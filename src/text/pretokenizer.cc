#include "text/pretokenizer.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

// The regular expressions of the family's tokenizers, matched by hand below.
constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// A walk over valid UTF-8 that looks one code point ahead.
struct Cursor {
  explicit Cursor(std::string_view text) : begin(text.data()), p(begin), end(begin + text.size()) { look(); }
  bool is(uint8_t classes) const { return !done && (current & classes); }
  bool other() const { return !done && !(current & (kLetter | kNumber | kSpace)); }
  bool line_break() const { return !done && (code == '\n' || code == '\r'); }
  void step() {
    p = next;
    look();
  }
  size_t length() const { return static_cast<size_t>(p - begin); }

  const char *begin, *p, *end, *next = nullptr;
  uint32_t code = 0;
  uint8_t current = 0;  // its classes
  bool done = false;

 private:
  void look() {
    static const uint8_t* table = char_classes();
    done = p == end;
    if (done) return;
    next = p;
    code = next_code_point(next);
    current = table[code];
  }
};

// \s+(?!\S)|\s+ : a run of white space leaves its last one to the word that follows.
size_t space_run(Cursor c) {
  size_t before_last = 0;
  while (c.is(kSpace)) {
    before_last = c.length();
    c.step();
  }
  return c.done || before_last == 0 ? c.length() : before_last;
}

// 's|'t|'re|'ve|'m|'ll|'d at the start of the text, or 0.
size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (std::string_view("stmd").find(text[1]) != std::string_view::npos) return 2;
  std::string_view two = text.substr(1, 2);
  return two == "re" || two == "ve" || two == "ll" ? 3 : 0;
}

size_t contraction_ignoring_case(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text.substr(1, 2) == "\xc5\xbf") return 3;  // U+017F, the long s, is an s when case is ignored
  char folded[3] = {'\'', 0, 0};
  size_t n = std::min<size_t>(3, text.size());
  for (size_t i = 1; i < n; ++i)
    folded[i] = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + 32) : text[i];
  return contraction({folded, n});
}

size_t gpt2_piece(std::string_view text) {
  if (size_t n = contraction(text)) return n;
  Cursor c(text);
  if (c.code == ' ') {
    Cursor after = c;
    after.step();
    if (after.done || after.is(kSpace)) return space_run(c);
    c = after;
  }
  if (c.is(kLetter)) {
    while (c.is(kLetter)) c.step();
  } else if (c.is(kNumber)) {
    while (c.is(kNumber)) c.step();
  } else if (c.other()) {
    while (c.other()) c.step();
  } else {
    return space_run(c);
  }
  return c.length();
}

template <int kMaxNumbers>
size_t llama3_piece(std::string_view text) {
  if (size_t n = contraction_ignoring_case(text)) return n;
  Cursor c(text);
  Cursor after = c;
  if (!c.is(kLetter | kNumber) && !c.line_break()) after.step();
  if (after.is(kLetter)) {
    while (after.is(kLetter)) after.step();
    return after.length();
  }
  if (c.is(kNumber)) {
    for (int i = 0; i < kMaxNumbers && c.is(kNumber); ++i) c.step();
    return c.length();
  }
  after = c;
  if (c.code == ' ') after.step();
  if (after.other()) {
    while (after.other()) after.step();
    while (after.line_break()) after.step();
    return after.length();
  }
  // \s*[\r\n]+ : up to the last line break of the white space.
  size_t to_break = 0;
  for (after = c; after.is(kSpace);) {
    bool line_break = after.line_break();
    after.step();
    if (line_break) to_break = after.length();
  }
  return to_break ? to_break : space_run(c);
}

// Digits: everything between digits is one piece; each digit, or each run of them, another.
template <bool kIndividual>
size_t digits_piece(std::string_view text) {
  Cursor c(text);
  if (c.is(kDigit)) {
    do c.step();
    while (!kIndividual && c.is(kDigit));
  } else {
    while (!c.done && !c.is(kDigit)) c.step();
  }
  return c.length();
}

}  // namespace

size_t Pretokenizer::literal_piece(std::string_view text, std::string_view literal) {
  size_t at = text.find(literal);
  if (at == 0) return literal.size();
  return at == std::string_view::npos ? text.size() : at;
}

Result<Pretokenizer> Pretokenizer::from_json(const JsonView& view) {
  Pretokenizer out;
  TRY_STATUS(add_stages(view, 0, out));
  if (!out.has_byte_level_) return bad_input("{}: expected a ByteLevel pre-tokenizer, found none", view.where());
  return out;
}

Status Pretokenizer::add_stages(const JsonView& view, int depth, Pretokenizer& out) {
  TRY(std::string type, view.string("type"));
  if (out.has_byte_level_) return bad_input("{}: expected nothing after ByteLevel, found {}", view.where(), type);
  if (type == "ByteLevel") return add_byte_level(view, out);
  if (type == "Split") return add_split(view, out);
  if (type == "Digits") {
    TRY(bool individual, view.boolean_or("individual_digits", false));
    out.stages_.push_back({individual ? digits_piece<true> : digits_piece<false>, {}});
    return {};
  }
  if (type == "Sequence") {
    JsonView list = view.at("pretokenizers");
    if (!list.json().is_array()) return bad_input("{}: expected an array", list.where());
    // Stages nest on the stack when text is cut, so there may not be many.
    if (depth >= 4 || list.json().size() > 16) return bad_input("{}: expected at most 16 pre-tokenizers", list.where());
    for (size_t i = 0; i < list.json().size(); ++i)
      TRY_STATUS(add_stages(JsonView(list.json()[i], fmt::format("{}[{}]", list.where(), i)), depth + 1, out));
    return {};
  }
  return bad_input("{}: pre-tokenizer '{}' is not supported, expected ByteLevel, Digits, Split or Sequence",
                   view.where(), type);
}

Status Pretokenizer::add_byte_level(const JsonView& view, Pretokenizer& out) {
  TRY(bool use_regex, view.boolean_or("use_regex", true));
  TRY(out.add_prefix_space_, view.boolean_or("add_prefix_space", true));
  out.last_ = use_regex ? gpt2_piece : nullptr;
  out.has_byte_level_ = true;
  return {};
}

Status Pretokenizer::add_split(const JsonView& view, Pretokenizer& out) {
  TRY(std::string behavior, view.string("behavior"));
  TRY(bool invert, view.boolean_or("invert", false));
  JsonView pattern = view.at("pattern");
  if (pattern.has("String")) {
    TRY(std::string literal, pattern.string("String"));
    if (literal.empty() || behavior != "Isolated" || invert)
      return bad_input("{}: a Split at a string is supported only with behavior Isolated and invert false",
                       view.where());
    out.stages_.push_back({nullptr, std::move(literal)});
    return {};
  }
  TRY(std::string regex, pattern.string("Regex"));
  // The known expressions match every character, so that removing what lies between the matches removes nothing.
  if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert))
    return bad_input("{}: a Split with behavior {} and invert {} is not supported", view.where(), behavior, invert);
  Match match = regex == kGpt2     ? gpt2_piece
                : regex == kLlama3 ? llama3_piece<3>
                : regex == kQwen2  ? llama3_piece<1>
                                   : nullptr;
  if (!match) return bad_input("{}: the regular expression '{}' is not one of those supported", pattern.where(), regex);
  out.stages_.push_back({match, {}});
  return {};
}

}  // namespace onsight::text
