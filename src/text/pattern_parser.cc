#include "text/pattern_parser.h"

#include <optional>
#include <set>

#include "text/unicode.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

constexpr int kMaxRepeat = 1000, kMaxPatternDepth = 64;

using PatternKind = PatternNode::Kind;

// What a class holds by every reading of the standards, and what it holds by one at least: a negated class must leave
// out the latter.
struct Bounds {
  CodeSet sure, possible;
  Bounds complement() const { return {possible.complement(), sure.complement()}; }
};

Bounds exactly(uint32_t first, uint32_t last) { return {CodeSet({{first, last}}), CodeSet({{first, last}})}; }

const Bounds& digits() {
  static const Bounds kEveryDigit = [] {
    std::vector<CodeRange> all;
    const uint8_t* classes = char_classes();
    for (uint32_t code = 0; code <= CodeSet::kLast; ++code)
      if (classes[code] & kNumber) all.push_back({code, code});
    return Bounds{CodeSet({{'0', '9'}}), CodeSet(std::move(all))};
  }();
  return kEveryDigit;
}

Bounds words() {
  const CodeSet ascii({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
  return {ascii, ascii.with(CodeSet({{0x80, CodeSet::kLast}}))};
}

Bounds spaces() {
  return {CodeSet({{9, 13}, {' ', ' '}}), CodeSet({{9, 13},
                                                   {0x1c, ' '},
                                                   {0x85, 0x85},
                                                   {0xa0, 0xa0},
                                                   {0x1680, 0x1680},
                                                   {0x2000, 0x200a},
                                                   {0x2028, 0x2029},
                                                   {0x202f, 0x202f},
                                                   {0x205f, 0x205f},
                                                   {0x3000, 0x3000},
                                                   {0xfeff, 0xfeff}})};
}

class PatternParser {
 public:
  explicit PatternParser(std::string_view pattern) : pattern_(pattern), p_(pattern.data()), end_(p_ + pattern.size()) {}

  Result<PatternNode> parse() {
    TRY(PatternNode out, choice(0));
    if (p_ < end_) return refuse("a ) without a (");
    return out;
  }

 private:
  tl::unexpected<Error> refuse(std::string_view what) const {
    return bad_input("'{}' at byte {}: {} is not supported", pattern_, p_ - pattern_.data(), what);
  }
  bool at(char c) const { return p_ < end_ && *p_ == c; }
  bool take(char c) {
    if (!at(c)) return false;
    ++p_;
    return true;
  }
  static PatternNode set_node(CodeSet set) {
    PatternNode out;
    out.kind = PatternKind::kSet;
    out.set = std::move(set);
    return out;
  }
  static PatternNode mark(PatternKind kind) {
    PatternNode out;
    out.kind = kind;
    return out;
  }

  Result<PatternNode> choice(int depth) {
    if (depth > kMaxPatternDepth) return refuse("nesting this deep");
    PatternNode out;
    out.kind = PatternKind::kChoice;
    do {
      PatternNode sequence;
      while (p_ < end_ && !at('|') && !at(')')) {
        TRY(PatternNode part, repeated(depth));
        sequence.parts.push_back(std::move(part));
      }
      out.parts.push_back(std::move(sequence));
    } while (take('|'));
    return out;
  }

  Result<PatternNode> repeated(int depth) {
    TRY(PatternNode part, atom(depth));
    int min = 0, max = -1;
    if (take('*')) {
    } else if (take('+')) {
      min = 1;
    } else if (take('?')) {
      max = 1;
    } else if (at('{')) {
      TRY_STATUS(counts(min, max));
    } else {
      return part;
    }
    if (part.kind == PatternKind::kBegin || part.kind == PatternKind::kEnd) return refuse("repeating ^ or $");
    take('?');
    if (at('*') || at('+') || at('{') || at('?')) return refuse("repeating a repetition");
    PatternNode out;
    out.kind = PatternKind::kRepeat;
    out.min = min;
    out.max = max;
    out.parts.push_back(std::move(part));
    return out;
  }

  Status counts(int& min, int& max) {
    const auto number = [this]() -> std::optional<int> {
      const char* first = p_;
      int value = 0;
      for (; p_ < end_ && *p_ >= '0' && *p_ <= '9'; ++p_) value = std::min(value * 10 + (*p_ - '0'), kMaxRepeat + 1);
      return p_ > first ? std::optional(value) : std::nullopt;
    };
    ++p_;
    const auto least = number();
    if (!least) return refuse("a { that begins no {n}, {n,} or {n,m}");
    min = max = *least;
    if (take(',')) max = number().value_or(-1);
    if (!take('}')) return refuse("a { that begins no {n}, {n,} or {n,m}");
    if (max >= 0 && max < min) return refuse("a range from more to less");
    if (min > kMaxRepeat || max > kMaxRepeat) return refuse("a repetition of over 1000 times");
    return {};
  }

  Result<PatternNode> atom(int depth) {
    if (take('^')) return mark(PatternKind::kBegin);
    if (take('$')) return mark(PatternKind::kEnd);
    if (take('.')) return set_node(CodeSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).complement());
    if (take('[')) return char_class();
    if (take('(')) {
      if (take('?') && !take(':')) return refuse("a group with ?");
      TRY(PatternNode inner, choice(depth + 1));
      if (!take(')')) return refuse("a ( without a )");
      return inner;
    }
    if (at('*') || at('+') || at('?') || at('{')) return refuse("repeating nothing");
    if (at(']') || at('}')) return refuse("a bracket that was not opened");
    TRY(Bounds one, character(/*in_class=*/false));
    return set_node(std::move(one.sure));
  }

  Result<PatternNode> char_class() {
    const bool negated = take('^');
    std::vector<CodeRange> sure, possible;
    std::set<char> escapes;  // that stand for many; each counts once
    while (!at(']')) {
      if (p_ >= end_) return refuse("a [ without a ]");
      TRY(Bounds one, character(/*in_class=*/true));
      if (at('-') && p_ + 1 < end_ && p_[1] != ']') {
        ++p_;
        TRY(Bounds last, character(/*in_class=*/true));
        const auto single = [](const Bounds& b) {
          return b.sure.ranges().size() == 1 && b.sure.ranges()[0].first == b.sure.ranges()[0].last;
        };
        if (!single(one) || !single(last) || one.sure.ranges()[0].first > last.sure.ranges()[0].first)
          return refuse("a range from more to less");
        one = exactly(one.sure.ranges()[0].first, last.sure.ranges()[0].first);
      }
      if (one.sure.ranges().size() > 1 && !escapes.insert(p_[-1]).second) continue;
      sure.insert(sure.end(), one.sure.ranges().begin(), one.sure.ranges().end());
      possible.insert(possible.end(), one.possible.ranges().begin(), one.possible.ranges().end());
    }
    ++p_;
    const Bounds all{CodeSet(std::move(sure)), CodeSet(std::move(possible))};
    return set_node(negated ? all.complement().sure : all.sure);
  }

  Result<Bounds> character(bool in_class) {
    if (!take('\\')) {
      if (in_class &&
          (at('[') || (p_ + 1 < end_ && *p_ == p_[1] && std::string_view("&-~|").find(*p_) != std::string_view::npos)))
        return refuse("an unescaped [ or a doubled sign in a class");
      const uint32_t code = next_code_point(p_);
      return exactly(code, code);
    }
    if (p_ >= end_) return refuse("a \\ at the end");
    const char c = *p_++;
    const auto one = [](uint32_t code) { return exactly(code, code); };
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return digits().complement();
      case 'w':
        return words();
      case 'W':
        return words().complement();
      case 's':
        return spaces();
      case 'S':
        return spaces().complement();
      case 't':
        return one('\t');
      case 'n':
        return one('\n');
      case 'v':
        return one('\v');
      case 'f':
        return one('\f');
      case 'r':
        return one('\r');
      case 'x': {
        TRY(uint32_t code, hex(2));
        return one(code);
      }
      case 'u':
        return unicode();
      default:
        if (c == '0' && !(p_ < end_ && *p_ >= '0' && *p_ <= '9')) return one(0);
        if (static_cast<unsigned char>(c) < 0x80 && !(c >= '0' && c <= '9') &&
            !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
          return one(static_cast<uint32_t>(c));
        --p_;
        return refuse("this escape");
    }
  }

  Result<Bounds> unicode() {
    uint32_t code = 0;
    if (take('{')) {
      const char* close = std::find(p_, end_, '}');
      if (close == end_ || close == p_ || close - p_ > 6) return refuse("this \\u");
      TRY(code, hex(static_cast<int>(close - p_)));
      ++p_;
    } else {
      TRY(code, hex(4));
      if (code >= 0xd800 && code < 0xdc00 && end_ - p_ >= 6 && p_[0] == '\\' && p_[1] == 'u') {
        p_ += 2;
        TRY(uint32_t low, hex(4));
        if (low < 0xdc00 || low > 0xdfff) return refuse("half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
    }
    if (code > CodeSet::kLast || (code >= 0xd800 && code <= 0xdfff)) return refuse("half of a surrogate pair");
    return exactly(code, code);
  }

  Result<uint32_t> hex(int length) {
    uint32_t value = 0;
    for (int i = 0; i < length; ++i, ++p_) {
      const char c = p_ < end_ ? *p_ : ' ';
      const int digit = c >= '0' && c <= '9'                     ? c - '0'
                        : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                 : -1;
      if (digit < 0) return refuse("an escape without its digits");
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    return value;
  }

  std::string_view pattern_;
  const char *p_, *end_;
};

}  // namespace

Result<PatternNode> parse_pattern(std::string_view pattern) { return PatternParser(pattern).parse(); }

}  // namespace onsight::text
