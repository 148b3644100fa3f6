// A thousand requests: memory stays where it was, and what the broker adds to each is small.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <fstream>

#include "agents/broker/broker_fixture_for_test.h"

namespace onsight::agents::broker {
namespace {

// AddressSanitizer holds on to what was freed, to see who uses it.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepsFreed = true;
#elif defined(__has_feature)
constexpr bool kKeepsFreed = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kKeepsFreed = false;
#endif

using Soak = BrokerTest;

double resident_mb() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

double milliseconds_of(const std::function<void()>& work) {
  const Time begin = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double middle(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

constexpr std::string_view kStart =
    "event: message_start\ndata: "
    "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n";
constexpr std::string_view kEnd =
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":20}}\n\n";

TEST_F(Soak, AThousandRequests) {
  std::string events(kStart);
  for (int i = 0; i < 50; ++i)
    events +=
        "event: content_block_delta\ndata: "
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"some words\"}}\n\n";
  events += kEnd;
  ScriptedHost model(ScriptedHost::answer(events, "text/event-stream"));
  model.remembers = false;
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  limits_.requests_per_minute = 1'000'000;
  start();
  const std::string body =
      R"({"model":"claude-x","max_tokens":100,"stream":true,"messages":[{"role":"user","content":")" +
      std::string(20'000, 'x') + "\"}]}";
  const std::string request = post("/upstream/anthropic/v1/messages", body, with_key());
  std::atomic<int> bad{0};
  const auto round = [&](int count) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        AgentClient client(socket(t % 2 == 0 ? "reviewer" : "writer"));
        const std::string mine =
            t % 2 == 0 ? request : post("/upstream/anthropic/v1/messages", body, with_key(kSiblingPlaceholder));
        for (int i = 0; i < count / 4; ++i)
          if (const auto reply = client.ask(mine); reply.status != 200 || reply.body != events) ++bad;
      });
    for (std::thread& thread : threads) thread.join();
    ::malloc_trim(0);
  };
  round(200);
  const double before = resident_mb();
  const double took = milliseconds_of([&] { round(1000); });
  const double after = resident_mb();
  EXPECT_EQ(bad, 0);
  if (!kKeepsFreed) {
    EXPECT_LT(after - before, 24);  // the events that the Store keeps in memory here
  }
  EXPECT_EQ(store_.spending("").tokens_out, 1200 * 20);
  EXPECT_EQ(store_.spending("").reserved_tokens, 0);

  // One after the other: through the broker, and straight to the host.
  std::vector<double> through, straight, bus;
  AgentClient client(socket());
  for (int i = 0; i < 100; ++i) through.push_back(milliseconds_of([&] { client.ask(request); }));
  for (int i = 0; i < 100; ++i) bus.push_back(milliseconds_of([&] { client.ask(get("/onsight/me", "onsight")); }));
  for (int i = 0; i < 100; ++i)
    straight.push_back(milliseconds_of([&] {
      Authority at;
      at.host = "127.0.0.1";
      at.port = model.port();
      const Waiting waiting{};
      const Time until = Clock::now() + std::chrono::seconds(10);
      const auto to = make_channel(dial(literal_address(at).value(), waiting, until).value());
      (void)to->write(request, waiting, until);
      std::array<char, 32 << 10> bytes;
      size_t got = 0;
      while (got < events.size()) {
        const auto n = to->read(bytes.data(), bytes.size(), waiting, until);
        if (!n || *n == 0) break;
        got += *n;
      }
    }));
  std::printf(
      "1,000 metered requests: %.0f a second, %.1f MB more resident; one: %.2f ms, straight %.2f ms, the bus %.3f ms\n",
      1e6 / took, after - before, middle(through), middle(straight), middle(bus));
}

// What a host sends without end goes through at the speed of the sockets.
TEST_F(Soak, LargeAnswers) {
  const std::string megabyte(1 << 20, 'x');
  ScriptedHost large([&](const auto&, const auto& say) {
    say("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(megabyte.size() * 100) + "\r\n\r\n");
    for (int i = 0; i < 100; ++i)
      if (!say(megabyte)) return;
  });
  allow("GET", "127.0.0.1", "/**", large.port());
  start();
  const std::string at = "127.0.0.1:" + std::to_string(large.port());
  AgentClient client(socket());
  const double before = resident_mb();
  double peak = before;
  uint64_t got = 0;
  const double took = milliseconds_of([&] {
    client.send(get("http://" + at + "/", at));
    while (got < (100u << 20) && client.more()) {
      got += client.in.size();
      client.in.clear();
      if (got % 64 == 0) peak = std::max(peak, resident_mb());
    }
  });
  EXPECT_GE(got, 100u << 20);
  EXPECT_LT(peak - before, 16);
  std::printf("100 MB through the broker: %.0f MB a second, %.1f MB more resident\n", 104.9 / took * 1000,
              peak - before);
}

}  // namespace
}  // namespace onsight::agents::broker
