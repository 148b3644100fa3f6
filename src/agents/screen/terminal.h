// Terminal: the state behind a Screen, which a parser's output changes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agents/screen/cells.h"
#include "agents/screen/parser.h"

namespace onsight::agents::screen {

class Terminal : public Receiver {
 public:
  Terminal(int rows, int columns);
  void resize(int rows, int columns);

  void print(char32_t character) override;
  void control(char code) override;
  void escape(char intermediate, char final) override;
  void sequence(const Sequence& sequence) override;
  void text(char kind, std::string_view contents) override;

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  const Grid& grid() const { return alternate_ ? other_ : main_; }
  const Grid& main() const { return main_; }
  bool alternate() const { return alternate_; }
  const Cursor& cursor() const { return cursor_; }
  const Modes& modes() const { return modes_; }
  int top() const { return top_; }
  int bottom() const { return bottom_; }
  const std::vector<bool>& tabs() const { return tabs_; }
  const std::string& title() const { return title_; }
  std::string take_answers();

 private:
  Grid& shown() { return alternate_ ? other_ : main_; }
  Row& row(int n) { return shown().rows[static_cast<size_t>(n)]; }
  Cell blank() const;
  Grid empty_grid() const;

  void reset();
  void soft_reset();
  void put(char32_t character, int width);
  void add_mark(char32_t character);
  void break_wide(int row_number, int column);
  void clear_cells(int row_number, int first, int end);
  void erase_screen(int which);
  void erase_line(int which);
  void insert_cells(int count);
  void delete_cells(int count);
  void scroll_up(int first, int count);
  void scroll_down(int first, int count);
  void index();
  void reverse_index();
  void next_row();
  void move_to(int row_number, int column);
  void move_rows(int by);
  void move_columns(int by);
  void tab(int count);
  void save();
  void restore();
  void show_alternate(bool on, bool with_cursor, bool clear);
  void set_mode(int mode, bool on);
  void set_own_mode(int mode, bool on);
  int own_mode(int mode) const;
  void set_margins(int top, int bottom);
  void set_style(const Sequence& sequence);
  void own_sequence(const Sequence& sequence);
  void report(const Sequence& sequence);
  void answer(std::string_view bytes);

  int rows_, columns_;
  Grid main_, other_;
  bool alternate_ = false;
  Cursor cursor_;
  Modes modes_;
  int top_ = 0, bottom_;
  std::vector<bool> tabs_;
  std::string title_, answers_;
  char32_t last_ = 0;  // for REP
};

std::string redraw(const Terminal& terminal);

}  // namespace onsight::agents::screen
