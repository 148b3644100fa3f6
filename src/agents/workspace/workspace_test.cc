#include "agents/workspace/workspace.h"

#include <fcntl.h>

#include "agents/workspace/testing.h"

namespace onsight::agents::workspace {
namespace {

TEST_F(WorkspaceTest, BringsWorkThereAndBack) {
  begin();
  EXPECT_EQ(base, shell(user, "git rev-parse HEAD"));
  EXPECT_EQ(shell(clone, "git symbolic-ref HEAD && git status --porcelain && cat a.txt && git config user.name"),
            "refs/heads/agents/reviewer\none\ntwo\nthree\nreviewer");
  EXPECT_EQ(shell(clone, "git rev-parse origin/main"), base);
  EXPECT_EQ(shell(clone, "git remote"), "");
  EXPECT_TRUE(notes.empty());
  EXPECT_TRUE(workspace->has_clone("reviewer"));
  EXPECT_FALSE(workspace->collected("reviewer", base).value());
  EXPECT_EQ(workspace->merge("reviewer", "m").error().message, "reviewer: nothing was collected from it yet");

  shell(clone,
        "echo four >> a.txt && git commit -qam 'Add four' && echo new > new.txt && git add new.txt && git commit -qm "
        "new");
  const std::string work = shell(clone, "git rev-parse HEAD");
  shell(clone, "echo unsaved > wip.txt && git add -A && git commit -qm wip");
  const Collected found = collect(bundle("HEAD~1", "HEAD")).value();
  EXPECT_EQ(found.commit, work);
  EXPECT_EQ(found.wip, shell(clone, "git rev-parse HEAD"));
  EXPECT_EQ(found.ahead, 2);
  EXPECT_FALSE(workspace->is_merged("reviewer").value());
  const std::string diff = workspace->diff("reviewer", base, false, false, false).value();
  EXPECT_NE(diff.find("+four\n"), std::string::npos);
  EXPECT_EQ(diff.find("unsaved"), std::string::npos);
  EXPECT_NE(workspace->diff("reviewer", base, true, false, true).value().find("\x1b["), std::string::npos);
  EXPECT_NE(workspace->diff("reviewer", base, true, true, false).value().find("3 files changed"), std::string::npos);

  shell(user, "echo readme > README && git add README && git commit -qm readme");
  const std::string before = shell(user, "git rev-parse HEAD");
  const Merged merged = workspace->merge("reviewer", "Merge the review\n\nWith `quotes` and $(dollars)").value();
  EXPECT_EQ(merged.commit, shell(user, "git rev-parse HEAD"));
  EXPECT_EQ(shell(user, "git log -1 --format='%P|%an|%ae|%B'"),
            before + " " + work + "|The User|user@example.com|Merge the review\n\nWith `quotes` and $(dollars)\n");
  EXPECT_EQ(shell(user, "git status --porcelain && git symbolic-ref HEAD && cat a.txt new.txt README && ls .git"),
            "refs/heads/main\none\ntwo\nthree\nfour\nnew\nreadme\n" + shell(user, "ls .git"));
  EXPECT_EQ(shell(user, "ls .git | grep -c 'onsight-merge$\\|index.lock' || true"), "0");
  EXPECT_NE(shell(user, "git reflog -1").find("onsight agents: merge reviewer"), std::string::npos);
  EXPECT_EQ(shell(user, "git fsck 2>&1 && git diff-files && git diff-index HEAD"), "");
  EXPECT_TRUE(workspace->merge("reviewer", "m").value().nothing);
  EXPECT_FALSE(workspace->is_merged("reviewer").value()) << "what was not committed is work too";
  EXPECT_EQ(collect(bundle("HEAD~1")).value().wip, "");
  EXPECT_TRUE(workspace->is_merged("reviewer").value());
  // What lay in the working tree and is gone was kept.
  EXPECT_EQ(shell(project.mirror(), "git for-each-ref refs/agents-kept | wc -l"), "1");
}

TEST_F(WorkspaceTest, KeepsWhatWasRewritten) {
  begin();
  agent_commits("echo 1 >> a.txt");
  const std::string first = workspace->collected("reviewer", base).value()->commit;
  shell(clone, "git reset -q --hard HEAD~1");
  agent_commits("echo 2 >> a.txt");
  EXPECT_EQ(shell(project.mirror(), "git rev-parse refs/agents-kept/reviewer/" + first), first);
  const std::string backup = workspace->back_up("reviewer").value();
  EXPECT_EQ(shell(user, "git show " + backup + ":a.txt"), "one\ntwo\nthree\n2");
  EXPECT_EQ(shell(user, "git show " + backup + "-kept/" + first + ":a.txt"), "one\ntwo\nthree\n1");
  EXPECT_NE(workspace->back_up("reviewer").value(), backup);
  EXPECT_EQ(shell(user, "git fsck 2>&1"), "");
  ASSERT_TRUE(workspace->forget("reviewer"));
  ASSERT_TRUE(workspace->remove_clone("reviewer"));
  EXPECT_FALSE(workspace->has_clone("reviewer"));
  EXPECT_EQ(shell(project.mirror(), "git for-each-ref | grep -c agents || true"), "0");
  begin();  // the name is free again
}

TEST_F(WorkspaceTest, TellsOfConflictsAndChangesNothing) {
  begin();
  agent_commits("echo theirs > a.txt; echo fine > b.txt");
  shell(user, "echo ours > a.txt && git commit -qam ours");
  const std::string before = user_state();
  const Merged merged = workspace->merge("reviewer", "m").value();
  EXPECT_EQ(merged.commit, "");
  EXPECT_EQ(merged.conflicts, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(user_state(), before);
}

TEST_F(WorkspaceTest, RefusesWhatStandsInTheWay) {
  begin();
  agent_commits("echo four >> a.txt; mkdir -p new/deep; echo n > new/deep/file; echo ignored > .env");
  const auto refused = [&](const std::string& set_up, const std::string& undo, const std::string& sentence) {
    shell(user, set_up);
    const std::string before = user_state();
    const Result<Merged> merged = workspace->merge("reviewer", "m");
    ASSERT_FALSE(merged) << set_up;
    EXPECT_NE(merged.error().message.find(sentence), std::string::npos) << merged.error().message;
    EXPECT_EQ(user_state(), before) << set_up;
    EXPECT_EQ(shell(user, "ls -a . .git | grep -c 'onsight-merge$\\|index.lock' || true"),
              set_up.find("index.lock") == std::string::npos ? "0" : "1");
    shell(user, undo);
  };
  refused("echo x >> a.txt", "git checkout -q a.txt", "changes that are not committed (a.txt)");
  refused("echo x >> src/main.c && git add src/main.c", "git reset -q --hard",
          "changes that are not committed (src/main.c)");
  refused("rm a.txt", "git checkout -q a.txt", "changes that are not committed");
  refused("echo mine > .env", "rm .env", ".env: in the way");
  refused("echo .env >> .git/info/exclude && echo mine > .env", "test \"$(cat .env)\" = mine && rm .env",
          ".env: in the way");
  refused("echo mine > new", "test \"$(cat new)\" = mine && rm new", "new/deep/file: in the way");
  refused("mkdir ../out && ln -s ../out new", "test -z \"$(ls ../out)\" && rm new", "new/deep/file: in the way");
  refused("mkdir -p new/deep/file && echo x > new/deep/file/mine", "rm -r new", "new/deep/file: in the way");
  refused("git checkout -q --detach", "git checkout -q main", "no branch is checked out");
  refused("touch .git/MERGE_HEAD", "rm .git/MERGE_HEAD", "a merge is under way");
  refused("mkdir .git/rebase-merge", "rmdir .git/rebase-merge", "a rebase is under way");
  refused("touch .git/index.lock", "rm .git/index.lock", "another git is at work here");
  refused("git update-index --skip-worktree a.txt && echo local > a.txt",
          "git update-index --no-skip-worktree a.txt && git checkout -q a.txt",
          "a.txt: marked so that git does not look at it");
  refused("git config user.useConfigOnly true && git config --unset user.email", "git config user.email u@u",
          "set user.name and user.email");
  // Other files of the user's stay as they are, and an empty folder is not in the way.
  shell(user, "echo notes > notes.txt && mkdir -p new/deep/file");
  ASSERT_TRUE(workspace->merge("reviewer", "m"));
  EXPECT_EQ(shell(user, "cat notes.txt new/deep/file .env && git status --porcelain"),
            "notes\nn\nignored\n?? notes.txt");
}

TEST_F(WorkspaceTest, RefusesWhatIsNoBeginning) {
  open();
  const auto refusal = [&](const std::string& branch, const std::string& revision) {
    const Result<std::string> made = workspace->make_clone("dev", branch, revision, 0, 0, notes);
    EXPECT_FALSE(workspace->has_clone("dev"));
    EXPECT_TRUE(made || children_of(project.clone("dev").parent_path()).size() <= 1);  // its lock alone
    return made ? "none" : made.error().message;
  };
  EXPECT_EQ(refusal("agents/dev", "no-such"), "'no-such': no commit of " + user.string());
  EXPECT_EQ(refusal("agents/dev", "--all"), "'--all': no commit of " + user.string());
  EXPECT_EQ(refusal("agents/dev", "HEAD:a.txt"), "'HEAD:a.txt': no commit of " + user.string());
  EXPECT_EQ(refusal("a..b", "HEAD"), "'a..b': no name of a branch");
  EXPECT_EQ(refusal("main", "HEAD"), "main: a branch of this name exists in the repository; choose another name");
  EXPECT_FALSE(workspace->make_clone("../x", "b", "HEAD", 0, 0, notes));
  begin();
  EXPECT_EQ(workspace->make_clone("reviewer", "b", "HEAD", 0, 0, notes).error().message,
            "reviewer: it has a clone already");
  agent_commits("echo x > x");
  ASSERT_TRUE(workspace->remove_clone("reviewer"));
  EXPECT_NE(workspace->make_clone("reviewer", "b", "HEAD", 0, 0, notes).error().message.find("is still here"),
            std::string::npos);

  user = folder / "empty";
  std::filesystem::create_directories(user);
  shell(user, "git init -q");
  workspace.reset();
  open();
  EXPECT_EQ(refusal("agents/dev", "HEAD"),
            user.string() + ": an empty repository; agents begin at a commit, so make one first");
  shell(user, "git init -q --bare ../bare");
  EXPECT_NE(Project::find(folder / "bare").error().message.find("found a bare one"), std::string::npos);
  EXPECT_NE(Project::find(folder).error().message.find("expected a folder in a git repository"), std::string::npos);
  EXPECT_NE(Project::find(folder / "no").error().message.find("expected a folder"), std::string::npos);
}

TEST_F(WorkspaceTest, ClonesHoldTheirCommitAlone) {
  shell(user,
        "echo secret-of-another-branch > s && git checkout -qb other && git add s && git commit -qm s && git checkout "
        "-q main && git tag v1");
  begin("one");
  agent_commits("echo work-of-a-sibling > w", "one");
  begin("two");
  const std::string all = shell(clone, "git cat-file --batch-all-objects --batch");
  EXPECT_EQ(all.find("secret-of-another-branch"), std::string::npos);
  EXPECT_EQ(all.find("work-of-a-sibling"), std::string::npos);
  EXPECT_EQ(shell(clone, "test ! -e .git/objects/info/alternates; find . -type f -links +1"), "");
}

TEST_F(WorkspaceTest, FollowsTheUsersBranches) {
  shell(user, "git branch topic && git tag -am t v1");
  begin();
  shell(user,
        "git branch -D -q topic && git branch topic/deep && echo x > x && git add x && git commit -qm x && git commit "
        "-q --amend -m y");
  EXPECT_NE(workspace->bundle_for("reviewer", "main").value(), "");
  EXPECT_EQ(shell(project.mirror(), "git for-each-ref --format='%(refname) %(objectname)' refs/heads refs/tags"),
            shell(user, "git for-each-ref --format='%(refname) %(objectname)' refs/heads refs/tags"));
  EXPECT_EQ(shell(project.mirror(), "git fsck 2>&1 | grep -v '^dangling\\|^notice' || true"), "");
}

TEST_F(WorkspaceTest, SendsWhatTheUserDidSince) {
  begin();
  EXPECT_EQ(workspace->bundle_for("reviewer", "HEAD").value(), "");
  shell(user, "echo more > more && git add more && git commit -qm more");
  ASSERT_TRUE(write_file_atomically(folder / "sync", workspace->bundle_for("reviewer", "HEAD").value()));
  shell(clone, "git fetch -q " + (folder / "sync").string() + " refs/heads/main:refs/remotes/origin/main");
  EXPECT_EQ(shell(clone, "git rev-parse origin/main"), shell(user, "git rev-parse HEAD"));
}

TEST_F(WorkspaceTest, TakesUncommonRepositories) {
  struct Kind {
    const char* name;
    std::string set_up;  // in an empty folder; leaves the repository in ./it
  };
  const std::string first =
      "git config user.name U && git config user.email u@u && printf 'one\\n' > a.txt && git add . && git commit -qm "
      "begin";
  const Kind kinds[] = {
      {"sha256", "git init -q -b main --object-format=sha256 it && cd it && " + first},
      {"shallow", "git init -q -b main full && cd full && " + first +
                      " && git commit -q --allow-empty -m 2 && cd .. && git clone -q --depth=1 file://$PWD/full it && "
                      "cd it && git config user.name U && git config user.email u@u"},
      {"worktree", "git init -q -b trunk full && cd full && " + first + " && git worktree add -q ../it -b main"},
      {"separate git folder", "git init -q -b main --separate-git-dir=elsewhere it && cd it && " + first},
      {"sparse", "git init -q -b main it && cd it && mkdir in out && echo i > in/i && echo o > out/o && " + first +
                     " && git sparse-checkout set in"},
      {"detached", "git init -q -b main it && cd it && " + first +
                       " && git checkout -q --detach && git commit -q --allow-empty -m d && git checkout -q -B main"},
      {"crlf", "git init -q -b main it && cd it && git config core.autocrlf true && " + first +
                   " && rm a.txt && git checkout -q a.txt"},
      {"alternates", "git init -q -b main full && cd full && " + first +
                         " && cd .. && git clone -q --shared full it && cd it && git config user.name U && git config "
                         "user.email u@u"},
      {"file monitor and split index",
       "git init -q -b main it && cd it && git config core.untrackedCache true && " + first},
      {"name with spaces, quotes and \xc3\xa4",
       "git init -q -b 'main' \"odd ' \\\" \xc3\xa4\" && ln -s \"odd ' \\\" \xc3\xa4\" it && cd it && " + first},
  };
  int n = 0;
  for (const Kind& kind : kinds) {
    SCOPED_TRACE(kind.name);
    const Path where = folder / fmt::format("kind-{}", n++);
    std::filesystem::create_directories(where);
    shell(where, kind.set_up);
    user = where / "it";
    workspace.reset();
    begin();
    agent_commits("echo two >> a.txt; mkdir -p in; echo new > in/new; echo x > 'b \" \xc3\xa4.txt'");
    const Result<Merged> merged = workspace->merge("reviewer", "m");
    ASSERT_TRUE(merged) << merged.error().message;
    EXPECT_EQ(shell(user, "git status --porcelain"), "");
    EXPECT_EQ(shell(user,
                    "tr -d '\\r' < a.txt && tr -d '\\r' < in/new && git rev-parse HEAD && git fsck 2>&1 | grep -v "
                    "'^dangling\\|^notice' || true"),
              "one\ntwo\nnew\n" + merged->commit);
    EXPECT_EQ(shell(user, "git log --format=%H -1 main"), merged->commit);
    ASSERT_TRUE(workspace->back_up("reviewer"));
  }
}

TEST_F(WorkspaceTest, RefusesPartialClones) {
  shell(folder,
        "git -C user config uploadpack.allowFilter true && git clone -q --filter=blob:none file://$PWD/user partial");
  EXPECT_NE(Project::find(folder / "partial").error().message.find("a partial clone"), std::string::npos);
}

TEST_F(WorkspaceTest, LeavesSubmodulesAndPointersAlone) {
  shell(folder, "git init -q sub && cd sub && git commit -q --allow-empty -m s");
  shell(user,
        "git -c protocol.file.allow=always submodule -q add ../sub lib/sub && printf '*.bin filter=lfs diff=lfs "
        "merge=lfs -text\\n' > .gitattributes"
        " && printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:1\\nsize 3\\n' > x.bin && git add . && "
        "git commit -qm lfs");
  shell(user,
        "git config filter.lfs.smudge 'touch ../ran' && git config filter.lfs.clean 'touch ../ran; cat' && git config "
        "filter.lfs.process 'touch ../ran' && git config filter.lfs.required true");
  begin();
  ASSERT_EQ(notes.size(), 2);
  EXPECT_EQ(notes[0], "submodules are empty in the clone: lib/sub");
  EXPECT_EQ(notes[1], "LFS files are pointers in the clone: x.bin");
  agent_commits(
      "printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:2\\nsize 3\\n' > y.bin; echo more >> a.txt");
  shell(user, "rm -f ../ran");
  const Result<Merged> merged = workspace->merge("reviewer", "m");
  ASSERT_TRUE(merged) << merged.error().message;
  ASSERT_EQ(merged->notes.size(), 1);
  EXPECT_EQ(merged->notes[0], "LFS files stayed pointers: y.bin; git lfs pull fetches them");
  EXPECT_FALSE(std::filesystem::exists(folder / "ran"));
  EXPECT_EQ(shell(user,
                  "head -c 7 y.bin && test -e lib/sub/.git && git -c filter.lfs.required=false -c filter.lfs.process= "
                  "-c filter.lfs.clean=cat "
                  "status --porcelain"),
            "version");
}

TEST_F(WorkspaceTest, RemovesClonesHoweverDeepAndClosed) {
  begin();
  shell(clone, "mkdir closed && touch closed/x && chmod 0 closed && ln -s ../../../../../user out && ln -s . loop");
  {
    Path at = "d";
    const Handle here(::open(clone.c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_EQ(::fchdir(here.get()), 0);
    for (int i = 0; i < 5000; ++i) {
      ASSERT_EQ(::mkdir("d", 0700), 0);
      ASSERT_EQ(::chdir("d"), 0);
    }
    ASSERT_EQ(::chdir("/"), 0);
  }
  const Status removed = workspace->remove_clone("reviewer");
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_FALSE(workspace->has_clone("reviewer"));
  EXPECT_EQ(shell(user, "cat src/main.c"), "int main");
}

}  // namespace
}  // namespace onsight::agents::workspace
