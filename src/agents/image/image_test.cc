#include "agents/image/image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <set>

#include "agents/image/command.h"
#include "agents/image/layer.h"
#include "base/subprocess.h"

namespace onsight::agents::image {
namespace {

harness::Harness with(const std::string& text) { return *harness::parse("command = ['x']\n" + text, "x", "x.toml"); }

// Keeps what it is asked to import; all else is a mistake of the test's.
class FakeRuntime : public runtime::Runtime {
 public:
  std::string_view engine() const override { return "fake"; }
  std::string_view version() const override { return "1"; }
  const Path& socket() const override { return socket_; }
  Result<std::string> create(const runtime::ContainerSpec&) override { return none(); }
  Status start(const std::string&) override { return none(); }
  Result<std::unique_ptr<runtime::Attachment>> attach(const std::string&, bool) override { return none(); }
  Status resize(const std::string&, int, int) override { return none(); }
  Result<std::optional<runtime::ContainerInfo>> inspect(const std::string&) override { return none(); }
  Result<std::vector<runtime::ContainerInfo>> list(const runtime::Labels&) override { return none(); }
  Status stop(const std::string&, std::chrono::seconds) override { return none(); }
  Status remove(const std::string&) override { return none(); }
  Result<int> wait(const std::string&, std::chrono::milliseconds) override { return none(); }
  Result<runtime::ExecResult> exec(const std::string&, const std::vector<std::string>&, std::chrono::milliseconds,
                                   uint64_t) override {
    return none();
  }
  Result<std::pair<std::string, std::unique_ptr<runtime::Attachment>>> exec_terminal(const std::string&,
                                                                                     const std::vector<std::string>&,
                                                                                     int, int) override {
    return none();
  }
  Result<int> exec_exit_code(const std::string&) override { return none(); }
  Status resize_exec(const std::string&, int, int) override { return none(); }
  Result<runtime::ExecResult> run(const runtime::ContainerSpec&, const std::function<Status(std::string_view)>&,
                                  std::chrono::milliseconds) override {
    return none();
  }
  Result<std::optional<std::string>> image_id(const std::string& tag) override {
    return images_.count(tag) ? std::optional<std::string>("id") : std::nullopt;
  }
  Result<runtime::Labels> image_labels(const std::string& tag) override { return images_[tag]; }
  Status import_image(const Path& tar, const std::string& tag, const runtime::Labels& labels,
                      const std::vector<std::string>& environment,
                      const std::function<void(uint64_t)>& progress) override {
    listing_ = *output_of({"tar", "-tvf", tar.string()}, 64 << 20, std::chrono::seconds(60));
    progress(std::filesystem::file_size(tar));
    images_[tag] = labels;
    environment_ = environment;
    return result_;
  }
  Status remove_image(const std::string&) override { return none(); }
  Result<std::vector<runtime::Check>> check(const std::string&) override { return none(); }

