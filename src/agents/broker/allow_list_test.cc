#include "agents/broker/allow_list.h"

#include <gtest/gtest.h>

#include <random>

namespace onsight::agents::broker {
namespace {

config::AllowRule rule(std::string method, std::string host, std::string path, int port = 0) {
  config::AllowRule out;
  out.method = std::move(method);
  out.host = std::move(host);
  out.path = std::move(path);
  out.port = port;
  return out;
}

bool lets(const config::AllowRule& one, std::string_view method, std::string_view text) {
  const auto url = parse_url(text);
  return url && allowed_by({one}, method, *url) != nullptr;
}

TEST(AllowList, TargetsAreBroughtIntoOneForm) {
  for (const auto& [text, host, port, target] : std::vector<std::tuple<std::string, std::string, int, std::string>>{
           {"http://Example.ORG", "example.org", 80, "/"},
           {"HTTPS://example.org./a", "example.org", 443, "/a"},
           {"http://example.org:8080/a%20b?x=%2e", "example.org", 8080, "/a%20b?x=%2e"},
           {"http://example.org/%61%2Fb", "example.org", 80, "/a%2Fb"},
           {"http://example.org?x", "example.org", 80, "/?x"},
           {"http://example.org/%7Euser/100%25", "example.org", 80, "/~user/100%25"},
           {"http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80, "/"},
           {"http://[2606:4700:0:0::1111]:81/", "2606:4700::1111", 81, "/"},
           {"http://192.0.2.1/", "192.0.2.1", 80, "/"},
       }) {
    const auto url = parse_url(text);
    ASSERT_TRUE(url) << text;
    EXPECT_EQ(url->at.host, host) << text;
    EXPECT_EQ(url->at.port, port) << text;
    EXPECT_EQ(url->target(), target) << text;
  }
}

TEST(AllowList, WhatIsReadInTwoWaysIsRefused) {
  for (const char* bad : {"ftp://example.org/",
                          "//example.org/",
                          "example.org",
                          "http:/example.org/",
                          "http:///a",
                          "http://user@example.org/",
                          "http://example.org@evil.test/",
                          "http://example.org:80@evil.test/",
                          "http://evil.test\\@example.org/",
                          "http://example.org#@evil.test/",
                          "http://example.org/#a",
                          "http://example.org:/",
                          "http://example.org:0/",
                          "http://example.org:65536/",
                          "http://example.org:080/",
                          "http://example.org:+80/",
                          "http://exa%6dple.org/",
                          "http://b\xc3\xbc"
                          "cher.example/",
                          "http://example..org/",
                          "http://.example.org/",
                          "http://example.org../",
                          "http://./",
                          "http://127.1/",
                          "http://0x7f.0.0.1/",
                          "http://0x7f000001/",
                          "http://2130706433/",
                          "http://0177.0.0.1/",
                          "http://127.0.0.1./",
                          "http://127.0.0.256/",
                          "http://1.2.3.4.5/",
                          "http://example.0x1/",
                          "http://[::1/",
                          "http://[::1]x/",
                          "http://[fe80::1%25eth0]/",
                          "http://[127.0.0.1]/",
                          "http://::1/",
                          "http://example.org /",
                          "http://a,b/",
                          "http://a_b*/",
                          "http://example.org/../a",
                          "http://example.org/a/%2e%2e/b",
                          "http://example.org/a/..%2fb",
                          "http://example.org//a",
                          "http://example.org/a%00b",
                          "http://example.org/a%0d%0aHost:x",
                          "http://example.org/a\\b",
                          "http://example.org/a%5cb",
                          "http://example.org/%252e%252e%252f",
                          "http://example.org/%zz",
                          "http://example.org/?a b",
                          "http://example.org/?\xc3\xa4",
                          "http://example.org/%c0%ae"})
    EXPECT_FALSE(parse_url(bad)) << bad;
  EXPECT_FALSE(parse_url("http://" + std::string(64, 'a') + ".org/"));
  for (const char* bad : {"example.org", "example.org:", ":443", "a b:443", "u@h:443", "h:443/x", "[::1]", ""})
    EXPECT_FALSE(parse_authority(bad, 0)) << bad;
}

TEST(AllowList, RulesMatch) {
  const auto npm = rule("GET", "*.shop.example", "/**");
  EXPECT_TRUE(lets(npm, "GET", "http://packages.shop.example/a/b"));
  EXPECT_TRUE(lets(npm, "GET", "http://PACKAGES.SHOP.EXAMPLE.:80/a/b"));
  EXPECT_TRUE(lets(npm, "GET", "https://packages.shop.example/"));
  EXPECT_FALSE(lets(npm, "POST", "http://packages.shop.example/a"));
  EXPECT_FALSE(lets(npm, "get", "http://packages.shop.example/a"));
  EXPECT_FALSE(lets(npm, "GET", "http://shop.example/a"));
  EXPECT_FALSE(lets(npm, "GET", "http://a.b.shop.example/a"));
  EXPECT_FALSE(lets(npm, "GET", "http://packages.shop.example:8080/a"));
  EXPECT_FALSE(lets(npm, "GET", "http://packages.shop.example.evil.test/a"));
  EXPECT_FALSE(lets(npm, "GET", "http://packagesshop.example/a"));
  EXPECT_FALSE(lets(npm, "GET", "http://evil.test/.shop.example/"));

  const auto exact = rule("", "api.test", "/v1/*/x", 8443);
  EXPECT_TRUE(lets(exact, "DELETE", "https://api.test:8443/v1/a/x"));
  EXPECT_TRUE(lets(exact, "GET", "http://api.test:8443/v1/%61/x"));
  EXPECT_FALSE(lets(exact, "GET", "https://api.test:8443/v1/a/b/x"));
  EXPECT_FALSE(lets(exact, "GET", "https://api.test:8443/v1/a%2Fb/x"));
  EXPECT_FALSE(lets(exact, "GET", "https://api.test:8443/v1/a/X"));
  EXPECT_FALSE(lets(exact, "GET", "https://api.test/v1/a/x"));
  for (const char* method : {"CONNECT", "TRACE", "TRACK"})
    EXPECT_FALSE(lets(exact, method, "https://api.test:8443/v1/a/x"));

  // Whatever a pattern says of names, it says nothing of addresses.
  const auto anything = rule("", "**", "/**");
  EXPECT_TRUE(lets(anything, "GET", "http://a.b.c/"));
  EXPECT_FALSE(lets(anything, "GET", "http://169.254.169.254/"));
  EXPECT_FALSE(lets(anything, "GET", "http://[::1]/"));
  EXPECT_TRUE(lets(rule("", "127.0.0.1", ""), "GET", "http://127.0.0.1/x"));
  EXPECT_TRUE(lets(rule("", "[::1]", "", 81), "GET", "http://[0:0::1]:81/x"));
  EXPECT_FALSE(lets(rule("CONNECT", "api.test", ""), "GET", "http://api.test/"));
}

TEST(AllowList, TunnelsNeedARuleThatSaysSo) {
  const auto at = parse_authority("github.com:443", 0);
  ASSERT_TRUE(at);
  EXPECT_TRUE(tunnel_allowed_by({rule("CONNECT", "github.com", "")}, *at));
  EXPECT_TRUE(tunnel_allowed_by({rule("CONNECT", "*.com", "", 443)}, *at));
  EXPECT_FALSE(tunnel_allowed_by({rule("CONNECT", "github.com", "", 22)}, *at));
  EXPECT_FALSE(tunnel_allowed_by({rule("", "github.com", "/**"), rule("GET", "**", "")}, *at));
  EXPECT_FALSE(tunnel_allowed_by({rule("CONNECT", "api.github.com", "")}, *at));
}

TEST(AllowList, PrivateHostsAreNamedAsSuch) {
  for (const char* host : {"127.0.0.1", "localhost", "10.0.0.1", "[::1]", "::1", "LOCALHOST"})
    EXPECT_TRUE(names_private_host(host)) << host;
  for (const char* host : {"example.org", "*", "**", "*.localhost", "localhost.test", "127.*", "[::*]", ""})
    EXPECT_FALSE(names_private_host(host)) << host;
}

TEST(AllowList, PatternsAgreeWithTheirDefinition) {
  // Slow and plain: every way to split.
  const std::function<bool(std::string_view, std::string_view)> slow = [&](std::string_view pattern,
                                                                           std::string_view text) -> bool {
    if (pattern.empty()) return text.empty();
    if (pattern[0] != '*') return !text.empty() && text[0] == pattern[0] && slow(pattern.substr(1), text.substr(1));
    const bool any = pattern.size() > 1 && pattern[1] == '*';
    const std::string_view rest = pattern.substr(any ? 2 : 1);
    for (size_t i = 0; i <= text.size(); ++i) {
      if (i > 0 && !any && text[i - 1] == '/') return false;
      if (slow(rest, text.substr(i))) return true;
    }
    return false;
  };
  std::mt19937 random(7);
  int matches = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string pattern, text;
    for (size_t n = random() % 7; n > 0; --n) pattern += "ab/**"[random() % 5];
    for (size_t n = random() % 8; n > 0; --n) text += "ab/"[random() % 3];
    const bool expected = slow(pattern, text);
    matches += expected;
    ASSERT_EQ(matches_pattern(pattern, text, '/'), expected) << pattern << " " << text;
  }
  EXPECT_GT(matches, 500);
  // No pattern takes long.
  std::string stars;
  for (int i = 0; i < 100; ++i) stars += "**a";
  EXPECT_FALSE(matches_pattern(stars + "b", std::string(8000, 'a'), '/'));
}

// Whatever is accepted is the same once it has been written and read again, and what is sent is what was judged.
TEST(AllowList, WrittenAndReadAgainItIsTheSame) {
  std::mt19937 random(11);
  const std::vector<std::string> pieces = {
      "http://",     "https://", "a",    "B",   ".", "..", "/",      "%2e",       "%2F", "%25", "%41",
      "@",           ":",        "80",   "443", "[", "]",  "::1",    "127.0.0.1", "?",   "#",   "\\",
      "example.org", "%00",      "xn--", "x=1", "&", "+",  "%c3%a4", "~",         ";"};
  int good = 0;
  for (int i = 0; i < 200000; ++i) {
    std::string text = random() % 4 == 0 ? "" : "http://example.org";
    for (size_t n = random() % 6; n > 0; --n) text += pieces[random() % pieces.size()];
    const auto url = parse_url(text);
    if (!url) continue;
    ++good;
    const std::string again = url->scheme + "://" + url->at.text(url->usual_port()) + url->target();
    const auto second = parse_url(again);
    ASSERT_TRUE(second) << text << " → " << again;
    EXPECT_EQ(second->at.host, url->at.host) << text;
    EXPECT_EQ(second->path, url->path) << text;
    EXPECT_EQ(second->target(), url->target()) << text;
    EXPECT_EQ((url->path + "/").find("/../"), std::string::npos);
    EXPECT_EQ(url->at.host.find_first_of("@/%?#\\ "), std::string::npos);
  }
  EXPECT_GT(good, 5000);
}

}  // namespace
}  // namespace onsight::agents::broker
