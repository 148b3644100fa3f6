// Escape 5: what a hostile agent plants in its clone, in its commits and in the bundle that leaves its container, must
// neither run on the host nor bring the host's files into the result.
#include <fcntl.h>

#include <cctype>
#include <ostream>

#include "agents/workspace/bundle.h"
#include "agents/workspace/paths.h"
#include "agents/workspace/testing.h"

namespace onsight::agents::workspace {
namespace {

// What is written by hand where git would refuse to: trees and packs.
constexpr const char* kTools = R"sh(
entry() { printf '%s %s\0' "$1" "$2"; env printf "$(git rev-parse "$3" | sed 's/../\\x&/g')"; }   # MODE NAME OBJECT
tree() { git hash-object -t tree -w --literally --stdin; }
commit() { git commit-tree -m planted -p HEAD "$1"; }   # TREE
)sh";

struct Hostile {
  const char* name;
  const char*
      plant;  // in the clone, as the agent; ends with the commit to be collected checked out or in $(cat ../work)
  const char* refused;           // part of the sentence, or none: it is merged
  const char* by_user = "true";  // in the user's repository, before
  const char* note = nullptr;    // part of a sentence that comes with the merge
};

class HostileTest : public WorkspaceTest {
 protected:
  void SetUp() override {
    WorkspaceTest::SetUp();
    ASSERT_TRUE(
        write_file_atomically(folder / "canary.sh", "#!/bin/sh\ntouch " + (folder / "ran").string() + "\ncat\n"));
    ::chmod((folder / "canary.sh").c_str(), 0755);
    std::filesystem::create_directories(folder / "outside");
    shell(folder,
          "git init -q host-secrets && cd host-secrets && echo TOP-SECRET > key && git add key && git commit -qm s && "
          "cp key ../outside/key");
  }
  std::string fill_in(std::string line) const {
    for (const auto& [word, path] :
         {std::pair<std::string, Path>{"@CANARY@", folder / "canary.sh"}, {"@HOST@", folder}})
      for (size_t at = line.find(word); at != std::string::npos; at = line.find(word))
        line.replace(at, word.size(), path.string());
    return line;
  }
  bool ran() const { return std::filesystem::exists(folder / "ran"); }
  void expect_no_secret() const {
    EXPECT_EQ(shell(project.mirror(), "git cat-file --batch-all-objects --batch | grep -ac TOP-SECRET || true"), "0");
    EXPECT_EQ(shell(user, "git cat-file --batch-all-objects --batch | grep -ac TOP-SECRET || true"), "0");
    EXPECT_EQ(shell(user, "find . -path ./.git -prune -o -type f -print0 | xargs -0 grep -l TOP-SECRET || true"), "");
    EXPECT_EQ(shell(folder / "outside", "ls -A && cat key"), "key\nTOP-SECRET");
  }
};

const Hostile kHostile[] = {
    {"hooks of every name",
     "for h in post-checkout post-merge pre-commit post-commit reference-transaction post-update pre-receive update "
     "pre-auto-gc post-index-change"
     " fsmonitor-watchman proc-receive push-to-checkout post-rewrite; do cp @CANARY@ .git/hooks/$h 2>/dev/null || { "
     "mkdir -p .git/hooks; cp @CANARY@ .git/hooks/$h; }; done",
     nullptr},
    {"configuration that runs programs",
     "for k in core.fsmonitor core.sshCommand core.pager core.editor core.askPass core.gitProxy diff.external "
     "diff.x.textconv diff.x.command merge.x.driver"
     " filter.x.clean filter.x.smudge filter.x.process credential.helper gpg.program uploadpack.packObjectsHook "
     "core.alternateRefsCommand"
     " sequence.editor pager.diff pager.log alias.status remote.origin.uploadpack trailer.x.command; do git config $k "
     "@CANARY@; done;"
     " git config core.hooksPath @HOST@; git config filter.x.required true; printf '* filter=x diff=x merge=x\\n' > "
     ".gitattributes;"
     " git -c filter.x.process= -c filter.x.clean= -c filter.x.required=false add .gitattributes;"
     " git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c filter.x.process= -c filter.x.clean= -c "
     "filter.x.required=false commit -qm a 2>/dev/null;"
     " git config --unset core.fsmonitor; git config --unset core.alternateRefsCommand",
     nullptr},
    {"configuration that includes files",
     "git config include.path ../../../../evil; printf '[core]\\nfsmonitor=@CANARY@\\n' > evil", nullptr},
    {"a .git that leads to the user's",
     "git rev-parse HEAD > ../work; mv .git ../kept; ln -s @HOST@/user/.git .git; GIT_DIR=../kept; export GIT_DIR",
     nullptr},
    {"a .git file that leads to the user's",
     "mv .git ../kept; echo 'gitdir: @HOST@/user/.git' > .git; GIT_DIR=../kept; export GIT_DIR", nullptr},
    {"alternates of the host", "echo @HOST@/host-secrets/.git/objects > .git/objects/info/alternates", nullptr},
    {"a replaced commit",
     "echo r >> a.txt; git commit -qam r; git replace HEAD HEAD~1; mkdir -p .git/info; echo \"$(git rev-parse HEAD)\" "
     "> .git/info/grafts",
     nullptr},
    {"submodules that are programs",
     "printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ext::sh -c @CANARY@\\n\\tupdate = !@CANARY@\\n' > "
     ".gitmodules; git add .gitmodules;"
     " git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),x; git commit -qm m",
     "gitmodulesUpdate"},
    {"submodules by ext::",
     "printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = ext::sh -c @CANARY@\\n' > .gitmodules; git add .gitmodules;"
     " git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),x; git commit -qm m",
     nullptr, "git config submodule.recurse true", ".gitmodules, which says where your git fetches from"},
    {"submodules whose address is an option",
     "printf '[submodule \"x\"]\\n\\tpath = x\\n\\turl = -u@CANARY@\\n' > .gitmodules; git add .gitmodules; git commit "
     "-qm m",
     "gitmodulesUrl"},
    {"submodules whose name leads out",
     "printf '[submodule \"../../x\"]\\n\\tpath = x\\n\\turl = u\\n' > .gitmodules; git add .gitmodules; git commit "
     "-qm m",
     "gitmodulesName"},
    {"refs of odd names",
     "for r in refs/heads/-x 'refs/heads/$(touch${IFS}ran)' 'refs/heads/`x`' refs/heads/main "
     "refs/replace/1111111111111111111111111111111111111111 refs/tags/v9 refs/agents/other; do git update-ref \"$r\" "
     "HEAD; done;"
     " git update-ref refs/heads/work HEAD; git bundle create -q ../odd --all; touch ../made",
     nullptr},
    {".git in a tree",
     "echo '#!/bin/sh' > h; b=$(git hash-object -w h); t=$(entry 100755 post-checkout $b | tree); t=$(entry 40000 "
     "hooks $t | tree);"
     " git checkout -q --detach; commit $( { entry 40000 .git $t; entry 100644 h $b; } | tree) > ../work",
     "hasDotgit"},
    {".GIT in a tree", "b=$(git hash-object -w a.txt); commit $(entry 100644 .GIT $b | tree) > ../work", "hasDotgit"},
    {"GIT~1 in a tree", "b=$(git hash-object -w a.txt); commit $(entry 100644 GIT~1 $b | tree) > ../work", "hasDotgit"},
    {".git with a character that is not seen",
     "b=$(git hash-object -w a.txt); commit $(entry 100644 .g$(printf '\\342\\200\\214')it $b | tree) > ../work",
     "hasDotgit"},
    {".git and a space", "b=$(git hash-object -w a.txt); commit $(entry 100644 '.git ' $b | tree) > ../work",
     "hasDotgit"},
    {".git and a stream",
     "b=$(git hash-object -w a.txt); commit $(entry 100644 '.git::$INDEX_ALLOCATION' $b | tree) > ../work", "refused"},
    {"a backslash before .git", "b=$(git hash-object -w a.txt); commit $(entry 100644 'x\\.git' $b | tree) > ../work",
     "refused"},
    {".. in a tree",
     "b=$(git hash-object -w a.txt); t=$(entry 100644 x $b | tree); commit $(entry 40000 .. $t | tree) > ../work",
     "hasDotdot"},
    {"a slash in a name", "b=$(git hash-object -w a.txt); commit $(entry 100644 ../../x $b | tree) > ../work",
     "fullPathname"},
    {"one name twice, a link and a folder",
     "b=$(git hash-object -w a.txt); l=$(printf @HOST@/outside | git hash-object -w --stdin); t=$(entry 100644 file $b "
     "| tree);"
     " commit $( { entry 120000 dir $l; entry 40000 dir $t; } | tree) > ../work",
     "duplicateEntries"},
    {"bad trees in the middle of the history",
     "b=$(git hash-object -w a.txt); c=$(commit $(entry 100644 .git $b | tree)); git commit-tree -m later -p $c "
     "HEAD^{tree} > ../work",
     "hasDotgit"},
    {"a link as .gitmodules", "b=$(git hash-object -w a.txt); commit $(entry 120000 .gitmodules $b | tree) > ../work",
     "gitmodulesSymlink"},
    {"a link as .gitattributes", "ln -s @HOST@/outside/key .gitattributes; git add .; git commit -qm l",
     "is a link, where git expects a file"},
    {"links that lead out",
     "ln -s @HOST@/outside out; ln -s ../outside/key key; ln -s src/main.c fine; git add .; git commit -qm l", nullptr,
     "true", "links lead out of the repository: key, out"},
    {"a folder that becomes a link", "rm -r src; ln -s @HOST@/outside src; git add -A; git commit -qm l", nullptr,
     "true", "links lead out of the repository: src"},
    {"a file where the user has a link", "mkdir here; echo planted > here/key; git add .; git commit -qm f",
     "in the way", "ln -s ../outside here; echo here > .git/info/exclude"},
    {"a file by another spelling of a link's name",
     "ln -s @HOST@/outside Dir; mkdir dir; echo planted > dir/key; git add .; git commit -qm f", nullptr},
    {"the project's own settings",
     "mkdir -p .onsight; echo 'evil = 1' > .onsight/agents.toml; git add .; git commit -qm c", ".onsight/agents.toml"},
    {"the project's own settings, spelt otherwise",
     "mkdir -p .OnSight; echo 'evil = 1' > .OnSight/agents.toml; git add .; git commit -qm c", ".OnSight/agents.toml"},
    {"hooks in the tree that the user's git runs",
     "mkdir .husky; for h in post-checkout post-merge reference-transaction post-index-change pre-commit; do cp "
     "@CANARY@ .husky/$h; done; git add .; git commit -qm h",
     nullptr, "git config core.hooksPath .husky", "which your git runs (core.hooksPath)"},
    {"configuration in the tree that the user's git includes",
     "printf '[core]\\nfsmonitor=@CANARY@\\nhooksPath=.\\n[filter \"new\"]\\nsmudge=@CANARY@\\nclean=@CANARY@\\n' > "
     ".gitconfig; printf '* filter=new\\n' > .gitattributes; cp @CANARY@ post-checkout;"
     " cp @CANARY@ reference-transaction; git add .; git commit -qm c",
     nullptr,
     "printf '[user]\\nname=U\\n' > .gitconfig; git add .; git commit -qm c; git config include.path ../.gitconfig",
     "which your git reads as its configuration"},
    {"a filter of the user's whose program lies in the tree",
     "mkdir tools; cp @CANARY@ tools/f.sh; printf '*.dat filter=own\\n' > .gitattributes; echo x > x.dat; git add .; "
     "git commit -qm f",
     nullptr,
     "git config filter.own.smudge tools/f.sh; git config filter.own.clean tools/f.sh; git config filter.own.required "
     "true",
     "the filter 'own' was not run on x.dat"},
    {"programs of the user's for differences and merges",
     "printf '* diff=own merge=own\\n' > .gitattributes; echo more >> a.txt; git add .; git commit -qm d", nullptr,
     "for k in diff.own.textconv diff.own.command diff.external merge.own.driver core.fsmonitor core.pager; do git "
     "config $k @CANARY@; done; echo u > u; git -c core.fsmonitor=false add u; git -c core.fsmonitor=false commit -qm "
     "u"},
    {"where LFS fetches from", "printf '[lfs]\\n\\turl = http://evil/\\n' > .lfsconfig; git add .; git commit -qm l",
     nullptr, "true", ".lfsconfig, which says"},
    {"attributes that turn files around",
     "printf '* ident text eol=crlf working-tree-encoding=UTF-7\\n' > .gitattributes; echo '$Id$' > id; git add "
     ".gitattributes; git -c core.autocrlf=false add id || true; git commit -qm a",
     nullptr},
    {"names that are options",
     "touch -- -rf --output=x '--upload-pack=touch ran' \"$(printf 'new\\nline')\" '$(x)' \"'\" '\"' 'a b' ':(glob)x' "
     "'@{-1}'; git add -A; git commit -qm n",
     nullptr},
    {"history that has nothing in common", "git checkout -q --orphan o; git commit -qm o", "unrelated histories"},
};

class PlantedTest : public HostileTest, public ::testing::WithParamInterface<Hostile> {};

TEST_P(PlantedTest, DoesNotRunAndBringsNothingOfTheHost) {
  const Hostile& hostile = GetParam();
  shell(user, fill_in(hostile.by_user));
  begin();
  shell(clone, kTools + fill_in(hostile.plant) +
                   "\n: ${GIT_DIR:=.git}; export GIT_DIR; w=$(cat ../work 2>/dev/null || git rev-parse HEAD)\n"
                   "test -e ../made && { cp ../odd " +
                   (folder / "bundle").string() +
                   "; exit 0; }\n"
                   "git -c core.hooksPath=/dev/null -c core.fsmonitor=false update-ref refs/heads/work $w\n"
                   "git -c core.hooksPath=/dev/null -c core.fsmonitor=false bundle create -q " +
                   (folder / "bundle").string() + " refs/heads/work");
  std::filesystem::remove(folder / "ran");  // in its container it may run what it likes
  const std::string before = shell(user, "git -c core.fsmonitor=false rev-parse HEAD; ls -A");
  std::string said;
  std::vector<std::string> told;
  if (const Result<Collected> found = collect(folder / "bundle"); !found) {
    said = found.error().message;
    EXPECT_EQ(shell(project.mirror(), "git for-each-ref refs/agents | wc -l"), "0");
    EXPECT_EQ(shell(project.mirror(), "ls | grep -c incoming || true"), "0");
  } else {
    for (const bool stat : {true, false}) EXPECT_TRUE(workspace->diff("reviewer", base, true, stat, false));
    const Result<Merged> merged = workspace->merge("reviewer", "m");
    if (!merged) said = merged.error().message;
    if (merged) {
      EXPECT_TRUE(merged->conflicts.empty());
      told = merged->notes;
    }
  }
  if (hostile.refused == nullptr) {
    EXPECT_EQ(said, "");
  }
  if (hostile.refused != nullptr) {
    EXPECT_NE(said.find(hostile.refused), std::string::npos) << "said: " << said;
    EXPECT_EQ(shell(user, "git -c core.fsmonitor=false rev-parse HEAD; ls -A"), before);
  }
  std::string all;
  for (const std::string& note : told) all += note + "\n";
  if (hostile.note != nullptr) {
    EXPECT_NE(all.find(hostile.note), std::string::npos) << "notes: " << all;
  }
  EXPECT_FALSE(ran()) << "at collect, diff or merge";
  (void)workspace->back_up("reviewer");
  (void)workspace->is_merged("reviewer");
  (void)workspace->bundle_for("reviewer", "HEAD");
  EXPECT_TRUE(workspace->remove_clone("reviewer"));
  EXPECT_TRUE(workspace->forget("reviewer"));
  EXPECT_FALSE(ran()) << "afterwards";
  EXPECT_TRUE(std::filesystem::exists(user / ".git/HEAD"));
  EXPECT_EQ(shell(project.mirror(), "git for-each-ref --format='%(refname)' | grep -v '^refs/heads/main$' || true"),
            "");
  expect_no_secret();
}

std::string name_of_planted(const ::testing::TestParamInfo<Hostile>& planted) {
  std::string name;
  for (const char c : std::string(planted.param.name))
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }  // NOLINT: googletest's name

INSTANTIATE_TEST_SUITE_P(Escape5, PlantedTest, ::testing::ValuesIn(kHostile), name_of_planted);

TEST_F(HostileTest, ObjectsThatOnlyTheHostHasAreNotTakenByTheirNames) {
  begin();
  const std::string secret = shell(folder / "host-secrets", "git rev-parse HEAD:key");
  const std::string packed = shell(clone, std::string(kTools) + "t=$(printf '100644 blob " + secret +
                                              "\\tkey\\n' | git mktree --missing); c=$(commit $t);"
                                              " { printf '# v2 git bundle\\n%s refs/heads/work\\n\\n' $c; printf "
                                              "'%s\\n%s\\n' $c $t | git pack-objects -q --stdout; } > " +
                                              (folder / "bundle").string());
  const Result<Collected> found = collect(folder / "bundle");
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("refused"), std::string::npos) << found.error().message;
  expect_no_secret();
}

