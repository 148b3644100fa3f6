#include "base/live_program.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace onsight {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::unique_ptr<LiveProgram> started(const std::vector<std::string>& command,
                                     std::optional<LiveProgram::Size> terminal) {
  auto program = LiveProgram::start(command, terminal);
  EXPECT_TRUE(program) << program.error().message;
  return program ? std::move(*program) : nullptr;
}

// Until `text` or the end has come.
std::string read_to(LiveProgram& program, std::string_view text) {
  std::string all;
  for (int i = 0; i < 100 && all.find(text) == std::string::npos; ++i) {
    const auto piece = program.read(milliseconds(200));
    if (!piece || (*piece && (*piece)->empty())) break;
    if (*piece) all += **piece;
  }
  return all;
}

TEST(LiveProgram, HasATerminalOfItsOwnAndHearsOfItsSize) {
  // A shell that is reading when the signal comes ends that read with an error: it is asked again.
  const auto program = started({"sh", "-c",
                                "test -t 0 && stty size; trap 'stty size' WINCH; echo why >&2; echo ready; "
                                "while :; do read -r line && echo \"got $line\"; done"},
                               LiveProgram::Size{30, 100});
  ASSERT_TRUE(program);
  EXPECT_EQ(read_to(*program, "ready\n"), "30 100\nready\n");  // raw: no carriage return is added
  ASSERT_TRUE(program->write("a $x\n", seconds(5)));
  EXPECT_EQ(read_to(*program, "got"), "got a $x\n");  // and nothing is echoed
  ASSERT_TRUE(program->resize({40, 120}));
  ASSERT_TRUE(program->write("b\n", seconds(5)));
  EXPECT_NE(read_to(*program, "40 120\n").find("40 120\n"), std::string::npos);
  EXPECT_EQ(program->wait(milliseconds(0)).error().code, ErrorCode::kBusy);
  EXPECT_EQ(program->errors(), "why\n");
  program->end();
  EXPECT_EQ(program->wait(seconds(10)).value_or(-1), 137);
  read_to(*program, "nothing more");
  EXPECT_EQ(program->read(seconds(1)).value(), std::optional<std::string>(""));
}

TEST(LiveProgram, OverASocket) {
  const auto program = started({"cat"}, {});
  ASSERT_TRUE(program);
  const std::string much(300'000, 'x');
  std::string back;
  ASSERT_TRUE(program->write("one\n", seconds(5)));
  EXPECT_EQ(read_to(*program, "one\n"), "one\n");
  EXPECT_EQ(program->read(milliseconds(20)).value(), std::nullopt);
  const Status full = program->write(much + much, milliseconds(50));  // nobody reads what comes back
  EXPECT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kBusy);
  program->end();
  EXPECT_TRUE(program->wait(seconds(10)));
  const Status gone = program->write("x", seconds(1));
  EXPECT_FALSE(gone);
  EXPECT_EQ(program->errors(), "");
}

TEST(LiveProgram, ItsExitCodeAndWhatItStartedIsEndedWithIt) {
  const auto program = started({"sh", "-c", "exit 7"}, LiveProgram::Size{});
  ASSERT_TRUE(program);
  EXPECT_EQ(read_to(*program, "x"), "");
  EXPECT_EQ(program->wait(seconds(10)).value_or(-1), 7);
  EXPECT_EQ(program->wait(seconds(0)).value_or(-1), 7);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  auto parent = started({"sh", "-c", "sleep 60 & echo here; wait"}, {});  // both hold the writing end
  ::close(ends[1]);
  ASSERT_TRUE(parent);
  EXPECT_EQ(read_to(*parent, "here\n"), "here\n");
  parent.reset();
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0);  // nobody has it any more
  ::close(ends[0]);
  EXPECT_FALSE(LiveProgram::start({"/no/such/program"}, {}));
}

}  // namespace
}  // namespace onsight
