// The part of Terminal that changes how it works, not what it shows: modes, styles, answers.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agents/screen/terminal.h"
#include "agents/screen/width.h"

namespace onsight::agents::screen {
namespace {

constexpr size_t kLongestTitle = 256, kLongestAnswers = 4096;

uint32_t indexed(int n) { return 1U << 24 | static_cast<uint32_t>(std::clamp(n, 0, 255)); }
uint32_t direct(int red, int green, int blue) {
  const auto part = [](int value) { return static_cast<uint32_t>(std::clamp(value, 0, 255)); };
  return 2U << 24 | part(red) << 16 | part(green) << 8 | part(blue);
}

// 38, 48 or 58 at `i`, in either spelling; leaves `i` at the last value that belongs to it.
uint32_t colour_at(const Sequence& s, int& i, uint32_t otherwise) {
  if (i + 1 < s.count && s.sub[static_cast<size_t>(i) + 1]) {  // 38:5:N, 38:2:R:G:B, 38:2:SPACE:R:G:B
    int last = i;
    while (last + 1 < s.count && s.sub[static_cast<size_t>(last) + 1]) ++last;
    const int first = std::exchange(i, last) + 1;
    if (s.value(first, 0) == 5 && last > first) return indexed(s.value(first + 1, 0));
    if (s.value(first, 0) == 2 && last - first >= 3) {
      const int red = last - first >= 4 ? first + 2 : first + 1;
      return direct(s.value(red, 0), s.value(red + 1, 0), s.value(red + 2, 0));
    }
    return otherwise;
  }
  const int kind = s.value(i + 1, 0);
  if (kind == 5) {
    i += 2;
    return i < s.count ? indexed(s.value(i, 0)) : otherwise;
  }
  if (kind == 2) {
    i += 4;
    return i < s.count ? direct(s.value(i - 2, 0), s.value(i - 1, 0), s.value(i, 0)) : otherwise;
  }
  ++i;
  return otherwise;
}

// Of a title, what a terminal shows of it.
class TitleReceiver : public Receiver {
 public:
  void print(char32_t character) override {
    if (columns_of(character) >= 0 && title.size() < kLongestTitle) title += to_utf8(character);
  }
  void control(char) override {}
  void escape(char, char) override {}
  void sequence(const Sequence&) override {}
  void text(char, std::string_view) override {}
  std::string title;
};

}  // namespace

void Terminal::set_mode(int mode, bool on) {
  if (mode == 4) modes_.insert = on;
  if (mode == 20) modes_.newline = on;
}

void Terminal::set_own_mode(int mode, bool on) {
  switch (mode) {
    case 1:
      modes_.application_cursor = on;
      return;
    case 5:
      modes_.reverse = on;
      return;
    case 6:
      cursor_.origin = on;
      return move_to(0, 0);
    case 7:
      modes_.autowrap = on;
      return;
    case 25:
      modes_.visible = on;
      return;
    case 47:
    case 1047:
      return show_alternate(on, false, true);
    case 1048:
      return on ? save() : restore();
    case 1049:
      return show_alternate(on, true, true);
    case 9:
    case 1000:
    case 1002:
    case 1003:
      modes_.mouse = on ? mode : 0;
      return;
    case 1004:
      modes_.focus = on;
      return;
    case 1005:
    case 1006:
    case 1015:
    case 1016:
      modes_.mouse_encoding = on ? mode : 0;
      return;
    case 2004:
      modes_.bracketed_paste = on;
      return;
    default:
      return;
  }
}

// As DECRQM answers: 1 on, 2 off, 0 not known.
int Terminal::own_mode(int mode) const {
  const auto is = [](bool on) { return on ? 1 : 2; };
  switch (mode) {
    case 1:
      return is(modes_.application_cursor);
    case 5:
      return is(modes_.reverse);
    case 6:
      return is(cursor_.origin);
    case 7:
      return is(modes_.autowrap);
    case 25:
      return is(modes_.visible);
    case 47:
    case 1047:
    case 1049:
      return is(alternate_);
    case 9:
    case 1000:
    case 1002:
    case 1003:
      return is(modes_.mouse == mode);
    case 1004:
      return is(modes_.focus);
    case 1005:
    case 1006:
    case 1015:
    case 1016:
      return is(modes_.mouse_encoding == mode);
    case 2004:
      return is(modes_.bracketed_paste);
    default:
      return 0;
  }
}

void Terminal::show_alternate(bool on, bool with_cursor, bool clear) {
  if (on == alternate_) {
    if (!on && with_cursor) restore();
    return;
  }
  if (on && with_cursor) save();
  alternate_ = on;
  if (on && clear) other_ = empty_grid();
  if (!on && with_cursor) restore();
}

void Terminal::set_margins(int top, int bottom) {
  bottom = std::min(bottom, rows_ - 1);
  if (top >= bottom && rows_ > 1) return;
  top_ = std::min(top, bottom), bottom_ = bottom;
  move_to(0, 0);
}

void Terminal::set_style(const Sequence& s) {
  Style& style = cursor_.style;
  const auto set = [&](uint16_t flag, bool on) {
    style.flags = static_cast<uint16_t>(on ? style.flags | flag : style.flags & ~flag);
  };
  if (s.count == 0) style = {};
  for (int i = 0; i < s.count; ++i) {
    const int n = s.value(i, 0);
    const bool followed = i + 1 < s.count && s.sub[static_cast<size_t>(i) + 1];
    if (s.sub[static_cast<size_t>(i)]) continue;  // of one that is not known
    if (n == 38)
      style.foreground = colour_at(s, i, style.foreground);
    else if (n == 48)
      style.background = colour_at(s, i, style.background);
    else if (n == 58)
      (void)colour_at(s, i, 0);
    else if (n == 0)
      style = {};
    else if (n == 1)
      set(Style::kBold, true);
    else if (n == 2)
      set(Style::kFaint, true);
    else if (n == 3)
      set(Style::kItalic, true);
    else if (n == 4)
      style.underline = static_cast<uint8_t>(followed ? std::clamp(s.value(++i, 1), 0, 5) : 1);
    else if (n == 5 || n == 6)
      set(Style::kBlink, true);
    else if (n == 7)
      set(Style::kInverse, true);
    else if (n == 8)
      set(Style::kHidden, true);
    else if (n == 9)
      set(Style::kStruck, true);
    else if (n == 21)
      style.underline = 2;
    else if (n == 22)
      set(Style::kBold | Style::kFaint, false);
    else if (n == 23)
      set(Style::kItalic, false);
    else if (n == 24)
      style.underline = 0;
    else if (n == 25)
      set(Style::kBlink, false);
    else if (n == 27)
      set(Style::kInverse, false);
    else if (n == 28)
      set(Style::kHidden, false);
    else if (n == 29)
      set(Style::kStruck, false);
    else if (n >= 30 && n <= 37)
      style.foreground = indexed(n - 30);
    else if (n == 39)
      style.foreground = 0;
    else if (n >= 40 && n <= 47)
      style.background = indexed(n - 40);
    else if (n == 49)
      style.background = 0;
    else if (n == 53)
      set(Style::kOver, true);
    else if (n == 55)
      set(Style::kOver, false);
    else if (n >= 90 && n <= 97)
      style.foreground = indexed(n - 90 + 8);
    else if (n >= 100 && n <= 107)
      style.background = indexed(n - 100 + 8);
  }
}

void Terminal::own_sequence(const Sequence& s) {
  if (s.prefix == '?' && s.intermediate == 0 && (s.final == 'h' || s.final == 'l')) {
    for (int i = 0; i < s.count; ++i) set_own_mode(s.value(i, 0), s.final == 'h');
  } else if (s.prefix == '?' && s.intermediate == 0 && s.final == 'J') {
    erase_screen(s.value(0, 0));  // but protected cells, which there are none of
  } else if (s.prefix == '?' && s.intermediate == 0 && s.final == 'K') {
    erase_line(s.value(0, 0));
  } else if (s.prefix == 0 && s.intermediate == '!' && s.final == 'p') {
    soft_reset();
  } else if (s.prefix == 0 && s.intermediate == ' ' && s.final == 'q') {
    modes_.cursor_shape = std::clamp(s.value(0, 0), 0, 6);
  } else if (s.intermediate == '$' && s.final == 'p') {
    const int mode = s.value(0, 0);
    int state = mode == 4 ? (modes_.insert ? 1 : 2) : mode == 20 ? (modes_.newline ? 1 : 2) : 0;
    if (s.prefix == '?') state = own_mode(mode);
    if (s.prefix == 0 || s.prefix == '?')
      answer(fmt::format("\x1b[{}{};{}$y", s.prefix == '?' ? "?" : "", mode, state));
  } else if (s.intermediate == 0 && (s.final == 'c' || s.final == 'n')) {
    report(s);
  }
}

void Terminal::report(const Sequence& s) {
  const int n = s.value(0, 0);
  const auto place = [&] {
    return fmt::format("{};{}R", cursor_.row - (cursor_.origin ? top_ : 0) + 1, cursor_.column + 1);
  };
  if (s.final == 'c' && n == 0) {
    if (s.prefix == 0) answer("\x1b[?62;22c");  // a VT220 with colours
    if (s.prefix == '>') answer("\x1b[>1;10;0c");
  } else if (s.final == 'n' && s.prefix == 0 && n == 5) {
    answer("\x1b[0n");
  } else if (s.final == 'n' && s.prefix == 0 && n == 6) {
    answer("\x1b[" + place());
  } else if (s.final == 'n' && s.prefix == '?' && n == 6) {
    answer("\x1b[?" + place());
  } else if (s.final == 't' && n == 18) {
    answer(fmt::format("\x1b[8;{};{}t", rows_, columns_));
  }
}

void Terminal::text(char kind, std::string_view contents) {
  if (kind == 'P') {  // what is asked for by its name: not known
    if (contents.starts_with("$q")) answer("\x1bP0$r\x1b\\");
    if (contents.starts_with("+q")) answer("\x1bP0+r\x1b\\");
  }
  if (kind != ']') return;
  const std::string_view command = contents.substr(0, contents.find(';'));
  const std::string_view rest = contents.substr(std::min(command.size() + 1, contents.size()));
  if (command == "0" || command == "2") {
    TitleReceiver receiver;
    Parser().feed(rest, receiver);
    title_ = std::move(receiver.title);
  } else if (command == "10" && rest == "?") {
    answer("\x1b]10;rgb:ffff/ffff/ffff\x1b\\");
  } else if (command == "11" && rest == "?") {
    answer("\x1b]11;rgb:0000/0000/0000\x1b\\");
  }
}

// Of a program that asks and asks, and nobody reads, the first questions are answered.
void Terminal::answer(std::string_view bytes) {
  if (answers_.size() + bytes.size() <= kLongestAnswers) answers_ += bytes;
}

std::string Terminal::take_answers() { return std::exchange(answers_, {}); }

}  // namespace onsight::agents::screen
