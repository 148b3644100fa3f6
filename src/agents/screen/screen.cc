#include "agents/screen/screen.h"

#include <algorithm>

#include "agents/screen/terminal.h"

namespace onsight::agents::screen {
namespace {

int within_limits(int n) { return std::clamp(n, 1, 1000); }

}  // namespace

std::string to_utf8(char32_t c) {
  const auto byte = [](char32_t value) { return static_cast<char>(value); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xc0 | c >> 6), byte(0x80 | (c & 0x3f))};
  if (c < 0x10000) return {byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))};
  return {byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 0x3f)), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))};
}

void append_cell(std::string& out, const Cell& cell) {
  if (cell.width == 0) return;
  if (cell.character < 0x80)
    out += static_cast<char>(cell.character);
  else
    out += to_utf8(cell.character);
  for (const char32_t mark : cell.marks)
    if (mark != 0) out += to_utf8(mark);
}

struct Screen::State {
  State(int rows, int columns) : terminal(rows, columns) {}
  Terminal terminal;
  Parser parser;
};

Screen::Screen(int rows, int columns) : state_(std::make_unique<State>(within_limits(rows), within_limits(columns))) {}
Screen::~Screen() = default;
Screen::Screen(Screen&&) noexcept = default;
Screen& Screen::operator=(Screen&&) noexcept = default;

void Screen::write(std::string_view bytes) { state_->parser.feed(bytes, state_->terminal); }

void Screen::resize(int rows, int columns) { state_->terminal.resize(within_limits(rows), within_limits(columns)); }

std::string Screen::text() const {
  std::string out;
  for (const Row& row : state_->terminal.grid().rows) {
    for (const Cell& cell : row) append_cell(out, cell);
    out.resize(out.find_last_not_of(' ') + 1);  // not of the line's end: a line without any ends in one
    out += '\n';
  }
  out.resize(out.find_last_not_of('\n') + 1);
  return out;
}

std::string Screen::redraw() const { return screen::redraw(state_->terminal); }
std::string Screen::answers() { return state_->terminal.take_answers(); }
std::string Screen::title() const { return state_->terminal.title(); }
int Screen::rows() const { return state_->terminal.rows(); }
int Screen::columns() const { return state_->terminal.columns(); }

}  // namespace onsight::agents::screen
