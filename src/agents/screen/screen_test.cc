#include "agents/screen/screen.h"

#include <gtest/gtest.h>

#include <random>

namespace onsight::agents::screen {
namespace {

std::string shown(std::string_view bytes, int rows = 4, int columns = 10) {
  Screen screen(rows, columns);
  screen.write(bytes);
  return screen.text();
}

// Drawn anew, it is the same screen, and would be drawn so again.
void expect_same_when_redrawn(const Screen& screen) {
  Screen again(screen.rows(), screen.columns());
  again.write(screen.redraw());
  EXPECT_EQ(again.text(), screen.text());
  EXPECT_EQ(again.redraw(), screen.redraw());
  EXPECT_EQ(again.title(), screen.title());
}

TEST(Screen, ShowsText) {
  EXPECT_EQ(shown("\x1b[1mhello\x1b[0m  "), "hello");
  EXPECT_EQ(shown("one\r\ntwo\n\rthree"), "one\ntwo\nthree");
  EXPECT_EQ(shown("\r\n\r\n  x\r\n"), "\n\n  x");
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown("0123456789abc"), "0123456789\nabc");
  EXPECT_EQ(shown("0123456789\r\nabc"), "0123456789\nabc");  // the last column is no new line yet
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\r\n5"), "2\n3\n4\n5");
  EXPECT_EQ(shown("a\tb\bc"), "a       c");
  EXPECT_EQ(shown("\x1b[?7l0123456789abc"), "012345678c");
}

TEST(Screen, ReadsCharactersOfSeveralBytes) {
  EXPECT_EQ(shown("\xc3\xa4\xe2\x82\xac"), "ä€");
  EXPECT_EQ(shown("e\xcc\x81x"), "e\xcc\x81x");    // a mark goes with its letter
  EXPECT_EQ(shown("\xcc\x81x"), "x");              // and is nothing without one
  EXPECT_EQ(shown("漢字ab\x1b[1;3Hx"), "漢x ab");  // half of a wide one is overwritten
  EXPECT_EQ(shown("\x1b[1;10H漢"), "\n漢");        // and none is cut by the edge
  EXPECT_EQ(shown("👍🏽!"), "👍🏽!");
  EXPECT_EQ(shown("a\xffz\xc3(\xe2\x82"), "a\xef\xbf\xbdz\xef\xbf\xbd(");
  Screen screen(2, 10);
  for (const char byte : std::string("漢\x1b[31mx")) screen.write({&byte, 1});  // however it is cut
  EXPECT_EQ(screen.text(), "漢x");
  EXPECT_EQ(shown("\xe2\x80\xae"
                  "abc"),
            "abc");  // nothing that turns the line around
}

TEST(Screen, MovesErasesInsertsAndDeletes) {
  EXPECT_EQ(shown("abcdef\x1b[3D\x1b[K"), "abc");
  EXPECT_EQ(shown("abcdef\x1b[3D\x1b[1K"), "    ef");
  EXPECT_EQ(shown("abcdef\x1b[1;2H\x1b[2P"), "adef");
  EXPECT_EQ(shown("abcdef\x1b[1;2H\x1b[2@x"), "ax bcdef");
  EXPECT_EQ(shown("abcdef\x1b[1;2H\x1b[2X"), "a  def");
  EXPECT_EQ(shown("abc\x1b[1;2H\x1b[4hx"), "axbc");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[L"), "1\n\n2\n3");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[2M"), "1\n4");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[J"), "1");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[1J"), "\n\n3\n4");
  EXPECT_EQ(shown("1\r\n2\x1b[2J3"), "\n 3");
  EXPECT_EQ(shown("ab\x1b[3b"), "abbbb");
  EXPECT_EQ(shown("\x1b[3;4Hx\x1b[Ay\x1b[2Dz\x1b[B\x1b[Gw"), "\n   zy\nw  x");
}

