// What a terminal's screen is made of.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace onsight::agents::screen {

struct Style {
  // 0: the terminal's own; 1 << 24 | one of 256; 2 << 24 | red, green, blue.
  uint32_t foreground = 0, background = 0;
  uint16_t flags = 0;
  uint8_t underline = 0;  // 0 none, 1 line, 2 double, 3 curly, 4 dotted, 5 dashed

  static constexpr uint16_t kBold = 1, kFaint = 2, kItalic = 4, kBlink = 8, kInverse = 16, kHidden = 32, kStruck = 64,
                            kOver = 128;
  bool operator==(const Style&) const = default;
};

struct Cell {
  static constexpr char32_t kRest = 0;  // the right half of a wide character
  char32_t character = U' ';
  std::array<char32_t, 3> marks{};  // drawn over it; 0: none. More are dropped
  Style style;
  uint8_t width = 1;

  bool operator==(const Cell&) const = default;
  bool is_empty() const { return *this == Cell(); }
};

using Row = std::vector<Cell>;

struct Cursor {
  int row = 0, column = 0;
  bool pending = false;  // the last column is written: the next character goes to the next row
  Style style;
  bool origin = false;                     // rows count from the scrolling region's first
  std::array<char, 2> charsets{'B', 'B'};  // '0': lines and corners
  int shift = 0;                           // which of them is in use

  bool operator==(const Cursor&) const = default;
};

struct Modes {
  bool autowrap = true, insert = false, newline = false, visible = true, reverse = false;
  bool application_cursor = false, application_keypad = false, bracketed_paste = false, focus = false;
  int mouse = 0;           // 9, 1000, 1002, 1003; 0: none
  int mouse_encoding = 0;  // 1005, 1006, 1015, 1016; 0: as X10 had it
  int cursor_shape = 0;    // DECSCUSR

  bool operator==(const Modes&) const = default;
};

struct Grid {
  std::vector<Row> rows;
  Cursor saved;
};

std::string to_utf8(char32_t character);
void append_cell(std::string& out, const Cell& cell);

}  // namespace onsight::agents::screen
