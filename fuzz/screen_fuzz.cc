// What a program writes to its terminal; the first two bytes are the screen's size, the next two that of a resize in
// the middle. Whatever screen comes of it has its size and can be drawn anew.
#include <cstdlib>
#include <string_view>

#include "agents/screen/screen.h"

namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

void expect_same_when_redrawn(const onsight::agents::screen::Screen& screen) {
  const std::string drawn = screen.redraw();
  onsight::agents::screen::Screen again(screen.rows(), screen.columns());
  again.write(drawn);
  expect(again.text() == screen.text());
  expect(again.redraw() == drawn);
  for (const char c : screen.text()) expect(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  onsight::agents::screen::Screen screen(1 + data[0] % 40, 1 + data[1] % 100);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 4, size - 4);
  screen.write(bytes.substr(0, bytes.size() / 2));
  expect_same_when_redrawn(screen);
  screen.resize(1 + data[2] % 40, 1 + data[3] % 100);
  expect(screen.rows() == 1 + data[2] % 40 && screen.columns() == 1 + data[3] % 100);
  screen.write(bytes.substr(bytes.size() / 2));
  expect_same_when_redrawn(screen);
  expect(screen.answers().size() <= 4096 && screen.answers().empty());
  return 0;
}