TEST(Screen, ScrollsARegion) {
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx"), "1\n3\nx\n4");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[2;1H\x1bMx"), "1\nx\n2\n4");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[S"), "1\n3\n\n4");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;4r\x1b[2T"), "1\n\n\n2");
  EXPECT_EQ(shown("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[?6h\x1b[1;1Hx\x1b[9;1Hy"), "1\nx\ny\n4");
  EXPECT_EQ(shown("\x1b[2;3r\x1b[4;1Ha\nb"), "\n\n\nab");  // below it nothing moves
}

TEST(Screen, HasASecondScreen) {
  Screen screen(3, 10);
  screen.write("shell$ vim\x1b[?1049h\x1b[2J\x1b[Hin vim");
  EXPECT_EQ(screen.text(), "in vim");
  expect_same_when_redrawn(screen);
  screen.write("\x1b[?1049l!");
  EXPECT_EQ(screen.text(), "shell$ vim\n!");
  expect_same_when_redrawn(screen);
  // What was drawn anew goes back to the first screen too.
  Screen other(3, 10), attached(3, 10);
  other.write("ab\x1b[32m\x1b[?1049h12");
  attached.write(other.redraw());
  for (Screen* one : {&other, &attached}) one->write("\x1b[?1049lc");
  EXPECT_EQ(attached.text(), "abc");
  EXPECT_EQ(attached.redraw(), other.redraw());
}

TEST(Screen, DrawsAnew) {
  Screen screen(6, 20);
  screen.write("\x1b]0;a title\x07\x1b[1;4:3;38;5;200;48;2;1;2;3mstyled\x1b[0m plain \x1b[7;91minverse\x1b[m\r\n");
  screen.write("\x1b(0lqk\x1b(B 漢e\xcc\x81\x1b[44m\x1b[K\x1b[m");
  expect_same_when_redrawn(screen);
  screen.write(
      "\x1b[2;4r\x1b[?6h\x1b[3;5H\x1b"
      "7\x1b[?25l\x1b[?2004h\x1b[?1002;1006h\x1b[4h\x1b[3g\x1b[5G\x1bH\x1b=\x1b[5 q");
  expect_same_when_redrawn(screen);
  screen.write("\x1b[1;20Hx");  // what comes next goes to the next row
  expect_same_when_redrawn(screen);
  EXPECT_NE(screen.redraw().find("38;5;200;48;2;1;2;3"), std::string::npos);
  EXPECT_NE(screen.redraw().find("\x1b[?2004h"), std::string::npos);
  Screen full(2, 5);
  full.write("abcde");
  Screen again(2, 5);
  again.write(full.redraw() + "f");
  EXPECT_EQ(again.text(), "abcde\nf");
}

