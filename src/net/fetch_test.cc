#include "net/fetch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "net/fetch_pool.h"
#include "net/server.h"

namespace onsight::net {
namespace {

bool is_public_text(const char* text) {
  sockaddr_storage storage{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (::inet_pton(AF_INET, text, &v4->sin_addr) == 1)
    storage.ss_family = AF_INET;
  else if (::inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
    storage.ss_family = AF_INET6;
  return is_public(*reinterpret_cast<const sockaddr*>(&storage));
}

Result<std::string> try_fetch(const std::string& url, const FetchPolicy& policy) {
  return fetch(url, policy, "here", {.until = std::chrono::steady_clock::now() + policy.time});
}

TEST(Fetch, AddressesOfThePublicInternet) {
  for (const char* address :
       {"1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1111", "2a00::1"})
    EXPECT_TRUE(is_public_text(address)) << address;
  for (const char* address : {"0.0.0.0",
                              "127.0.0.1",
                              "127.9.9.9",
                              "10.0.0.1",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.168.1.1",
                              "169.254.169.254",
                              "100.64.0.1",
                              "224.0.0.1",
                              "255.255.255.255",
                              "198.18.0.1",
                              "::",
                              "::1",
                              "fe80::1",
                              "fc00::1",
                              "fd00::1",
                              "ff02::1",
                              "::ffff:127.0.0.1",
                              "::ffff:8.8.8.8",
                              "64:ff9b::7f00:1",
                              "2002:7f00:1::",
                              "2001::1",
                              "2001:db8::1"})
    EXPECT_FALSE(is_public_text(address)) << address;
}

TEST(Fetch, HostsThatAreAllowed) {
  const FetchPolicy policy{.hosts = {"example.org", "*.pictures.example", "here.example:8080"}};
  EXPECT_TRUE(allows_host(policy, "EXAMPLE.org", 443));
  EXPECT_TRUE(allows_host(policy, "a.pictures.example", 80));
  EXPECT_TRUE(allows_host(policy, "here.example", 8080));
  EXPECT_FALSE(allows_host(policy, "example.org", 8080));
  EXPECT_FALSE(allows_host(policy, "here.example", 80));
  EXPECT_FALSE(allows_host(policy, "pictures.example", 80));
  EXPECT_FALSE(allows_host(policy, "evilpictures.example", 80));
  EXPECT_FALSE(allows_host(policy, "example.org.evil.example", 80));
  EXPECT_FALSE(allows_host(policy, "", 80));
}

TEST(Fetch, FilesRedirectsAndLimits) {
  Site site;
  site.handle = [](const HttpRequest& request, const std::shared_ptr<Exchange>& exchange) {
    if (request.path == "/file") return exchange->respond({200, {}, std::string(1000, 'x')});
    if (request.path == "/again") return exchange->respond({302, {{"Location", "/file"}}, {}});
    if (request.path == "/loop") return exchange->respond({302, {{"Location", "/loop"}}, {}});
    if (request.path == "/away") return exchange->respond({302, {{"Location", "http://elsewhere.example/"}}, {}});
    if (request.path == "/local") return exchange->respond({302, {{"Location", "file:///etc/passwd"}}, {}});
    exchange->respond({404, {}, {}});
  };
  auto server = Server::listen({}, site);
  ASSERT_TRUE(server);
  std::jthread thread([&] { (*server)->run(); });
  const std::string base = fmt::format("http://127.0.0.1:{}", (*server)->port());
  FetchPolicy policy{.hosts = {fmt::format("127.0.0.1:{}", (*server)->port())}, .public_only = false};
  EXPECT_EQ(try_fetch(base + "/file", policy).value().size(), 1000u);
  EXPECT_EQ(try_fetch(base + "/again", policy).value().size(), 1000u);
  for (const char* path : {"/loop", "/away", "/local", "/missing"})
    EXPECT_FALSE(try_fetch(base + path, policy)) << path;
  EXPECT_FALSE(try_fetch("http://user@127.0.0.1/", policy));
  EXPECT_FALSE(try_fetch("file:///etc/passwd", policy));
  policy.max_bytes = 999;
  EXPECT_NE(try_fetch(base + "/file", policy).error().message.find("at most 999 bytes"), std::string::npos);
  policy.public_only = true;
  EXPECT_NE(try_fetch(base + "/file", policy).error().message.find("private address"), std::string::npos);
  (*server)->stop();
}

TEST(Fetch, EndsWhenNobodyWaits) {
  Site site;
  std::vector<std::shared_ptr<Exchange>> unanswered;
  site.handle = [&](const HttpRequest&, std::shared_ptr<Exchange> exchange) { unanswered.push_back(exchange); };
  auto server = Server::listen({}, site);
  ASSERT_TRUE(server);
  std::jthread thread([&] { (*server)->run(); });
  const std::string url = fmt::format("http://127.0.0.1:{}/", (*server)->port());
  const FetchPolicy policy{.hosts = {fmt::format("127.0.0.1:{}", (*server)->port())}, .public_only = false};
  const auto cancelled = std::make_shared<std::atomic<bool>>(false);
  const auto begun = std::chrono::steady_clock::now();
  const std::jthread leaver([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    *cancelled = true;
  });
  EXPECT_EQ(fetch(url, policy, "here", {begun + std::chrono::minutes(1), cancelled}).error().code,
            ErrorCode::kInterrupted);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(30));
  EXPECT_NE(fetch(url, policy, "here", {begun}).error().message.find("within 10 s"), std::string::npos);
  (*server)->stop();
}

TEST(FetchPool, TakesSoMany) {
  std::mutex held;
  std::atomic<int> ran{0};
  {
    FetchPool pool({.at_once = 2, .waiting = 3});
    {
      const std::scoped_lock lock(held);
      for (int i = 0; i < 5; ++i)
        EXPECT_TRUE(pool.post([&] {
          const std::scoped_lock inner(held);
          ++ran;
          throw std::runtime_error("its own affair");
        }));
      EXPECT_FALSE(pool.post([] {}));
    }
    while (ran < 5) std::this_thread::yield();
    while (!pool.post([] {})) std::this_thread::yield();
  }
  EXPECT_EQ(ran, 5);
}

}  // namespace
}  // namespace onsight::net
