#include "base/subprocess.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"

namespace onsight {
namespace {

using std::chrono_literals::operator""s;

TEST(Subprocess, GivesWhatIsWritten) {
  EXPECT_EQ(output_of({"printf", "%s|%s", "a b", "$HOME;`id`"}, 100, 10s).value(), "a b|$HOME;`id`");
  EXPECT_EQ(output_of({"cat"}, 100, 10s).value(), "");  // nothing to read
}

TEST(Subprocess, SaysWhatWentWrong) {
  EXPECT_EQ(output_of({"no-such-program"}, 100, 1s).error().message, "no-such-program: not on this machine");
  EXPECT_EQ(output_of({"/etc/passwd"}, 100, 1s).error().message, "/etc/passwd: not on this machine");
  EXPECT_EQ(output_of({"sh", "-c", "echo a; exit 3"}, 100, 10s).error().message, "sh: ended with code 3");
  EXPECT_EQ(output_of({"sh", "-c", "kill -9 $$"}, 100, 10s).error().message, "sh: ended with code 137");
  EXPECT_EQ(output_of({"yes"}, 100'000, 10s).error().message, "yes: writes more than 100000 bytes");
}

TEST(Subprocess, EndsWhatTakesTooLong) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(output_of({"sleep", "30"}, 100, 1s).error().message, "sleep: not done after 1 s");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

TEST(Subprocess, KnowsWhatIsThere) {
  EXPECT_TRUE(has_program("sh"));
  EXPECT_FALSE(has_program("no-such-program"));
  EXPECT_TRUE(has_program("/bin/sh"));
  EXPECT_FALSE(has_program("./sh"));
}

TEST(Subprocess, GivesAndTakesAsAsked) {
  std::string out;
  const auto keep = [&](std::string_view part) {
    out += part;
    return Status();
  };
  const std::string large(3'000'000, 'x');
  EXPECT_EQ(run({.command = {"cat"}, .input = large, .output = keep}).value().code, 0);
  EXPECT_EQ(out, large);
  out.clear();
  const Program shell = {.command = {"sh", "-c", "echo $A-$HOME; pwd; echo bad >&2; exit 3"},
                         .environment = {{"A=1"}},
                         .folder = "/usr",
                         .output = keep};
  const Ended ended = run(shell).value();
  EXPECT_EQ(ended.code, 3);
  EXPECT_EQ(ended.errors, "bad\n");
  EXPECT_EQ(out, "1-\n/usr\n");
  // What ends without having read its input, and what writes only errors.
  EXPECT_EQ(run({.command = {"true"}, .input = large}).value().code, 0);
  EXPECT_EQ(run({.command = {"sh", "-c", "seq 100000 >&2; kill -9 $$"}}).value().errors.size(), 4096);
  EXPECT_EQ(run({.command = {"no-such-program"}}).error().message, "no-such-program: not on this machine");
}

TEST(Subprocess, EndsWhatGoesTooFarWithAllThatItStarted) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(run({.command = {"sh", "-c", "sleep 30 & sleep 30"}, .limit = 1s}).error().message,
            "sh: not done after 1 s");
  EXPECT_EQ(run({.command = {"yes"}, .max_output_bytes = 100'000}).error().message,
            "yes: writes more than 100000 bytes");
  const auto refuse = [](std::string_view) -> Status { return bad_input("enough"); };
  EXPECT_EQ(run({.command = {"yes"}, .output = refuse}).error().message, "enough");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

TEST(Subprocess, RunsALineOfTheShell) {
  const auto never = [] { return false; };
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / fmt::format("onsight-shell-{}", ::getpid());
  const std::vector<std::pair<std::string, std::string>> variables = {{"ANSWER", "a 'b' $c"}, {"FILE", file.string()}};
  EXPECT_EQ(run_shell("printf %s \"$ANSWER\" > \"$FILE\" && cat", variables, 10s, never).value(), 0);
  EXPECT_EQ(read_file(file).value(), "a 'b' $c");
  std::filesystem::remove(file);
  EXPECT_EQ(run_shell("exit 7", {}, 10s, never).value(), 7);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(run_shell("sleep 30 & sleep 30", {}, 1s, never).error().message, "not done after 1 s");
  EXPECT_EQ(run_shell("sleep 30", {}, 30s, [] { return true; }).error().code, ErrorCode::kInterrupted);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
}

}  // namespace
}  // namespace onsight