TEST(Screen, AnswersWhatItIsAsked) {
  Screen screen(5, 20);
  screen.write("ab\x1b[6n\x1b[c\x1b[5n\x1b[18t\x1b[?2004$p\x1b[?9999$p\x1b]11;?\x07\x1bP+q544e\x1b\\");
  EXPECT_EQ(screen.answers(),
            "\x1b[1;3R\x1b[?62;22c\x1b[0n\x1b[8;5;20t\x1b[?2004;2$y\x1b[?9999;0$y\x1b]11;rgb:0000/0000/"
            "0000\x1b\\\x1bP0+r\x1b\\");
  EXPECT_EQ(screen.answers(), "");
  for (int i = 0; i < 10'000; ++i) screen.write("\x1b[c");
  EXPECT_LE(screen.answers().size(), 4096);
}

TEST(Screen, KeepsItsHeadWhateverComes) {
  EXPECT_EQ(shown("\x1b]0;" + std::string(100'000, 'x') + "\x07ok"), "ok");
  EXPECT_EQ(shown("\x1b[" + std::string(100'000, '1') + "Cx"), "         x");
  EXPECT_EQ(shown("\x1b[" + std::string(1000, ';') + "mx"), "x");
  EXPECT_EQ(shown("\x1bP" + std::string(100'000, 'q') + "\x1b\\x"), "x");
  EXPECT_EQ(shown("\x1b[12\x18x\x1b[3\x1b[1my"), "xy");
  EXPECT_EQ(shown("\x1b[99999b\x1b[0;0r\x1b[-1;@x").substr(0, 1).size(), 1);
  Screen screen(3, 10);
  screen.write("\x1b]2;\x1b[31mevil\xe2\x80\xae\x07");
  for (const char c : screen.title()) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  Screen smallest(0, -5);
  EXPECT_EQ(smallest.rows() * smallest.columns(), 1);
  smallest.write("漢ab\x1b[?6h\n\t\x1b[2;1r\x1b[5@\x1b[5P\x1b[L\x1b[M");
  EXPECT_EQ(Screen(5000, 5000).rows(), 1000);
}

TEST(Screen, Resizes) {
  Screen screen(4, 10);
  screen.write("1\r\n2\r\n3\r\n4漢");
  screen.resize(2, 3);
  EXPECT_EQ(screen.text(), "3\n4漢");
  screen.resize(2, 2);
  EXPECT_EQ(screen.text(), "3\n4");
  expect_same_when_redrawn(screen);
  screen.resize(5, 30);
  screen.write("\x1b[5;30Hx");
  EXPECT_EQ(screen.text(), "3\n4\n\n\n" + std::string(29, ' ') + "x");
  expect_same_when_redrawn(screen);
}

// Pieces of sequences in any order: whatever screen comes of it can be drawn anew.
TEST(Screen, AnyScreenCanBeDrawnAnew) {
  const std::vector<std::string> pieces = {"abc",
                                           "漢",
                                           "e\xcc\x81",
                                           "\n",
                                           "\r",
                                           "\b",
                                           "\t",
                                           "\x1b[",
                                           "5",
                                           ";",
                                           "3",
                                           "?",
                                           "H",
                                           "m",
                                           "1049h",
                                           "1049l",
                                           "\x1b[2;4r",
                                           "\x1b[?6h",
                                           "\x1b[?6l",
                                           "\x1b[?7l",
                                           "\x1b[?7h",
                                           "\x1b"
                                           "7",
                                           "\x1b"
                                           "8",
                                           "\x1bM",
                                           "\x1b[L",
                                           "\x1b[2M",
                                           "\x1b[3P",
                                           "\x1b[2@",
                                           "\x1b[K",
                                           "\x1b[1J",
                                           "\x1b(0",
                                           "\x1b(B",
                                           "\x0e",
                                           "\x1b)0",
                                           "\x0f",
                                           "\x1b[38;5;9m",
                                           "\x1b[48:2::1:2:3m",
                                           "\x1b[4h",
                                           "\x1b[4l",
                                           "\x1b[?1049h",
                                           "\x1b[?1049l",
                                           "\x1b[?47h",
                                           "\x1b[3;9H",
                                           "\x1b[1;12H",
                                           "\x1b[20b",
                                           "\x1b]2;t\x07",
                                           "\x1b#8",
                                           "\x1b[2S",
                                           "\x1b[T",
                                           "\x1bH",
                                           "\x1b[3g",
                                           "\x1b[!p",
                                           "\xff",
                                           "\x1b[7m",
                                           "\x1b[m"};
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    Screen screen(1 + static_cast<int>(random() % 7), 1 + static_cast<int>(random() % 14));
    std::string bytes;
    for (int i = 0; i < 60; ++i) bytes += pieces[random() % pieces.size()];
    screen.write(bytes);
    if (round % 5 == 0) screen.resize(1 + static_cast<int>(random() % 7), 1 + static_cast<int>(random() % 14));
    Screen again(screen.rows(), screen.columns());
    again.write(screen.redraw());
    ASSERT_EQ(again.text(), screen.text()) << ::testing::PrintToString(bytes);
    ASSERT_EQ(again.redraw(), screen.redraw()) << ::testing::PrintToString(bytes);
  }
}

}  // namespace
}  // namespace onsight::agents::screen
