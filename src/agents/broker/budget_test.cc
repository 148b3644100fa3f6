// Money and tokens: what is set aside, settled, refused, and cut off.
#include "agents/broker/budget.h"

#include <gtest/gtest.h>

#include "agents/broker/broker_fixture_for_test.h"

namespace onsight::agents::broker {
namespace {

using BudgetTest = BrokerTest;
const std::string kAsk = R"({"model":"claude-x","max_tokens":100,"stream":true,"messages":[]})";
const std::string kPath = "/upstream/anthropic/v1/messages";

TEST(Spend, CountsWhatIsLost) {
  FakeStore store;
  const Spender spender{"reviewer", {config::Money{100}, 1000, {}}, {config::Money{150}, {}, {}}};
  {
    const auto lost = Spend::reserve(store, spender, "p", "m", {500, 60});
    ASSERT_TRUE(lost);
  }
  EXPECT_EQ(store.spending("reviewer").reserved_micro_usd, 60);
  const auto over = Spend::reserve(store, spender, "p", "m", {1, 41});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().reason, "budget");
  EXPECT_FALSE(Spend::reserve(store, spender, "p", "m", {501, 1}));
  auto fits = Spend::reserve(store, spender, "p", "m", {400, 30});
  ASSERT_TRUE(fits);
  EXPECT_TRUE(fits->extend({50, 10}));
  EXPECT_FALSE(fits->extend({50, 1}));
  ASSERT_TRUE(fits->settle(7, 3, 4, 200));
  EXPECT_EQ(store.spending("reviewer").micro_usd, 7);
  EXPECT_EQ(store.spending("reviewer").reserved_micro_usd, 60);
  ASSERT_TRUE(fits->settle(7, 3, 4, 200));
  EXPECT_EQ(store.spending("reviewer").micro_usd, 7);
  // The fleet's cap counts all agents.
  const Spender other{"writer", {}, {config::Money{150}, {}, {}}};
  EXPECT_FALSE(Spend::reserve(store, other, "p", "m", {1, 84}));
  EXPECT_TRUE(Spend::reserve(store, other, "p", "m", {1, 83}));
  store.broken = true;
  EXPECT_EQ(Spend::reserve(store, other, "p", "m", {0, 0}).error().reason, "store");
}

TEST(Spend, ManyAtOnceNeverExceedTheCap) {
  FakeStore store;
  const Spender spender{"reviewer", {config::Money{1000}, {}, {}}, {}};
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k)
        if (Spend::reserve(store, spender, "p", "m", {1, 30})) ++passed;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(passed, 33);
}

TEST_F(BudgetTest, RefusedInTheProvidersOwnShape) {
  ScriptedHost model(ScriptedHost::answer("{}"));
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  provider("openai", model.url(), "openai", "authorization");
  provider("gemini", model.url(), "gemini", "x-goog-api-key");
  role().budget.money = config::Money{10};
  start();
  const auto anthropic = ask(post(kPath, kAsk, with_key()));
  EXPECT_EQ(anthropic.status, 402);
  EXPECT_EQ(Json::parse(anthropic.body)["type"], "error");
  EXPECT_EQ(Json::parse(anthropic.body)["error"]["reason"], "budget");
  EXPECT_EQ(anthropic.headers.get("X-Should-Retry"), "false");
  const auto openai = ask(post("/upstream/openai/v1/responses", kAsk, ""));
  EXPECT_EQ(openai.status, 402);
  EXPECT_EQ(Json::parse(openai.body)["error"]["code"], "insufficient_quota");
  const auto gemini = ask(post("/upstream/gemini/v1beta/models/m:generateContent", "{}", ""));
  EXPECT_EQ(gemini.status, 402);
  EXPECT_EQ(Json::parse(gemini.body)["error"]["status"], "RESOURCE_EXHAUSTED");
  EXPECT_EQ(refused(), "budget");
  EXPECT_EQ(model.connections(), 0);
  // Without a price a budget in money means nothing: refused, not guessed.
  config_.providers["anthropic"].prices.clear();
  ASSERT_TRUE(broker_->reload(config_));
  EXPECT_EQ(ask(post(kPath, kAsk, with_key())).reason(), "price");
  role().budget = {};
  role().budget.tokens = 50;
  ASSERT_TRUE(broker_->reload(config_));
  EXPECT_EQ(ask(post(kPath, kAsk, with_key())).reason(), "budget");
  role().budget.tokens = 5000;
  ASSERT_TRUE(broker_->reload(config_));
  EXPECT_EQ(ask(post(kPath, kAsk, with_key())).status, 200);
}