TEST_F(HostileTest, BundlesThatAreNone) {
  begin();
  shell(clone, "echo x > x && git add x && git commit -qm x");
  const Path good = bundle();
  const std::string bytes = read_file(good).value();
  const std::string work = shell(clone, "git rev-parse HEAD"), blob = shell(clone, "git rev-parse HEAD:x");
  const auto refusal = [&](const std::string& text) {
    EXPECT_TRUE(write_file_atomically(folder / "bad", text));
    const Result<Collected> found = collect(folder / "bad");
    EXPECT_EQ(shell(project.mirror(),
                    "git for-each-ref refs/agents | wc -l; ls | grep -c incoming || true; ls objects/pack | wc -l"),
              "0\n0\n2");
    return found ? "taken" : found.error().message;
  };
  const std::string pack = bytes.substr(parse_bundle(bytes, "sha1")->pack_begins);
  EXPECT_EQ(refusal(""), "the agent's bundle: expected one of git, found ''");
  EXPECT_EQ(refusal("\x1b[2J" + bytes), "the agent's bundle: expected one of git, found '?[2J# v2 git bundle'");
  EXPECT_NE(refusal(bytes.substr(0, 40)).find("its head does not end"), std::string::npos);
  EXPECT_NE(refusal(bytes.substr(0, bytes.size() - 30)).find("refused"), std::string::npos);
  EXPECT_NE(refusal("# v2 git bundle\n" + work + " refs/heads/main\n\n" + pack).find("it has no refs/heads/work"),
            std::string::npos);
  EXPECT_NE(refusal("# v2 git bundle\n" + blob + " refs/heads/work\n\n" + pack).find("is no commit in it"),
            std::string::npos);
  EXPECT_NE(
      refusal("# v2 git bundle\n" + std::string(40, 'a') + " refs/heads/work\n\n" + pack).find("is no commit in it"),
      std::string::npos);
  EXPECT_NE(refusal("# v2 git bundle\n-" + std::string(40, 'a') + " x\n" + work + " refs/heads/work\n\n" + pack)
                .find("commits that are not here"),
            std::string::npos);
  EXPECT_NE(refusal("# v3 git bundle\n@filter=blob:none\n" + work + " refs/heads/work\n\n" + pack)
                .find("it wants '@filter=blob:none'"),
            std::string::npos);
  EXPECT_NE(refusal("# v3 git bundle\n@object-format=sha256\n\n" + pack).find("named by sha1"), std::string::npos);
  EXPECT_NE(refusal("# v2 git bundle\n" + work + " refs/heads/work\n" + base + " refs/heads/wip\n\n" + pack)
                .find("not above"),
            std::string::npos);
  EXPECT_NE(refusal("# v2 git bundle\n" + work + " refs/heads/work\n\nPACK" +
                    std::string("\0\0\0\2\xff\xff\xff\xff", 8) + std::string(100, 'x'))
                .find("refused"),
            std::string::npos);
  const Result<Collected> broken =
      workspace->collect("reviewer", base, [](const auto&) -> Status { return bad_input("the container is gone"); });
  EXPECT_EQ(broken.error().message, "the container is gone");
  EXPECT_EQ(collect(good).value().commit, work);
}

