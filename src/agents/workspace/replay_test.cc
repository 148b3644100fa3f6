// What replay() makes, compared with git rebase.
#include "agents/workspace/replay.h"

#include "agents/workspace/testing.h"

namespace onsight::agents::workspace {
namespace {

class ReplayTest : public WorkspaceTest {
 protected:
  // The user's repository has a branch `work` off its first commit, and `main` went on.
  void grow(const std::string& on_work, const std::string& on_main) const {
    shell(user, "git checkout -q -b work && " + on_work + " && git checkout -q main && " + on_main);
  }
  Result<Replayed> replayed() const {
    return replay(Git{.git_dir = user / ".git"}, shell(user, "git rev-parse work"), shell(user, "git rev-parse main"),
                  {.name = "U", .email = "u@u"}, "Merge work");
  }
};

TEST_F(ReplayTest, GivesWhatRebaseGives) {
  grow(
      "for i in 1 2 3; do echo $i >> w.txt; git add -A; git -c user.name=Ä -c user.email=w@w commit -q "
      "--author='Ä B <w@w>' --date=@170000000$i+0200 -m \"Work $i\" -m \"Body $i\"; done",
      "echo m > m.txt && git add -A && git commit -q -m main");
  const auto made = replayed();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->commits, 3);
  shell(user, "git checkout -q work && git rebase -q main && git checkout -q main");
  const std::string format = "git log --format='%T %an %ae %ad %s %b' main..";
  EXPECT_EQ(shell(user, format + made->commit), shell(user, format + "work"));
}

TEST_F(ReplayTest, NamesConflictsAndLeavesOutWhatIsThere) {
  grow("echo w > a.txt && git commit -qam w", "echo m > a.txt && git commit -qam m");
  auto made = replayed();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->commit, "");
  EXPECT_EQ(made->conflicts, std::vector<std::string>{"a.txt"});
  // The same change on both sides is no conflict, and no commit.
  shell(
      user,
      "git branch -q -f work main~1 && git checkout -q work && echo m > a.txt && git commit -qam same && echo n > n && "
      "git add -A && git commit -qm n && git checkout -q main");
  made = replayed();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->commits, 1);
  EXPECT_EQ(shell(user, "git log --format=%s main.." + made->commit), "n");
}

TEST_F(ReplayTest, NothingNewIsNothing) {
  shell(user, "git branch work && echo m > m && git add -A && git commit -qm m");
  const auto made = replayed();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->commit, shell(user, "git rev-parse main"));
  EXPECT_EQ(made->commits, 0);
}

TEST_F(ReplayTest, WhatGrewThereIsTakenAsItIs) {
  shell(user, "git checkout -q -b work && echo w > w && git add -A && git commit -qm w && git checkout -q main");
  const auto made = replayed();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->commit, shell(user, "git rev-parse work"));
}

TEST_F(ReplayTest, AHistoryWithMergesIsMerged) {
  grow(
      "git checkout -q -b side && echo s > s && git add -A && git commit -qm s && git checkout -q work && echo w > w "
      "&& git add "
      "-A && git commit -qm w && git merge -q --no-edit side",
      "echo m > m && git add -A && git commit -qm m");
  const auto made = replayed();
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(
      shell(user, "git log -1 --format='%s %p' " + made->commit),
      "Merge work " + shell(user, "git rev-parse --short main") + " " + shell(user, "git rev-parse --short work"));
  EXPECT_EQ(shell(user, "git ls-tree --name-only " + made->commit), "a.txt\nm\ns\nsrc\nw");
}

}  // namespace
}  // namespace onsight::agents::workspace
