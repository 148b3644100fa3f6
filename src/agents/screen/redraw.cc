#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "agents/screen/terminal.h"

namespace onsight::agents::screen {
namespace {

std::string go_to(int row, int column) { return fmt::format("\x1b[{};{}H", row + 1, column + 1); }
std::string own_mode(int mode, bool on) { return fmt::format("\x1b[?{}{}", mode, on ? 'h' : 'l'); }

void add_colour(std::string& out, uint32_t colour, int base) {
  if (colour >> 24 == 1) out += fmt::format(";{};5;{}", base, colour & 0xff);
  if (colour >> 24 == 2)
    out += fmt::format(";{};2;{};{};{}", base, colour >> 16 & 0xff, colour >> 8 & 0xff, colour & 0xff);
}

std::string in_style(const Style& style) {
  constexpr std::pair<uint16_t, const char*> kFlags[] = {
      {Style::kBold, ";1"},    {Style::kFaint, ";2"},  {Style::kItalic, ";3"}, {Style::kBlink, ";5"},
      {Style::kInverse, ";7"}, {Style::kHidden, ";8"}, {Style::kStruck, ";9"}, {Style::kOver, ";53"}};
  std::string out = "\x1b[0";
  for (const auto& [flag, code] : kFlags)
    if ((style.flags & flag) != 0) out += code;
  if (style.underline == 1) out += ";4";
  if (style.underline > 1) out += fmt::format(";4:{}", style.underline);
  add_colour(out, style.foreground, 38);
  add_colour(out, style.background, 48);
  return out + "m";
}

void draw(std::string& out, const Grid& grid) {
  Style style;
  out += "\x1b[?6l\x1b(B\x0f\x1b[m\x1b[H\x1b[2J";
  for (size_t y = 0; y < grid.rows.size(); ++y) {
    const Row& row = grid.rows[y];
    size_t end = row.size();
    while (end > 0 && row[end - 1].is_empty()) --end;
    if (end > 0) out += go_to(static_cast<int>(y), 0);
    for (size_t x = 0; x < end; ++x) {
      if (row[x].width == 0) continue;
      if (!(row[x].style == style)) out += in_style(style = row[x].style);
      append_cell(out, row[x]);
    }
  }
  out += "\x1b[m";
}

// Rows count from the region's first where the cursor says so, and then it lies in it.
void place(std::string& out, const Terminal& terminal, const Grid& grid, const Cursor& cursor) {
  const int row = cursor.origin ? std::clamp(cursor.row, terminal.top(), terminal.bottom()) : cursor.row;
  const int first = cursor.origin ? terminal.top() : 0;
  out += "\x1b(B\x1b)B\x0f";
  out += own_mode(6, cursor.origin);
  if (cursor.pending) {  // the last column is written once more
    const Row& cells = grid.rows[static_cast<size_t>(row)];
    const auto last = static_cast<size_t>(cursor.column);
    const size_t at = cells[last].width == 0 ? last - 1 : last;
    out += go_to(row - first, static_cast<int>(at)) + in_style(cells[at].style);
    append_cell(out, cells[at]);
  } else {
    out += go_to(row - first, cursor.column);
  }
  out += in_style(cursor.style);
  if (cursor.charsets[0] == '0') out += "\x1b(0";
  if (cursor.charsets[1] == '0') out += "\x1b)0";
  if (cursor.shift == 1) out += '\x0e';
}

void set_tabs(std::string& out, const Terminal& terminal) {
  bool usual = true;
  for (size_t i = 0; i < terminal.tabs().size(); ++i) usual = usual && terminal.tabs()[i] == (i % 8 == 0);
  if (usual) return;
  out += "\x1b[3g";
  for (size_t i = 0; i < terminal.tabs().size(); ++i)
    if (terminal.tabs()[i]) out += go_to(0, static_cast<int>(i)) + "\x1bH";
}

}  // namespace

std::string redraw(const Terminal& terminal) {
  const Modes& modes = terminal.modes();
  std::string out;
  if (terminal.top() > 0 || terminal.bottom() < terminal.rows() - 1)
    out += fmt::format("\x1b[{};{}r", terminal.top() + 1, terminal.bottom() + 1);
  set_tabs(out, terminal);
  draw(out, terminal.main());
  if (terminal.alternate()) {
    place(out, terminal, terminal.main(), terminal.main().saved);
    out += own_mode(1049, true);
    draw(out, terminal.grid());
  }
  if (!(terminal.grid().saved == Cursor())) {
    place(out, terminal, terminal.grid(), terminal.grid().saved);
    out +=
        "\x1b"
        "7";
  }
  place(out, terminal, terminal.grid(), terminal.cursor());
  if (modes.insert) out += "\x1b[4h";
  if (modes.newline) out += "\x1b[20h";
  if (!modes.autowrap) out += own_mode(7, false);
  if (!modes.visible) out += own_mode(25, false);
  if (modes.reverse) out += own_mode(5, true);
  if (modes.application_cursor) out += own_mode(1, true);
  if (modes.application_keypad) out += "\x1b=";
  if (modes.bracketed_paste) out += own_mode(2004, true);
  if (modes.focus) out += own_mode(1004, true);
  if (modes.mouse != 0) out += own_mode(modes.mouse, true);
  if (modes.mouse_encoding != 0) out += own_mode(modes.mouse_encoding, true);
  if (modes.cursor_shape != 0) out += fmt::format("\x1b[{} q", modes.cursor_shape);
  if (!terminal.title().empty()) out += fmt::format("\x1b]2;{}\x1b\\", terminal.title());
  return out;
}

}  // namespace onsight::agents::screen