TEST_F(HostileTest, BombsAreCut) {
  const Limits limits = {.max_bundle_bytes = 200'000,
                         .max_changed_bytes = 1 << 20,
                         .max_files = 10'000,
                         .verify = std::chrono::seconds(60)};
  begin("reviewer", limits);
  const auto refusal = [&](const std::string& plant) {
    shell(clone, std::string(kTools) + "git checkout -q -f --detach " + base + "; rm -f ../work; " + plant +
                     "\ngit update-ref refs/heads/work $(cat ../work 2>/dev/null || git rev-parse HEAD)\n"
                     "git bundle create -q " +
                     (folder / "bundle").string() + " refs/heads/work");
    const Result<Collected> found = collect(folder / "bundle");
    EXPECT_EQ(shell(project.mirror(), "git for-each-ref refs/agents | wc -l; ls | grep -c incoming || true"), "0\n0");
    return found ? "taken" : found.error().message;
  };
  EXPECT_EQ(refusal("head -c 400000 /dev/urandom > r; git add r; git commit -qm r"),
            "the agent's bundle: larger than the 200000 bytes that are allowed");
  EXPECT_EQ(refusal("head -c 40000000 /dev/zero > z; git add z; git commit -qm z"),
            "the agent's work is refused: its files have more than 1048576 bytes");
  EXPECT_EQ(refusal("t=$(entry 100644 x HEAD:a.txt | tree); for i in 1 2 3 4 5 6 7 8 9; do t=$(for n in 0 1 2 3 4 5 6 "
                    "7 8 9; do entry 40000 $n $t; done | tree); done; commit $t > ../work"),
            "the agent's work is refused: more than 10000 files");
  uint64_t written = 0;
  const Result<Collected> endless = workspace->collect("reviewer", base, [&](const auto& sink) -> Status {
    for (;; written += 1000) TRY_STATUS(sink(std::string(1000, 'x')));
  });
  EXPECT_FALSE(endless);
  EXPECT_EQ(written, 200'000);
}

TEST_F(HostileTest, SettingsOfTheProjectAreTakenWhenAskedFor) {
  begin();
  agent_commits("mkdir -p .onsight; echo '# fine' > .onsight/agents.toml");
  EXPECT_FALSE(workspace->merge("reviewer", "m"));
  EXPECT_TRUE(workspace->merge("reviewer", "m", true));
  EXPECT_EQ(shell(user, "cat .onsight/agents.toml"), "# fine");
}

TEST_F(HostileTest, TheUsersEnvironmentIsNotHeard) {
  ::setenv("GIT_EXTERNAL_DIFF", (folder / "canary.sh").c_str(), 1);
  ::setenv("GIT_SSH_COMMAND", (folder / "canary.sh").c_str(), 1);
  ::setenv("GIT_DIR", (folder / "host-secrets/.git").c_str(), 1);
  ::setenv("GIT_OBJECT_DIRECTORY", "/nonexistent", 1);
  ::setenv("GIT_CONFIG_COUNT", "1", 1);
  ::setenv("GIT_CONFIG_KEY_0", "core.fsmonitor", 1);
  ::setenv("GIT_CONFIG_VALUE_0", (folder / "canary.sh").c_str(), 1);
  begin();
  agent_commits("echo x > x");
  EXPECT_TRUE(workspace->diff("reviewer", base, false, false, false));
  EXPECT_TRUE(workspace->merge("reviewer", "m"));
  for (const char* name : {"GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_DIR", "GIT_OBJECT_DIRECTORY",
                           "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"})
    ::unsetenv(name);
  EXPECT_FALSE(ran());
  EXPECT_EQ(shell(user, "cat x"), "x");
}

TEST(Paths, ThatAHostMustNotHave) {
  for (const char* path : {".git", "a/.GIT/x", ".git /x", ".git.", "git~1/config", ".g\u200cit", "a\\.git\\hooks",
                           ".git::$INDEX_ALLOCATION", ".git:x", "..", "a//b", "."})
    EXPECT_FALSE(dangerous(path).empty()) << path;
  for (const char* path : {".gitignore", "git", "a.git", ".github/x", "git~2", "a b", "\xff", "..."})
    EXPECT_TRUE(dangerous(path).empty()) << path;
  EXPECT_FALSE(dangerous(std::string(300, 'x')).empty());
  EXPECT_TRUE(is_below(".ONSIGHT/x", ".onsight"));
  EXPECT_FALSE(is_below("a/.onsight/x", ".onsight"));
  EXPECT_TRUE(leads_out("a/b", "/etc") && leads_out("a/b", "../../x") && leads_out("b", "x/../../y"));
  EXPECT_FALSE(leads_out("a/b", "../x") || leads_out("b", "x/../y"));
}

}  // namespace
}  // namespace onsight::agents::workspace