// A request without a limit, to a host that goes on and on.
TEST_F(BudgetTest, CutOffInTheMiddle) {
  std::atomic<bool> went_on{true};
  ScriptedHost model([&](const auto&, const auto& say) {
    say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    say("event: message_start\ndata: "
        "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n");
    for (int i = 0; i < 100000; ++i)
      if (!say("event: content_block_delta\ndata: "
               "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"" +
               std::string(400, 'x') + "\"}}\n\n")) {
        went_on = false;
        return;
      }
  });
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  role().budget.tokens = 2000;
  start();
  const auto reply = ask(post(kPath, R"({"model":"claude-x","stream":true})", with_key()));
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.body.find("event: error\ndata: {"), std::string::npos)
      << reply.body.size() << reply.whole << store_.everything();
  EXPECT_NE(reply.body.find("\"reason\":\"budget\""), std::string::npos);
  EXPECT_LT(reply.body.size(), 40'000u);
  for (int i = 0; i < 200 && went_on; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(went_on);
  const auto spent = store_.spending("reviewer");
  EXPECT_EQ(spent.reserved_tokens, 0);
  EXPECT_GE(spent.tokens_in + spent.tokens_out, 1000);
  EXPECT_LE(spent.tokens_in + spent.tokens_out, 2000);
  EXPECT_EQ(refused(), "budget");
  EXPECT_EQ(ask(post(kPath, R"({"model":"claude-x","stream":true})", with_key())).reason(), "budget");
}

// Whoever hangs up in the middle pays what the answer took, not what was set aside.
TEST_F(BudgetTest, ReadOnWhenTheClientHasGone) {
  std::atomic<bool> gone{false};
  ScriptedHost model([&](const auto&, const auto& say) {
    say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: "
        "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n");
    while (!gone) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    say("data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":20}}\n\n");
  });
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  start();
  {
    AgentClient client(socket());
    client.send(post(kPath, kAsk, with_key()));
    while (client.in.find("message_start") == std::string::npos) ASSERT_TRUE(client.more());
  }
  gone = true;
  for (int i = 0; i < 300 && store_.all("spend.settled").empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(store_.spending("reviewer").tokens_in, 7);
  EXPECT_EQ(store_.spending("reviewer").tokens_out, 20);
}

TEST_F(BudgetTest, WithoutUsageTheWorstCaseCounts) {
  ScriptedHost model(ScriptedHost::answer("{}"));
  provider("anthropic", model.url(), "anthropic", "x-api-key");
  start();
  EXPECT_EQ(ask(post(kPath, kAsk, with_key())).status, 200);
  EXPECT_EQ(store_.spending("reviewer").tokens_out, static_cast<int64_t>(kAsk.size() / 2 + 1 + 100));
  // A host that cannot be reached took nothing.
  config_.providers["anthropic"].url = "http://127.0.0.1:1";
  ASSERT_TRUE(broker_->reload(config_));
  EXPECT_EQ(ask(post(kPath, kAsk, with_key())).status, 502);
  EXPECT_EQ(store_.spending("reviewer").tokens_out, static_cast<int64_t>(kAsk.size() / 2 + 1 + 100));
  EXPECT_EQ(store_.spending("reviewer").reserved_tokens, 0);
  // And where nothing can be written nothing leaves.
  config_.providers["anthropic"].url = model.url();
  ASSERT_TRUE(broker_->reload(config_));
  const int before = model.connections();
  store_.broken = true;
  EXPECT_EQ(ask(post(kPath, kAsk, with_key())).reason(), "store");
  EXPECT_EQ(model.connections(), before);
  store_.broken = false;
}

}  // namespace
}  // namespace onsight::agents::broker