  static tl::unexpected<Error> none() { return bad_input("not asked for"); }
  Path socket_;
  std::map<std::string, runtime::Labels> images_;
  std::vector<std::string> environment_;
  std::string listing_;
  Status result_;
};

TEST(Recipe, TheTagChangesWithWhatIsInTheImage) {
  const Recipe plain = recipe_of(with("version = '2.1'"));
  EXPECT_TRUE(plain.tag.starts_with("onsight-agents/x:2.1-")) << plain.tag;
  EXPECT_EQ(plain.tag.size(), std::string("onsight-agents/x:2.1-").size() + 8);
  EXPECT_EQ(plain.tag, harness::image_tag(with("version = '2.1'\nresume = ['y']\n[environment]\nA = 'b'")));
  EXPECT_TRUE(plain.npm.empty());
  EXPECT_EQ(plain.labels.at("onsight.guest"), guest_version());
  const Recipe packages = recipe_of(with("version = '2.1'\n[install]\npackages = ['git', 'zip', 'make']"));
  EXPECT_NE(packages.tag, plain.tag);
  EXPECT_NE(packages.base, plain.base);
  EXPECT_EQ(packages.packages, (std::vector<std::string>{"bash", "ca-certificates", "curl", "git", "less", "make",
                                                         "procps", "ripgrep", "zip"}));
  const Recipe npm = recipe_of(
      with("version = '2.1'\n[install]\nnpm = '@a/b'\nnode = '22.1.0'\n[install.links]\nc = '@a/b-{cpu}/{machine}/c'"));
  EXPECT_EQ(npm.base, plain.base);
  EXPECT_NE(npm.tag, plain.tag);
  EXPECT_EQ(npm.npm[0], "@a/b@2.1");
  EXPECT_EQ(npm.main_package, "@a/b");
  EXPECT_TRUE(npm.npm[1].starts_with("node-linux-")) << npm.npm[1];
  EXPECT_EQ(npm.links.at("c").find('{'), std::string::npos);
  const Recipe codex = recipe_of(*harness::find("codex", ""));
  EXPECT_EQ(codex.main_package, "@openai/codex");
  EXPECT_EQ(codex.npm[0].find('{'), std::string::npos) << codex.npm[0];
}

TEST(Layer, ProgramsOfAPackage) {
  EXPECT_EQ(*programs_of(R"({"bin": {"a": "bin/a.js", "@x/b": "./b"}})", "p"),
            (std::map<std::string, std::string>{{"a", "bin/a.js"}, {"b", "./b"}}));
  EXPECT_EQ(*programs_of(R"({"name": "@x/c", "bin": "c.js"})", "p"),
            (std::map<std::string, std::string>{{"c", "c.js"}}));
  EXPECT_TRUE(programs_of("{}", "p")->empty());
  for (const char* wrong : {"", R"({"bin": {"a": 3}})", R"({"bin": {"a": "../../x"}})",
                            R"({"bin": {"a": "/etc/passwd"}})", R"({"bin": {"..": "x"}})", R"({"bin": "x"})"})
    EXPECT_FALSE(programs_of(wrong, "p")) << wrong;
}

TEST(Layer, UsersHaveNames) {
  const std::string users = with_users("root:x:0:0:root:/root:/bin/bash\nother:x:1001:1001::/:/bin/sh");
  EXPECT_NE(users.find("\nagent:x:1000:1000:agent:/agent/home:/bin/bash\n"), std::string::npos);
  EXPECT_NE(users.find("\nagent10007:x:10007:10007:"), std::string::npos);
  EXPECT_EQ(users.find("agent1001:"), std::string::npos);
  EXPECT_NE(with_groups("root:x:0:\n").find("\nagent:x:1000:\n"), std::string::npos);
}

TEST(Command, SaysWhatWentWrong) {
  std::vector<std::string> lines;
  const auto keep = [&](std::string_view line) { lines.emplace_back(line); };
  EXPECT_TRUE(run_command({.words = {"sh", "-c", "echo one; echo two >&2; printf three; cat"},
                           .input = "four\n",
                           .environment = {{"A", "b"}}},
                          keep, {}));
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "threefour"}));
  const auto failed = run_command({.words = {"sh", "-c", "echo 'E: no such package'; echo more; exit 3"}}, {}, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "sh: ended with code 3 (E: no such package)");
  EXPECT_EQ(run_command({.words = {"no-such-program"}}, {}, {}).error().message,
            "no-such-program: not on this machine");
  const auto begun = std::chrono::steady_clock::now();
  const auto stopped = run_command({.words = {"sh", "-c", "sleep 60 & wait"}}, {}, [] { return true; });
  EXPECT_EQ(stopped.error().code, ErrorCode::kInterrupted);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(8));
}

// With programs of its own in the place of mmdebstrap and npm.
class ImageBuild : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "image.XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    path_ = std::getenv("PATH");
    std::filesystem::create_directories(root_ / "bin");
    ::setenv("PATH", ((root_ / "bin").string() + ":" + path_).c_str(), 1);
    program("apt-get", "exit 1");
    program("apt-config", "exit 1");
    program("mmdebstrap",
            "for last; do :; done\nmkdir -p $TMPDIR/r/etc; echo 'root:x:0:0::/root:/bin/sh' > $TMPDIR/r/etc/passwd; "
            "echo 'root:x:0:' > $TMPDIR/r/etc/group\n"
            "echo \"$@\" >> " +
                (root_ / "debian.log").string() + "\ntar -C $TMPDIR/r -cf $last .");
    program("npm",
            "while [ $1 != --prefix ]; do shift; done\nd=$2/node_modules/pack\nmkdir -p $d; echo '{\"bin\": {\"pack\": "
            "\"run.js\"}}' > $d/package.json; echo '#!x' > $d/run.js\nmkdir -p $2/node_modules/other; echo x > "
            "$2/node_modules/other/prog");
    program("guest", "echo " + std::string(guest_version()));
    ::setenv("ONSIGHT_GUEST", (root_ / "bin/guest").c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", path_.c_str(), 1);
    ::unsetenv("ONSIGHT_GUEST");
    std::filesystem::remove_all(root_);
  }
  void program(const std::string& name, const std::string& lines) {
    ASSERT_TRUE(write_file_atomically(root_ / "bin" / name, "#!/bin/sh\n" + lines + "\n"));
    ::chmod((root_ / "bin" / name).c_str(), 0755);
  }
  Options options() { return {.cache = root_ / "cache"}; }
  int files_in_cache() { return static_cast<int>(children_of(root_ / "cache").size()); }
  Path root_;
  std::string path_;
};

constexpr const char* kPack = "version = '3'\n[install]\nnpm = 'pack'\nlinks = {prog = 'other/prog'}";

