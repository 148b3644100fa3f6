#include "agents/harness/harness.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "agents/harness/embedded.h"
#include "base/json.h"

namespace onsight::agents::harness {
namespace {

const Values kValues = {};

Values some_values() {
  return {.task = "Do {name} `x` \"y\" $Z",
          .model = "m-1",
          .name = "reviewer",
          .role = "r",
          .home = "/agent/home",
          .placeholder = "p"};
}

std::string error_of(const std::string& text) {
  const auto parsed = parse(text, "x", "x.toml");
  return parsed ? "no error" : parsed.error().message;
}

TEST(Harness, EmbeddedOnesAreWhatTheyShouldBe) {
  EXPECT_EQ(names(""), (std::vector<std::string>{"claude", "codex", "gemini", "generic", "opencode"}));
  for (const EmbeddedFile& file : embedded_files()) {
    const auto harness = parse(file.text, file.name, std::string(file.name) + ".toml");
    ASSERT_TRUE(harness) << harness.error().message;
    EXPECT_EQ(harness->name, file.name);
    EXPECT_FALSE(harness->about.empty());
    for (const auto& [path, text] : harness->files) {
      if (path.ends_with(".json")) {
        EXPECT_TRUE(parse_json(fill(text, some_values()), path)) << path;
      }
    }
    for (const auto& [variable, provider] : harness->keys)
      EXPECT_TRUE(harness->own_providers.count(provider)) << provider;
    for (const auto& [name, provider] : harness->own_providers) EXPECT_EQ(provider.prices.back().model, "") << name;
    EXPECT_EQ(harness->install.npm.empty(), file.name == "generic");
  }
}

TEST(Harness, KeysHaveHosts) {
  EXPECT_EQ(hosts_of_key("anthropic"), std::vector<std::string>{"api.anthropic.com"});
  EXPECT_EQ(hosts_of_key("openai"), std::vector<std::string>{"api.openai.com"});
  EXPECT_EQ(hosts_of_key("gemini"), std::vector<std::string>{"generativelanguage.googleapis.com"});
  EXPECT_TRUE(hosts_of_key("mine").empty());
}

TEST(Harness, CommandsAreFilledArgumentByArgument) {
  const auto claude = find("claude", "");
  ASSERT_TRUE(claude);
  EXPECT_EQ(fill(claude->command, some_values()),
            (std::vector<std::string>{"claude", "--dangerously-skip-permissions", "--model", "m-1", "--",
                                      "Do {name} `x` \"y\" $Z"}));
  Values no_model = some_values();
  no_model.model = "";
  EXPECT_EQ(fill(claude->command, no_model),
            (std::vector<std::string>{"claude", "--dangerously-skip-permissions", "--", "Do {name} `x` \"y\" $Z"}));
  EXPECT_EQ(fill(std::vector<std::string>{"{model}", "x"}, kValues), (std::vector<std::string>{"x"}));
  EXPECT_EQ(fill(std::string_view("{name}{role}-{home} {other} {{name}} {name {"), some_values()),
            "reviewerr-/agent/home {other} {reviewer} {name {");
  EXPECT_EQ(fill(std::string_view(), kValues), "");
}

TEST(Harness, ErrorsSayTheLineAndWhatWasExpected) {
  EXPECT_EQ(error_of("command = ["), error_of("command = ["));
  EXPECT_NE(error_of("\ncommand = [").find("x.toml, line 2: "), std::string::npos) << error_of("\ncommand = [");
  EXPECT_EQ(error_of(""), "x.toml, line 1: command: expected command = [\"program\", \"{task}\"]");
  const std::string good = "command = ['a']\n";
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"command = ['{task}']", "line 1: command: expected a program first"},
           {"command = ['a', '{taks}']", "line 1: command: {taks}: expected one of {task}, {model}"},
           {good + "comand = 1", "line 2: unknown name 'comand'"},
           {good + "version = 'a b'", "line 2: version: expected letters, digits, dots and dashes, found \"a b\""},
           {good + "messages = 'pigeon'", "line 2: messages: expected terminal, hook or none"},
           {good + "thinking = '('", "line 2: thinking: expected a regular expression"},
           {good + "files = {'../x' = ''}", "files: \"../x\": expected a path below HOME"},
           {good + "files = {'/x' = ''}", "expected a path below HOME"},
           {good + "files = {'a//b' = ''}", "expected a path below HOME"},
           {good + "files = {x = 'a {task}'}", "{task} can stand in commands"},
           {good + "files = {x = 3}", "expected a string"},
           {good + "environment = {HOME = 'x'}", "HOME is set for every agent"},
           {good + "environment = {ONSIGHT_AGENT = 'x'}", "is set for every agent"},
           {good + "environment = {'a b' = 'x'}", "expected the name of a variable"},
           {good + "environment = {A = '{x}'}", "A: {x}: expected one of"},
           {good + "[install]\nnpm = '--global'", "line 3: install.npm: expected the name of a package"},
           {good + "[install]\nnpm = '../x'", "expected the name of a package"},
           {good + "[install]\nnpm = 'https://x'", "expected the name of a package"},
           {good + "[install]\nnode = 'latest'", "line 3: install.node: expected a version"},
           {good + "[install]\npackages = ['-x']", "expected the name of a Debian package"},
           {good + "[install]\nlinks = {x = '../../etc/passwd'}", "expected a program's name and a path"},
           {good + "[install]\nlinks = {'../x' = 'y'}", "expected a program's name and a path"},
           {good + "[providers.p]\nprotocol = 'none'", "url"},
       })
    EXPECT_NE(error_of(text).find(expected), std::string::npos) << text << "\n" << error_of(text);
}

