#include "agents/screen/terminal.h"

#include <algorithm>

#include "agents/screen/width.h"

namespace onsight::agents::screen {
namespace {

constexpr int kTabColumns = 8;

// What DEC's line drawing shows for _ to ~.
constexpr char32_t kLines[] = {0xa0,   0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0xb0,   0xb1,   0x2424, 0x240b,
                               0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x23ba, 0x23bb, 0x2500, 0x23bc, 0x23bd, 0x251c,
                               0x2524, 0x2534, 0x252c, 0x2502, 0x2264, 0x2265, 0x3c0,  0x2260, 0xa3,   0xb7};

void fit_row(Row& row, int columns) {
  row.resize(static_cast<size_t>(columns));
  if (row.back().width == 2) row.back() = {.style = row.back().style};
}

void fit_grid(Grid& grid, int rows, int columns, int first) {
  grid.rows.erase(grid.rows.begin(), grid.rows.begin() + first);
  grid.rows.resize(static_cast<size_t>(rows));
  for (Row& row : grid.rows) fit_row(row, columns);
  grid.saved.row = std::clamp(grid.saved.row - first, 0, rows - 1);
  grid.saved.column = std::min(grid.saved.column, columns - 1);
  grid.saved.pending = false;
}

}  // namespace

Terminal::Terminal(int rows, int columns) : rows_(rows), columns_(columns), bottom_(rows - 1) { reset(); }

void Terminal::reset() {
  main_ = other_ = empty_grid();
  alternate_ = false;
  cursor_ = {};
  modes_ = {};
  top_ = 0, bottom_ = rows_ - 1;
  tabs_.assign(static_cast<size_t>(columns_), false);
  for (int i = 0; i < columns_; i += kTabColumns) tabs_[static_cast<size_t>(i)] = true;
  title_.clear();
  last_ = 0;
}

void Terminal::soft_reset() {
  cursor_.style = {};
  cursor_.origin = cursor_.pending = false;
  cursor_.charsets = {'B', 'B'};
  cursor_.shift = 0;
  modes_.insert = modes_.application_cursor = modes_.application_keypad = false;
  modes_.autowrap = modes_.visible = true;
  top_ = 0, bottom_ = rows_ - 1;
  shown().saved = {};
}

Grid Terminal::empty_grid() const {
  return {.rows = std::vector<Row>(static_cast<size_t>(rows_), Row(static_cast<size_t>(columns_))), .saved = {}};
}

// Erased cells take the background, nothing else.
Cell Terminal::blank() const {
  Cell cell;
  cell.style.background = cursor_.style.background;
  return cell;
}

void Terminal::resize(int rows, int columns) {
  // The row of the cursor stays: what lies above it leaves first, as if it had been scrolled.
  const int row_number = cursor_.row, main_row = alternate_ ? main_.saved.row : row_number;
  const int first = std::max(0, row_number - (rows - 1));
  fit_grid(main_, rows, columns, std::min(std::max(0, main_row - (rows - 1)), static_cast<int>(main_.rows.size())));
  fit_grid(other_, rows, columns, alternate_ ? first : 0);
  const auto known = static_cast<int>(tabs_.size());
  tabs_.resize(static_cast<size_t>(columns), false);
  for (int i = known; i < columns; ++i) tabs_[static_cast<size_t>(i)] = i % kTabColumns == 0;
  rows_ = rows, columns_ = columns;
  top_ = 0, bottom_ = rows - 1;
  cursor_.row = std::clamp(cursor_.row - first, 0, rows - 1);
  cursor_.column = std::min(cursor_.column, columns - 1);
  cursor_.pending = false;
}

void Terminal::print(char32_t character) {
  if (character >= 0x5f && character <= 0x7e && cursor_.charsets[static_cast<size_t>(cursor_.shift)] == '0')
    character = kLines[character - 0x5f];
  const int width = columns_of(character);
  if (width == 0) return add_mark(character);
  if (width < 0) return;
  put(character, width);
  last_ = character;
}

void Terminal::put(char32_t character, int width) {
  if (width > columns_) return;
  if (cursor_.pending && modes_.autowrap) {
    cursor_.column = 0;
    index();
  }
  cursor_.pending = false;
  if (cursor_.column + width > columns_) {
    if (!modes_.autowrap) return;
    clear_cells(cursor_.row, cursor_.column, columns_);
    cursor_.column = 0;
    index();
  }
  if (modes_.insert) insert_cells(width);
  break_wide(cursor_.row, cursor_.column);
  break_wide(cursor_.row, cursor_.column + width);
  Row& cells = row(cursor_.row);
  const auto at = static_cast<size_t>(cursor_.column);
  cells[at] = {.character = character, .style = cursor_.style, .width = static_cast<uint8_t>(width)};
  if (width == 2) cells[at + 1] = {.character = Cell::kRest, .style = cursor_.style, .width = 0};
  cursor_.column += width;
  if (cursor_.column == columns_) {
    cursor_.column = columns_ - 1;
    cursor_.pending = true;
  }
}

void Terminal::add_mark(char32_t character) {
  int column = cursor_.pending ? cursor_.column : cursor_.column - 1;
  if (column < 0) return;
  Row& cells = row(cursor_.row);
  if (cells[static_cast<size_t>(column)].width == 0) --column;
  for (char32_t& mark : cells[static_cast<size_t>(column)].marks) {
    if (mark != 0) continue;
    mark = character;
    return;
  }
}

// Where a wide character would be cut before `column`, both halves become spaces.
void Terminal::break_wide(int row_number, int column) {
  if (column <= 0 || column >= columns_) return;
  Row& cells = row(row_number);
  Cell &left = cells[static_cast<size_t>(column - 1)], &right = cells[static_cast<size_t>(column)];
  if (right.width != 0) return;
  left = {.style = left.style};
  right = {.style = right.style};
}

void Terminal::clear_cells(int row_number, int first, int end) {
  break_wide(row_number, first);
  break_wide(row_number, end);
  Row& cells = row(row_number);
  std::fill(cells.begin() + first, cells.begin() + end, blank());
}

void Terminal::erase_screen(int which) {
  if (which > 2) return;  // 3: of what was scrolled away, which is not kept
  if (which == 0) clear_cells(cursor_.row, cursor_.column, columns_);
  if (which == 1) clear_cells(cursor_.row, 0, cursor_.column + 1);
  const int first = which == 0 ? cursor_.row + 1 : 0, end = which == 1 ? cursor_.row : rows_;
  for (int i = first; i < end; ++i) clear_cells(i, 0, columns_);
}

void Terminal::erase_line(int which) {
  if (which > 2) return;
  clear_cells(cursor_.row, which == 0 ? cursor_.column : 0, which == 1 ? cursor_.column + 1 : columns_);
}

void Terminal::insert_cells(int count) {
  count = std::min(count, columns_ - cursor_.column);
  break_wide(cursor_.row, cursor_.column);
  break_wide(cursor_.row, columns_ - count);
  Row& cells = row(cursor_.row);
  std::move_backward(cells.begin() + cursor_.column, cells.end() - count, cells.end());
  std::fill_n(cells.begin() + cursor_.column, count, blank());
}

void Terminal::delete_cells(int count) {
  count = std::min(count, columns_ - cursor_.column);
  break_wide(cursor_.row, cursor_.column);
  break_wide(cursor_.row, cursor_.column + count);
  Row& cells = row(cursor_.row);
  std::move(cells.begin() + cursor_.column + count, cells.end(), cells.begin() + cursor_.column);
  std::fill_n(cells.end() - count, count, blank());
}

// Rows from `first` to the region's last.
void Terminal::scroll_up(int first, int count) {
  count = std::min(count, bottom_ - first + 1);
  std::vector<Row>& rows = shown().rows;
  std::rotate(rows.begin() + first, rows.begin() + first + count, rows.begin() + bottom_ + 1);
  for (int i = bottom_ - count + 1; i <= bottom_; ++i) clear_cells(i, 0, columns_);
}

void Terminal::scroll_down(int first, int count) {
  count = std::min(count, bottom_ - first + 1);
  std::vector<Row>& rows = shown().rows;
  std::rotate(rows.begin() + first, rows.begin() + bottom_ + 1 - count, rows.begin() + bottom_ + 1);
  for (int i = first; i < first + count; ++i) clear_cells(i, 0, columns_);
}

void Terminal::index() {
  cursor_.pending = false;
  if (cursor_.row == bottom_)
    scroll_up(top_, 1);
  else if (cursor_.row < rows_ - 1)
    ++cursor_.row;
}

void Terminal::reverse_index() {
  cursor_.pending = false;
  if (cursor_.row == top_)
    scroll_down(top_, 1);
  else if (cursor_.row > 0)
    --cursor_.row;
}

void Terminal::move_to(int row_number, int column) {
  const int first = cursor_.origin ? top_ : 0, last = cursor_.origin ? bottom_ : rows_ - 1;
  cursor_.row = std::clamp(row_number + first, first, last);
  cursor_.column = std::clamp(column, 0, columns_ - 1);
  cursor_.pending = false;
}

// From within the scrolling region not out of it.
void Terminal::move_rows(int by) {
  const int first = cursor_.row >= top_ ? top_ : 0, last = cursor_.row <= bottom_ ? bottom_ : rows_ - 1;
  cursor_.row = std::clamp(cursor_.row + by, first, last);
  cursor_.pending = false;
}

void Terminal::move_columns(int by) {
  cursor_.column = std::clamp(cursor_.column + by, 0, columns_ - 1);
  cursor_.pending = false;
}

void Terminal::tab(int count) {
  cursor_.pending = false;
  const int step = count > 0 ? 1 : -1, last = count > 0 ? columns_ - 1 : 0;
  for (; count != 0 && cursor_.column != last; count -= step) do
      cursor_.column += step;
    while (cursor_.column != last && !tabs_[static_cast<size_t>(cursor_.column)]);
}

void Terminal::save() { shown().saved = cursor_; }

void Terminal::restore() {
  cursor_ = shown().saved;
  if (cursor_.origin) cursor_.row = std::clamp(cursor_.row, top_, bottom_);
}

void Terminal::control(char code) {
  switch (code) {
    case '\b':
      return move_columns(-1);
    case '\t':
      return tab(1);
    case '\n':
    case '\v':
    case '\f':
      if (modes_.newline) cursor_.column = 0;
      return index();
    case '\r':
      cursor_.column = 0;
      cursor_.pending = false;
      return;
    case '\x0e':
      cursor_.shift = 1;
      return;
    case '\x0f':
      cursor_.shift = 0;
      return;
    default:
      return;
  }
}

void Terminal::escape(char intermediate, char final) {
  if (intermediate == '(' || intermediate == ')') {
    cursor_.charsets[intermediate == '(' ? 0 : 1] = final == '0' ? '0' : 'B';
    return;
  }
  if (intermediate == '#' && final == '8') {  // a screen of E, to adjust a monitor by
    for (int i = 0; i < rows_; ++i) std::fill(row(i).begin(), row(i).end(), Cell{.character = U'E'});
    top_ = 0, bottom_ = rows_ - 1;
    cursor_.origin = false;
    return move_to(0, 0);
  }
  if (intermediate != 0) return;
  switch (final) {
    case '7':
      return save();
    case '8':
      return restore();
    case 'D':
      return index();
    case 'E':
      cursor_.column = 0;
      return index();
    case 'H':
      tabs_[static_cast<size_t>(cursor_.column)] = true;
      return;
    case 'M':
      return reverse_index();
    case 'c':
      return reset();
    case '=':
    case '>':
      modes_.application_keypad = final == '=';
      return;
    default:
      return;
  }
}

void Terminal::sequence(const Sequence& s) {
  if (s.prefix != 0 || s.intermediate != 0) return own_sequence(s);
  switch (s.final) {
    case '@':
      cursor_.pending = false;
      return insert_cells(s.times(0));
    case 'A':
      return move_rows(-s.times(0));
    case 'B':
    case 'e':
      return move_rows(s.times(0));
    case 'C':
    case 'a':
      return move_columns(s.times(0));
    case 'D':
      return move_columns(-s.times(0));
    case 'E':
    case 'F':
      cursor_.column = 0;
      return move_rows(s.final == 'E' ? s.times(0) : -s.times(0));
    case 'G':
    case '`':
      return move_columns(s.times(0) - 1 - cursor_.column);
    case 'H':
    case 'f':
      return move_to(s.times(0) - 1, s.times(1) - 1);
    case 'd':
      return move_to(s.times(0) - 1, cursor_.column);
    case 'I':
      return tab(std::min(s.times(0), columns_));
    case 'Z':
      return tab(-std::min(s.times(0), columns_));
    case 'J':
      cursor_.pending = false;
      return erase_screen(s.value(0, 0));
    case 'K':
      cursor_.pending = false;
      return erase_line(s.value(0, 0));
    case 'X':
      cursor_.pending = false;
      return clear_cells(cursor_.row, cursor_.column, std::min(cursor_.column + s.times(0), columns_));
    case 'P':
      cursor_.pending = false;
      return delete_cells(s.times(0));
    case 'L':
    case 'M':
      if (cursor_.row < top_ || cursor_.row > bottom_) return;
      cursor_.column = 0;
      cursor_.pending = false;
      return s.final == 'L' ? scroll_down(cursor_.row, s.times(0)) : scroll_up(cursor_.row, s.times(0));
    case 'S':
      return scroll_up(top_, s.times(0));
    case 'T':
      return s.count <= 1 ? scroll_down(top_, s.times(0)) : void();  // of more: following the mouse
    case 'b':
      for (int i = std::min(s.times(0), rows_ * columns_); i > 0 && last_ != 0; --i) put(last_, columns_of(last_));
      return;
    case 'g':
      if (s.value(0, 0) == 0) tabs_[static_cast<size_t>(cursor_.column)] = false;
      if (s.value(0, 0) == 3) tabs_.assign(tabs_.size(), false);
      return;
    case 'h':
    case 'l':
      for (int i = 0; i < s.count; ++i) set_mode(s.value(i, 0), s.final == 'h');
      return;
    case 'm':
      return set_style(s);
    case 'r':
      return set_margins(s.times(0) - 1, s.value(1, 0) > 0 ? s.value(1, 0) - 1 : rows_ - 1);
    case 's':
      return save();
    case 'u':
      return restore();
    case 'c':
    case 'n':
    case 't':
      return report(s);
    default:
      return;
  }
}

}  // namespace onsight::agents::screen