TEST_F(ImageBuild, MakesAndImports) {
  FakeRuntime engine;
  const harness::Harness harness = with(kPack);
  std::vector<std::string> steps;
  Options given = options();
  given.progress = [&](const Step& step) { steps.push_back(step.what); };
  const Status built = build(harness, engine, given);
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(engine.images_.at(harness::image_tag(harness)).at("onsight.harness"), "x");
  for (const char* line :
       {"usr/local/bin/onsight-agent\n", "usr/local/bin/pack -> /opt/agents/node_modules/pack/run.js\n",
        "usr/local/bin/prog -> /opt/agents/node_modules/other/prog\n", "etc/gitconfig\n", "agent/\n", "run/onsight/\n",
        "etc/passwd\n"})
    EXPECT_NE(engine.listing_.find(line), std::string::npos) << line << engine.listing_;
  std::set<std::string> names;
  for (size_t at = 0; at < engine.listing_.size(); at = engine.listing_.find('\n', at) + 1) {
    const std::string line = engine.listing_.substr(at, engine.listing_.find('\n', at) - at);
    EXPECT_TRUE(names.insert(line.substr(line.find("./"))).second) << "twice: " << line;
  }
  EXPECT_EQ(engine.environment_[0], "PATH=/usr/local/bin:/usr/bin:/bin");
  EXPECT_EQ(steps.back(), "import");
  EXPECT_EQ(files_in_cache(), 2);  // Debian's root, and the lock
  // Again: the engine has it. For another harness: Debian's root is there.
  ASSERT_TRUE(build(harness, engine, options()));
  ASSERT_TRUE(build(with("version = '4'"), engine, options()));
  EXPECT_EQ(std::count_if(engine.images_.begin(), engine.images_.end(), [](const auto&) { return true; }), 2);
  const std::string log = *read_file(root_ / "debian.log");
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1);
  given.fresh = true;
  ASSERT_TRUE(build(harness, engine, given));
  const std::string longer = *read_file(root_ / "debian.log");
  EXPECT_EQ(std::count(longer.begin(), longer.end(), '\n'), 2);
}

TEST_F(ImageBuild, LeavesNothingHalfMade) {
  FakeRuntime engine;
  const harness::Harness harness = with(kPack);
  const auto fails = [&](const std::string& word) {
    const Status built = build(harness, engine, options());
    ASSERT_FALSE(built);
    EXPECT_NE(built.error().message.find(word), std::string::npos) << built.error().message;
    for (const Path& file : children_of(root_ / "cache"))
      EXPECT_TRUE(file.filename() == "lock" || file.filename().string().starts_with("base-bookworm")) << file;
    EXPECT_TRUE(engine.images_.empty() || !engine.result_);
  };
  program("npm", "echo 'npm error 404 pack@3 is not in this registry'; exit 1");
  fails("npm: ended with code 1 (npm error 404 pack@3 is not in this registry)");
  program("npm",
          "while [ $1 != --prefix ]; do shift; done\nmkdir -p $2/node_modules/pack; echo '{}' > "
          "$2/node_modules/pack/package.json");
  fails("has no other/prog, expected the program prog");
  std::filesystem::remove_all(root_ / "cache");
  program("mmdebstrap", "for last; do :; done; echo half > $last; echo 'E: cannot create a namespace'; exit 25");
  fails("mmdebstrap: ended with code 25 (E: cannot create a namespace)");
  program("guest", "echo 0.0.1-12345678");
  fails("is of version 0.0.1-12345678, expected " + std::string(guest_version()));
  std::filesystem::remove(root_ / "bin/guest");
  fails("expected the program that runs in containers there");
}

TEST_F(ImageBuild, SaysWhatToInstall) {
  FakeRuntime engine;
  std::filesystem::remove(root_ / "bin/npm");
  std::filesystem::create_directories(root_ / "few");
  for (const char* name : {"sh", "tar", "cat", "mkdir", "echo"})
    if (const auto found = output_of({"sh", "-c", std::string("command -v ") + name}, 1000, std::chrono::seconds(5));
        found && found->front() == '/')
      std::filesystem::create_symlink(found->substr(0, found->size() - 1), root_ / "few" / name);
  ::setenv("PATH", ((root_ / "bin").string() + ":" + (root_ / "few").string()).c_str(), 1);
  EXPECT_EQ(build(with(kPack), engine, options()).error().message,
            "the harness x is installed with npm, which is not on this machine: install it (apt-get install npm)");
  EXPECT_TRUE(build(with(""), engine, options()));  // which needs none
  std::filesystem::remove(root_ / "bin/mmdebstrap");
  std::filesystem::remove_all(root_ / "cache");
  EXPECT_NE(build(with(kPack), engine, options()).error().message.find("(apt-get install mmdebstrap)"),
            std::string::npos);
}

// Minutes, and the network: only where it is asked for, as ONSIGHT_TEST_IMAGE=claude. The tar stays in the cache.
TEST(Image, RealOne) {
  const char* name = std::getenv("ONSIGHT_TEST_IMAGE");
  if (!name) GTEST_SKIP() << "ONSIGHT_TEST_IMAGE is not set";
  const auto harness = harness::find(name, "");
  ASSERT_TRUE(harness) << harness.error().message;
  const auto tar = make_root(
      *harness, {.progress = [](const Step& step) { std::cerr << step.what << ": " << step.detail << "\n"; }});
  ASSERT_TRUE(tar) << tar.error().message;
  std::cerr << tar->string() << " " << std::filesystem::file_size(*tar) << " " << harness::image_tag(*harness) << "\n";
}

}  // namespace
}  // namespace onsight::agents::image
