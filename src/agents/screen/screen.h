// Screen: what a terminal shows, out of the bytes that a program wrote to it (ECMA-48 and what xterm adds, as far as
// coding agents use it). Hostile bytes can do nothing but look strange.
//
//   screen::Screen screen(24, 80);
//   screen.write("\x1b[1mhello\x1b[0m");
//   screen.text();   // "hello", lines without spaces at their ends
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace onsight::agents::screen {

class Screen {
 public:
  Screen(int rows, int columns);  // 1..1000 each
  ~Screen();
  Screen(Screen&&) noexcept;
  Screen& operator=(Screen&&) noexcept;

  void write(std::string_view bytes);  // may end in the middle of a character or a sequence
  void resize(int rows, int columns);
  std::string text() const;  // UTF-8; empty lines at the end are left out
  // Bytes that draw the same screen on an empty terminal: cells with colours, cursor and modes; for one that attaches.
  std::string redraw() const;
  // What the program asked of its terminal since the last call (where the cursor is, what it is): to be written back.
  std::string answers();
  std::string title() const;
  int rows() const;
  int columns() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace onsight::agents::screen
