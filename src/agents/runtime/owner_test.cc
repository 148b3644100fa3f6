#include "agents/runtime/owner.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

namespace onsight::agents::runtime {
namespace {

TEST(Owner, IsAliveAsLongAsItsProcess) {
  EXPECT_TRUE(is_alive(this_process()));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::string me = this_process();
    (void)!::write(ends[1], me.data(), me.size());
    ::pause();
    ::_exit(0);
  }
  char text[100];
  const ssize_t size = ::read(ends[0], text, sizeof text);
  ASSERT_GT(size, 0);
  const std::string other(text, static_cast<size_t>(size));
  EXPECT_TRUE(is_alive(other));
  EXPECT_NE(other, this_process());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(is_alive(other));
}

TEST(Owner, ANumberThatWasGivenAgainIsAnother) {
  const std::string me = this_process();
  EXPECT_FALSE(is_alive(me + "1"));
  EXPECT_FALSE(is_alive(me.substr(0, me.find('-'))));
  for (const char* none : {"", "-", "x-1", "0-1", "-1-1", "999999999-1", "1", "18446744073709551616-1"})
    EXPECT_FALSE(is_alive(none)) << none;
}

}  // namespace
}  // namespace onsight::agents::runtime
