#include "agents/workspace/apply.h"

#include <sys/wait.h>

#include <csignal>

#include "agents/workspace/testing.h"

namespace onsight::agents::workspace {
namespace {

class ApplyTest : public WorkspaceTest {
 protected:
  // Two commits that differ in every way that files can.
  void SetUp() override {
    WorkspaceTest::SetUp();
    shell(user,
          "mkdir -p gone/deep turns && echo g > gone/deep/file && echo f > becomes-folder && echo t > turns/file && "
          "echo m > mode && ln -s a.txt link && echo k > keep"
          " && git add . && git commit -qm first && git checkout -qb next"
          " && echo four >> a.txt && rm -r gone turns && echo turned > turns && rm becomes-folder && mkdir -p "
          "becomes-folder/a/b && echo b > becomes-folder/a/b/c"
          " && chmod +x mode && ln -sf keep link && mkdir new && echo n > new/file && git add -A && git commit -qm "
          "second && git checkout -q main");
    from = shell(user, "git rev-parse main");
    to = shell(user, "git rev-parse next");
    const Result<UserRepository> found = find_repository(user);
    ASSERT_TRUE(found) << found.error().message;
    repository = *found;
  }
  Step step(std::function<Status(std::string_view)> at = {}) const {
    return {.repository = repository,
            .settings = UserSettings::read(repository).value(),
            .branch = "main",
            .from = from,
            .to = to,
            .why = "test",
            .at = std::move(at)};
  }
  std::string tree_of(const std::string& commit) {
    const Path other = folder / ("tree-" + commit);
    if (!std::filesystem::exists(other)) shell(user, "git worktree add -q --detach " + other.string() + " " + commit);
    return listing(other);
  }
  static std::string listing(const Path& where) {
    return shell(where,
                 "find . -name .git -prune -o -printf '%P %y %m %l\\n' | sort && find . -name .git -prune -o -type f "
                 "-print0 | sort -z | xargs -0 cat");
  }
  void expect_at(const std::string& commit) {
    EXPECT_EQ(shell(user, "git rev-parse HEAD"), commit);
    EXPECT_EQ(listing(user), tree_of(commit));
    EXPECT_EQ(shell(user, "git status --porcelain"), "");
    EXPECT_EQ(shell(user, "ls .git | grep -c 'onsight-merge$\\|index.lock' || true"), "0");
  }
  UserRepository repository;
  std::string from, to;
};

TEST_F(ApplyTest, MovesAllThatDiffers) {
  expect_at(from);
  const Result<Applied> applied = apply(step());
  ASSERT_TRUE(applied) << applied.error().message;
  expect_at(to);
  EXPECT_EQ(shell(user, "git diff-files; git reflog -1 --format=%gs"), "test");  // also without a refresh of the index
}

TEST_F(ApplyTest, UndoesWhatFailsInBetween) {
  int steps = 0;
  ASSERT_TRUE(apply(step([&](std::string_view) -> Status {
    ++steps;
    return {};
  })));
  ASSERT_GT(steps, 15);
  shell(user, "git reset -q --hard " + from);
  for (int n = 1; n <= steps; ++n) {
    SCOPED_TRACE(n);
    int i = 0;
    std::string failed;
    const Result<Applied> applied = apply(step([&](std::string_view name) -> Status {
      if (++i != n) return {};
      failed = name;
      return bad_input("no more");
    }));
    ASSERT_FALSE(applied);
    // After the branch has moved it is ended, not undone.
    expect_at(failed == "index" || failed == "end" ? to : from);
    shell(user, "git reset -q --hard " + from);
  }
}

TEST_F(ApplyTest, IsWholeAfterBeingKilledAnywhere) {
  for (int n = 1;; ++n) {
    SCOPED_TRACE(n);
    const pid_t child = ::fork();
    if (child == 0) {
      int i = 0;
      const Result<Applied> applied = apply(step([&](std::string_view) -> Status {
        if (++i == n) ::kill(::getpid(), SIGKILL);
        return {};
      }));
      ::_exit(applied ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    const Status recovered = recover(repository);
    ASSERT_TRUE(recovered) << recovered.error().message;
    const std::string head = shell(user, "git rev-parse HEAD");
    expect_at(head);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_EQ(head, to);
      EXPECT_GT(n, 15);
      break;
    }
    shell(user, "git reset -q --hard " + from);
  }
}

TEST_F(ApplyTest, NeverTakesWhatTheUserWroteMeanwhile) {
  for (const char* edit : {"echo mine >> a.txt", "echo mine > new-note && mkdir new && mv new-note new/file",
                           "rm becomes-folder && ln -s ../outside becomes-folder"}) {
    SCOPED_TRACE(edit);
    shell(folder, "mkdir -p outside");
    std::string mine;
    const Result<Applied> applied = apply(step([&](std::string_view name) -> Status {
      if (name != "take" || !mine.empty()) return {};
      shell(user, edit);
      mine = shell(user, "cat a.txt; cat new/file 2>/dev/null || true; readlink becomes-folder || true");
      return {};
    }));
    EXPECT_FALSE(applied);
    EXPECT_EQ(shell(user, "git rev-parse HEAD"), from);
    EXPECT_EQ(shell(user, "cat a.txt; cat new/file 2>/dev/null || true; readlink becomes-folder || true"), mine);
    EXPECT_EQ(shell(folder, "ls outside"), "");
    EXPECT_TRUE(recover(repository));
    shell(user, "git reset -q --hard && git clean -qfd");
    expect_at(from);
  }
}

TEST_F(ApplyTest, KeepsWhatCannotBeUndone) {
  // Killed with a.txt taken away; then the user writes one.
  const pid_t child = ::fork();
  if (child == 0) {
    (void)apply(step([&](std::string_view name) -> Status {
      if (name == "place") ::kill(::getpid(), SIGKILL);
      return {};
    }));
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_FALSE(std::filesystem::exists(user / "a.txt"));
  shell(user, "echo mine > a.txt");
  const Status recovered = recover(repository);
  ASSERT_FALSE(recovered);
  EXPECT_NE(recovered.error().message.find("a.txt: in the way"), std::string::npos) << recovered.error().message;
  EXPECT_EQ(shell(user, "cat a.txt && grep -l four .git/onsight-merge/stage/new/a.txt"),
            "mine\n.git/onsight-merge/stage/new/a.txt");
  shell(user, "rm a.txt");
  EXPECT_TRUE(recover(repository));
  expect_at(from);
}

TEST_F(ApplyTest, OneAtATime) {
  const Handle held = lock_file(repository.git_dir / "onsight-merge.lock", 1, "x").value();
  EXPECT_EQ(lock_file(repository.git_dir / "onsight-merge.lock", 0, "another merge").error().message,
            "another merge is under way");
}

}  // namespace
}  // namespace onsight::agents::workspace
