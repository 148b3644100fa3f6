#include "text/template_lexer.h"

#include <algorithm>

#include "text/template_value.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

using Token = TemplateToken;
using TokenKind = Token::Kind;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Line breaks become \n, and one at the very end is dropped.
std::string normal_lines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, std::string_view where) : source_(std::move(source)), where_(where) {}

  Result<std::vector<Token>> run() {
    while (pos_ < source_.size()) {
      size_t tag = next_tag();
      std::string_view data = std::string_view(source_).substr(pos_, tag - pos_);
      if (tag == source_.size()) {
        add_data(data);
        break;
      }
      char type = source_[tag + 1];
      char sign = tag + 2 < source_.size() ? source_[tag + 2] : 0;
      add_data(strip_before_tag(data, type, sign));
      line_ += static_cast<int>(std::count(data.begin(), data.end(), '\n'));
      pos_ = tag + 2 + (sign == '-' || sign == '+');
      if (type == '#') {
        TRY_STATUS(skip_comment());
      } else {
        add(type == '%' ? TokenKind::kBlockBegin : TokenKind::kPrintBegin);
        TRY_STATUS(lex_tag(type));
      }
      line_starting_ = source_[pos_ - 1] == '\n';
    }
    add(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  template <class... Args>
  tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) const {
    return bad_input("{}: line {}: {}", where_, line_, fmt::format(format, std::forward<Args>(args)...));
  }
  void add(TokenKind kind, std::string text = {}) { tokens_.push_back({kind, std::move(text), 0, line_}); }
  void add_data(std::string_view data) {
    if (!data.empty()) add(TokenKind::kData, std::string(data));
  }

  size_t next_tag() const {
    for (size_t at = source_.find('{', pos_); at != std::string::npos; at = source_.find('{', at + 1))
      if (at + 1 < source_.size() && std::string_view("{%#").find(source_[at + 1]) != std::string_view::npos) return at;
    return source_.size();
  }

  std::string_view strip_before_tag(std::string_view data, char type, char sign) const {
    if (sign == '-') {
      const char* end = data.data() + data.size();
      while (end > data.data()) {
        const char* before = end - 1;
        while (before > data.data() && (static_cast<unsigned char>(*before) & 0xc0) == 0x80) --before;
        const char* p = before;
        if (!is_python_space(next_code_point(p))) break;
        end = before;
      }
      return data.substr(0, static_cast<size_t>(end - data.data()));
    }
    if (sign == '+' || type == '{') return data;
    size_t line = data.rfind('\n') + 1;  // npos + 1 is 0
    if (line == 0 && !line_starting_) return data;
    for (const char* p = data.data() + line; p < data.data() + data.size();)
      if (!is_python_space(next_code_point(p))) return data;
    return data.substr(0, line);
  }

  bool starts_with(std::string_view text) const { return std::string_view(source_).substr(pos_).starts_with(text); }
  void skip_spaces() {
    const char* end = source_.data() + source_.size();
    for (const char* p = source_.data() + pos_; p < end;) {
      uint32_t code = next_code_point(p);
      if (!is_python_space(code)) break;
      line_ += code == '\n';
      pos_ = static_cast<size_t>(p - source_.data());
    }
  }
  // Behind the end of a block or comment: one line break belongs to it, and with a minus sign all white space.
  void skip_after_tag(size_t tag_size, bool minus, bool is_print) {
    pos_ += tag_size;
    if (minus) {
      skip_spaces();
    } else if (!is_print && pos_ < source_.size() && source_[pos_] == '\n') {
      ++pos_;
      ++line_;
    }
  }

  Status skip_comment() {
    size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) return fail("expected the end of the comment");
    bool minus = end > pos_ && source_[end - 1] == '-', plus = end > pos_ && source_[end - 1] == '+';
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(pos_),
                                         source_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    pos_ = end;
    skip_after_tag(2, minus, plus);  // with a plus sign the line break stays
    return {};
  }

  Status lex_tag(char type) {
    std::string open;  // brackets that wait for their end: inside them }} is not the end of the tag
    std::string end = type == '%' ? "%}" : "}}";
    for (;;) {
      skip_spaces();
      if (pos_ >= source_.size()) return fail("expected '{}' before the end of the template", end);
      if (open.empty()) {
        bool minus = starts_with("-" + end), plus = type == '%' && starts_with("+" + end);
        if (minus || plus || starts_with(end)) {
          add(type == '%' ? TokenKind::kBlockEnd : TokenKind::kPrintEnd);
          skip_after_tag(2 + (minus || plus), minus, plus || type == '{');
          return {};
        }
      }
      char c = source_[pos_];
      if (is_digit(c)) {
        TRY_STATUS(lex_number());
      } else if (is_name_char(c)) {
        size_t begin = pos_;
        while (pos_ < source_.size() && is_name_char(source_[pos_])) ++pos_;
        add(TokenKind::kName, source_.substr(begin, pos_ - begin));
      } else if (c == '"' || c == '\'') {
        TRY_STATUS(lex_string(c));
      } else {
        TRY_STATUS(lex_operator(open));
      }
    }
  }

  Status lex_number() {
    size_t begin = pos_;
    while (pos_ < source_.size() && is_digit(source_[pos_])) ++pos_;
    std::string digits = source_.substr(begin, pos_ - begin);
    bool fraction = pos_ + 1 < source_.size() && source_[pos_] == '.' && is_digit(source_[pos_ + 1]);
    bool more = pos_ < source_.size() && is_name_char(source_[pos_]);
    if (fraction || more || digits.size() > 15 || (digits.size() > 1 && digits[0] == '0'))
      return fail("only whole decimal numbers are supported, found '{}{}'", digits, fraction || more ? "…" : "");
    add(TokenKind::kInteger);
    tokens_.back().integer = std::stoll(digits);
    return {};
  }

  Status lex_string(char quote) {
    Token token{TokenKind::kString, {}, 0, line_};
    for (++pos_; pos_ < source_.size() && source_[pos_] != quote; ++pos_) {
      line_ += source_[pos_] == '\n';
      if (source_[pos_] != '\\')
        token.text.push_back(source_[pos_]);
      else
        TRY_STATUS(lex_escape(token.text));
    }
    if (pos_ >= source_.size()) return fail("expected the end of the string");
    ++pos_;
    tokens_.push_back(std::move(token));
    return {};
  }

  // At a backslash; leaves pos_ at the last character of the escape.
  Status lex_escape(std::string& out) {
    if (++pos_ >= source_.size()) return fail("expected the end of the string");
    static constexpr std::string_view kFrom = "ntr\\'\"abfv", kTo = "\n\t\r\\'\"\a\b\f\v";
    char c = source_[pos_];
    if (size_t i = kFrom.find(c); i != std::string_view::npos) {
      out.push_back(kTo[i]);
    } else if (c == '\n') {
      ++line_;  // a line goes on
    } else if (c == 'x' || c == 'u' || c == 'U') {
      size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      std::string hex = source_.substr(pos_ + 1, digits);
      if (hex.size() < digits || hex.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        return fail("expected {} hexadecimal digits behind '\\{}'", digits, c);
      unsigned long code = std::stoul(hex, nullptr, 16);
      if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return fail("'\\{}{}' is not a character", c, hex);
      append_utf8(out, static_cast<uint32_t>(code));
      pos_ += digits;
    } else if (is_digit(c) || c == 'N') {
      return fail("the escape '\\{}' is not supported in a string", c);
    } else {
      if (static_cast<unsigned char>(c) >= 0x80) return fail("expected an ASCII character behind '\\'");
      out.push_back('\\');  // not an escape: both characters stay
      out.push_back(c);
    }
    return {};
  }

  Status lex_operator(std::string& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (std::string_view op : kOperators) {
      if (!starts_with(op)) continue;
      char c = op.front();
      if (c == '(' || c == '[' || c == '{') open.push_back(c);
      if (c == ')' || c == ']' || c == '}') {
        char begin = c == ')' ? '(' : c == ']' ? '[' : '{';
        if (open.empty() || open.back() != begin) return fail("unexpected '{}'", c);
        open.pop_back();
      }
      add(TokenKind::kOperator, std::string(op));
      pos_ += op.size();
      return {};
    }
    std::string_view rest = std::string_view(source_).substr(pos_);
    return fail("unexpected character '{}'", rest.substr(0, static_cast<size_t>(utf8_sequence(rest))));
  }

  std::string source_;
  std::string_view where_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<TemplateToken>> lex_template(std::string_view source, std::string_view where) {
  constexpr size_t kMaxBytes = 1 << 20;
  if (source.size() > kMaxBytes)
    return bad_input("{}: the chat template is larger than {} MiB", where, kMaxBytes >> 20);
  if (!is_utf8(source)) return bad_input("{}: the chat template is not valid UTF-8", where);
  return Lexer(normal_lines(source), where).run();
}

}  // namespace onsight::text
