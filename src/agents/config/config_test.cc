#include "agents/config/config.h"

#include <gtest/gtest.h>

#include "agents/config/toml_reader.h"

namespace onsight::agents::config {
namespace {

std::string refusal(std::string_view text) {
  auto config = parse(text, "agents.toml");
  return config ? "it was taken" : config.error().message;
}

TEST(AgentsConfig, WhatInitWritesWorksAsItIs) {
  auto config = parse(starting_config(), "agents.toml");
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_TRUE(config->role("coder"));
  EXPECT_EQ(config->role("coder")->harness, "claude");
  EXPECT_EQ(config->role("coder")->budget.money->micro_usd, 5'000'000);
  EXPECT_EQ(config->fleet.money->micro_usd, 20'000'000);
  EXPECT_EQ(config->role("shell")->limits.memory_bytes, uint64_t{2} << 30);
  EXPECT_EQ(config->role("nobody"), nullptr);
}

// The comments show the defaults: uncommented they change nothing.
TEST(AgentsConfig, CommentedDefaultsAreTheDefaults) {
  std::string text(starting_config());
  for (const char* line : {"engine =", "memory =", "cpus =", "pids =", "tmp =", "disk =", "socket =", "vision = "}) {
    const size_t at = text.find(std::string("# ") + line);
    ASSERT_NE(at, std::string::npos) << line;
    text.erase(at, 2);
  }
  auto plain = parse(starting_config(), "a"), full = parse(text, "b");
  ASSERT_TRUE(full) << full.error().message;
  const Limits a = plain->role("coder")->limits, b = full->role("coder")->limits;
  EXPECT_EQ(a.memory_bytes, b.memory_bytes);
  EXPECT_EQ(a.cpus, b.cpus);
  EXPECT_EQ(a.pids, b.pids);
  EXPECT_EQ(a.tmp_bytes, b.tmp_bytes);
  EXPECT_EQ(a.disk_bytes, b.disk_bytes);
  EXPECT_EQ(plain->engine, full->engine);
  EXPECT_EQ(plain->socket, full->socket);
}

TEST(AgentsConfig, RolesTakeLimitsAndBudgetsOfTheFleetUnlessTheySayOtherwise) {
  auto config = parse(R"(
limits.memory = "1GiB"
budget.agent = { usd = 2, time = "90m" }
[roles.a]
limits = { pids = 99 }
[roles.b]
budget = { tokens = 1000 }
allow = ["GET *.shop.example/**", "CONNECT github.com:443", "registry.example.org:8080/v2/*"]
)",
                      "agents.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->role("a")->limits.memory_bytes, uint64_t{1} << 30);
  EXPECT_EQ(config->role("a")->limits.pids, 99);
  EXPECT_EQ(config->role("a")->budget.money->micro_usd, 2'000'000);
  EXPECT_EQ(config->role("a")->budget.time->count(), 90 * 60'000);
  EXPECT_FALSE(config->role("b")->budget.money);
  EXPECT_EQ(config->role("b")->budget.tokens, 1000);
  const auto& allow = config->role("b")->allow;
  ASSERT_EQ(allow.size(), 3U);
  EXPECT_EQ(allow[0].method + " " + allow[0].host + " " + allow[0].path, "GET *.shop.example /**");
  EXPECT_EQ(allow[1].host, "github.com");
  EXPECT_EQ(allow[1].port, 443);
  EXPECT_EQ(allow[2].port, 8080);
  EXPECT_EQ(allow[2].method, "");
}

TEST(AgentsConfig, RefusalsSayTheLineAndWhatWasExpected) {
  EXPECT_EQ(refusal("[limits]\nmemory = 1.5\n"),
            "agents.toml, line 2: limits.memory: expected a size such as \"512MiB\", found a number");
  EXPECT_EQ(refusal("[limits]\nmemory = \"2 potatoes\"\n"),
            "agents.toml, line 2: limits.memory: expected a size such as \"512MiB\" or \"2GB\", found \"2 potatoes\"");
  EXPECT_EQ(refusal("[limits]\nmemory = 5\n"),
            "agents.toml, line 2: limits.memory: expected 16777216 to 17592186044416 bytes, found 5");
  EXPECT_EQ(refusal("\n[limits]\nmemry = \"2GB\"\n"),
            "agents.toml, line 3: unknown name 'limits.memry', did you mean 'memory'?");
  EXPECT_EQ(refusal("[roles.Coder]\n"),
            "agents.toml, line 1: roles.Coder: 'Coder': expected the name of a role: a letter, then letters, digits "
            "and dashes, all lower case, at most 30");
  EXPECT_EQ(refusal("[roles.coder]\nmay_message = [\"revewer\"]\n[roles.reviewer]\n"),
            "agents.toml: roles.coder.may_message: unknown role 'revewer', did you mean 'reviewer'?");
  EXPECT_EQ(refusal("[roles.coder]\nmay_message = [1]\n"),
            "agents.toml, line 2: roles.coder.may_message: expected strings only, found a whole number");
  EXPECT_EQ(refusal("[runtime]\nengine = \"dcoker\"\n"),
            "agents.toml, line 2: runtime.engine: expected auto, docker, podman or kubernetes, found \"dcoker\"");
  EXPECT_EQ(refusal("roles = 3\n"), "agents.toml, line 1: roles: expected tables, found a whole number");
  EXPECT_EQ(refusal("[roles.human]\n"), "agents.toml, line 1: roles.human: 'human' is taken, choose another name");
  EXPECT_EQ(refusal("[budget.agent]\ntime = \"soon\"\n"),
            "agents.toml, line 2: budget.agent.time: expected a time such as \"90s\", \"5m\" or \"2h\", found "
            "\"soon\"");
  EXPECT_EQ(refusal("[budget.agent]\nusd = nan\n"),
            "agents.toml, line 2: budget.agent.usd: expected 0 to 1000000, found nan");
  EXPECT_TRUE(refusal("[limits\n").starts_with("agents.toml, line 1: ")) << refusal("[limits\n");
  EXPECT_TRUE(refusal("a = \"\xff\"\n").starts_with("agents.toml, line 1: "));
  EXPECT_EQ(refusal("# \xc3\xa9\n[limits]\n*\xef\xb9\xbf"),
            "agents.toml, line 3: expected ASCII outside of strings and comments");
  EXPECT_TRUE(refusal("[;").starts_with("agents.toml, line 1: ")) << refusal("[;");
  EXPECT_EQ(refusal("\xc3\xa9 = 1\n"), "agents.toml, line 1: expected ASCII outside of strings and comments");
  for (const char* text :
       {"[roles.a]\ninstructions = \"\xc3\xa9 \\\" \xc3\xa9\"", "[roles.a]\nmodel = \'\'\'\n\xc3\xa9\'\'\'\n",
        "[roles.a]\nmodel = \"\"\"\n\xc3\xa9\\\"\"\"\"\n# \xc3\xa9"})
    EXPECT_EQ(refusal(text), "it was taken") << text;
}

TEST(AgentsConfig, RulesThatSayTooMuchOrTooLittleAreRefused) {
  for (const char* rule :
       {"", "GET", "get example.org/", "GET https://example.org/", "GET example.org", "GET *", "*/**", "GET e*.org/",
        "GET *.org.*/", "GET a.*.org/", "CONNECT example.org", "CONNECT example.org:443/x", "CONNECT example.org:0",
        "GET example.org:99999/", "GET user@example.org/", "GET  x.org/", "GET x.org/a b", "GET x.org/\xc3\xa9"})
    EXPECT_TRUE(
        refusal(fmt::format("[roles.a]\nallow = ['{}']\n", rule)).starts_with("agents.toml, line 2: roles.a.allow"))
        << rule << ": " << refusal(fmt::format("[roles.a]\nallow = ['{}']\n", rule));
}

TEST(AgentsConfig, Providers) {
  auto config = parse(R"(
[providers.house]
url = "http://10.0.0.7:8000/"
protocol = "openai"
key = "house"
[[providers.house.prices]]
model = "big"
in = 3
out = 15.5
)",
                      "agents.toml");
  ASSERT_TRUE(config) << config.error().message;
  const Provider& house = config->providers.at("house");
  EXPECT_EQ(house.url, "http://10.0.0.7:8000");
  EXPECT_EQ(house.prices.at(0).out, 15'500'000);
  EXPECT_EQ(house.prices.at(0).cached_in, 3'000'000);
  for (const char* url : {"house", "ftp://x", "https://", "https:///x", "https://me@x.org", "https://x.org/?a=b"})
    EXPECT_TRUE(refusal(fmt::format("[providers.a]\nurl = '{}'\n", url))
                    .starts_with("agents.toml, line 2: providers.a.url: expected \"https://host\""))
        << url;
  EXPECT_EQ(refusal("[providers.a]\nkey = 'x'\n"), "agents.toml, line 1: providers.a: expected url = \"…\"");
}

TEST(AgentsConfig, Names) {
  for (const char* name : {"a", "a1", "reviewer-2", "abcdefghijklmnopqrstuvwxyz0123"})
    EXPECT_TRUE(check_name(name, "x"));
  for (const char* name : {"", "A", "1a", "-a", "a-", "a/b", "a.b", "..", "a b", "a\n", "a_b", "\xc3\xa9", "$(id)",
                           "abcdefghijklmnopqrstuvwxyz01234"})
    EXPECT_FALSE(check_name(name, "x")) << name;
  EXPECT_FALSE(check_name(std::string_view("a\0b", 3), "x"));
}

TEST(AgentsConfig, SizesAndTimes) {
  EXPECT_EQ(parse_bytes("1.5GiB").value(), uint64_t{3} << 29);
  EXPECT_EQ(parse_bytes("100 kB").value(), 100'000U);
  EXPECT_EQ(parse_time("1.5s").value().count(), 1500);
  for (const char* text : {"", "GiB", "-1MiB", "1e9", "1..5GB", "9999999999999999", "1 GiBs", "."})
    EXPECT_FALSE(parse_bytes(text)) << text;
}

TEST(AgentsConfig, AClusterIsDescribedAndWhatItWouldNotTakeIsRefused) {
  auto config = parse("[runtime.kubernetes]\nnamespace = \"bots\"\nregistry = \"registry.shop.example/team\"\n", "a");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kubernetes.name_space, "bots");
  EXPECT_EQ(config->kubernetes.registry, "registry.shop.example/team");
  EXPECT_EQ(config->kubernetes.storage_class, "");
  EXPECT_EQ(
      refusal("[runtime.kubernetes]\n\nstorage_class = \"a b\"\n"),
      "agents.toml, line 3: runtime.kubernetes.storage_class: expected a name such as \"fast-ssd\", found \"a b\"");
  EXPECT_EQ(parse("[runtime.kubernetes]\ncontext = \"kind agents\"\n", "a")->kubernetes.context, "kind agents");
  EXPECT_NE(refusal("[runtime.kubernetes]\ncontext = \"a\\u0007\"\n").find("context"), std::string::npos);
  EXPECT_NE(refusal("[runtime.kubernetes]\ncontexts = \"x\"\n").find("contexts"), std::string::npos);
  EXPECT_EQ(parse("[runtime]\nengine = \"kubernetes\"\n", "a")->engine, "kubernetes");
}

}  // namespace
}  // namespace onsight::agents::config