TEST(Harness, ProvidersAreThoseThatAreNamed) {
  const auto harness =
      parse("command = ['a']\nbase_urls = {A = 'one'}\nkeys = {B = 'two'}\n[providers.three]\nurl = 'https://x'\n", "x",
            "x.toml");
  ASSERT_TRUE(harness) << harness.error().message;
  EXPECT_EQ(harness->providers, (std::vector<std::string>{"one", "three", "two"}));
}

class HarnessFolders : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "harness.XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    ::setenv("XDG_CONFIG_HOME", (root_ / "config").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("XDG_CONFIG_HOME");
    std::filesystem::remove_all(root_);
  }
  void put(const Path& folder, const std::string& name, const std::string& program) {
    std::filesystem::create_directories(root_ / folder);
    ASSERT_TRUE(write_file_atomically(root_ / folder / name, "command = ['" + program + "']\n"));
  }
  Path root_;
};

TEST_F(HarnessFolders, TheProjectsOwnComeFirst) {
  EXPECT_EQ(find("generic", root_)->command[0], "bash");
  put("config/onsight/harness", "generic.toml", "users");
  EXPECT_EQ(find("generic", root_)->command[0], "users");
  put(".onsight/harness", "generic.toml", "projects");
  put(".onsight/harness", "own.toml", "own");
  put(".onsight/harness", "Wrong Name.toml", "own");
  EXPECT_EQ(find("generic", root_)->command[0], "projects");
  EXPECT_EQ(find("own", root_)->command[0], "own");
  EXPECT_EQ(names(root_), (std::vector<std::string>{"claude", "codex", "gemini", "generic", "opencode", "own"}));
  for (const char* name : {"nothing", "../own", "Wrong Name", "", "own.toml"}) {
    const auto found = find(name, root_);
    ASSERT_FALSE(found);
    EXPECT_NE(found.error().message.find("expected one of claude, codex, gemini, generic, opencode, own"),
              std::string::npos);
  }
  ASSERT_TRUE(write_file_atomically(root_ / ".onsight/harness/own.toml", "nonsense"));
  EXPECT_NE(find("own", root_).error().message.find("own.toml, line 1: "), std::string::npos);
}

}  // namespace
}  // namespace onsight::agents::harness
