#include "agents/bus/bus.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <thread>

#include "agents/bus/mail.h"
#include "agents/state/test_support.h"
#include "net/target.h"

namespace onsight::agents::bus {
namespace {

using std::chrono::milliseconds;
using trial::TempFolder;

config::Role role(std::string name, std::vector<std::string> may_message, bool may_propose = false) {
  config::Role out;
  out.name = std::move(name);
  out.may_message = std::move(may_message);
  out.may_propose = may_propose;
  return out;
}

struct Answered {
  int status = 0;
  Json body;
  net::Headers headers;
  std::string reason() const { return body.contains("error") ? body["error"].value("reason", "") : ""; }
  std::string message() const { return body.contains("error") ? body["error"].value("message", "") : ""; }
};

class BusTest : public ::testing::Test {
 protected:
  explicit BusTest(bool on_disk = false)
      : folder_(on_disk),
        store_(*state::Store::open(folder_ / "state.db")),
        config_(std::make_shared<config::Config>()) {
    config_->roles = {{"coder", role("coder", {"human", "reviewer"})},
                      {"reviewer", role("reviewer", {"coder"})},
                      {"planner", role("planner", {"*"}, true)},
                      {"mute", role("mute", {})}};
    for (const char* name : {"coder", "reviewer", "planner", "mute"}) make_agent(name, name);
    make_agent("coder2", "coder");
    start();
  }

  void start(Limits limits = {}) {
    bus_.reset();
    bus_ = std::make_unique<Bus>(
        *store_, [this] { return config_; }, limits);
  }

  void make_agent(const std::string& name, const std::string& of_role) {
    EXPECT_TRUE(trial::add(*store_, trial::created(name, of_role)));
    EXPECT_TRUE(trial::add(*store_, trial::phase(name, "provisioning")));
    EXPECT_TRUE(trial::add(*store_, trial::phase(name, "starting", {{"generation", 1}})));
    EXPECT_TRUE(trial::add(*store_, trial::phase(name, "running")));
  }

  Answered ask(std::string_view agent, std::string method, std::string target, const std::string& body = "") {
    const net::Target parsed = *net::parse_target(target);
    const net::HttpResponse response =
        bus_->handle(agent, {.method = std::move(method), .path = parsed.path, .query = parsed.query, .body = body});
    return {response.status, Json::parse(response.body), response.headers};
  }
  Answered post(std::string_view agent, std::string path, const Json& body) {
    return ask(agent, "POST", "/onsight/" + path, body.dump());
  }
  Answered get(std::string_view agent, std::string path) { return ask(agent, "GET", "/onsight/" + path); }

  Answered send(std::string_view agent, std::string to, std::string id, Json more = Json::object()) {
    more["to"] = std::move(to);
    more["id"] = std::move(id);
    if (!more.contains("text")) more["text"] = "Hello";
    return post(agent, "messages", more);
  }

  std::vector<state::Event> events(std::string_view kind) {
    std::vector<state::Event> out;
    EXPECT_TRUE(store_->read([&](state::Transaction& t) -> Status {
      TRY(out, t.events({.kind_prefix = std::string(kind)}));
      return {};
    }));
    return out;
  }

  TempFolder folder_;
  std::unique_ptr<state::Store> store_;
  std::shared_ptr<config::Config> config_;
  std::unique_ptr<Bus> bus_;
};

TEST_F(BusTest, AMessageGoesItsWay) {
  Answered sent =
      send("coder", "reviewer", "m1", {{"text", "Please look"}, {"kind", "question"}, {"data", {{"n", 1}}}});
  EXPECT_EQ(sent.status, 201);
  const int64_t number = sent.body.at("number");
  EXPECT_EQ(receipt_of(*find_message(*store_, number)), "queued");

  Answered inbox = get("reviewer", "inbox");
  ASSERT_EQ(inbox.body.at("messages").size(), 1u);
  const Json& message = inbox.body.at("messages")[0];
  EXPECT_EQ(message.at("from"), "coder");
  EXPECT_EQ(message.at("text"), "Please look");
  EXPECT_EQ(message.at("kind"), "question");
  EXPECT_EQ(message.at("data"), Json({{"n", 1}}));
  EXPECT_EQ(message.at("hops"), 0);
  EXPECT_EQ(receipt_of(*find_message(*store_, number)), "delivered");
  EXPECT_EQ(get("reviewer", "inbox").body.at("messages").size(), 1u);  // until it says that it has it

  EXPECT_EQ(post("reviewer", "inbox/consumed", {{"numbers", {number}}}).body, Json({{"consumed", {number}}}));
  EXPECT_EQ(post("reviewer", "inbox/consumed", {{"numbers", {number}}}).status, 200);
  EXPECT_EQ(receipt_of(*find_message(*store_, number)), "consumed");
  EXPECT_TRUE(get("reviewer", "inbox").body.at("messages").empty());

  sent = send("reviewer", "coder", "r1", {{"reply_to", number}, {"kind", "answer"}});
  EXPECT_EQ(sent.status, 201);
  const state::MessageRow answered = *find_message(*store_, number);
  EXPECT_EQ(receipt_of(answered), "answered");
  EXPECT_EQ(answered.answered_by, sent.body.at("number"));
  EXPECT_EQ(get("coder", "inbox").body.at("messages")[0].at("reply_to"), number);
  EXPECT_TRUE(store_->verify());
}

TEST_F(BusTest, AnAnswerAlsoConsumes) {
  const int64_t number = send("coder", "reviewer", "m1").body.at("number");
  ASSERT_EQ(send("reviewer", "coder", "r1", {{"reply_to", std::to_string(number)}}).status, 201);
  EXPECT_EQ(receipt_of(*find_message(*store_, number)), "answered");
  EXPECT_TRUE(get("reviewer", "inbox").body.at("messages").empty());
  // A second answer is a message like others.
  EXPECT_EQ(send("reviewer", "coder", "r2", {{"reply_to", number}}).status, 201);
  EXPECT_TRUE(store_->verify());
}

TEST_F(BusTest, TheSameAgainIsTheSameMessage) {
  const Answered first = send("coder", "reviewer", "m1");
  const Answered again = send("coder", "reviewer", "m1");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  const Answered other = send("coder", "reviewer", "m1", {{"text", "Other"}});
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(other.reason(), "conflict");
  EXPECT_EQ(send("coder2", "reviewer", "m1").status, 201);  // ids are the sender's own
  EXPECT_EQ(get("reviewer", "inbox").body.at("messages").size(), 2u);
}

// Escape 8.
TEST_F(BusTest, ASenderCannotBeForged) {
  for (const char* field : {"sender", "from", "actor", "agent", "as"}) {
    const Answered forged = send("mute", "coder", "f", {{field, "human"}});
    EXPECT_EQ(forged.status, 403);
    EXPECT_EQ(forged.reason(), "forged_sender");
    EXPECT_EQ(get("mute", std::string("inbox?") + field + "=coder").reason(), "forged_sender");
  }
  EXPECT_EQ(post("mute", "status", {{"activity", "idle"}, {"agent", "coder"}}).reason(), "forged_sender");
  EXPECT_EQ(post("mute", "done", {{"summary", "x"}, {"agent", "coder"}}).reason(), "forged_sender");
  // Nor by a second field of that name, nor by who the text says it is from.
  EXPECT_EQ(
      ask("mute", "POST", "/onsight/messages", R"({"id":"1","to":"human","text":"x","from":"a","from":"b"})").reason(),
      "forged_sender");
  EXPECT_EQ(ask("nobody", "GET", "/onsight/inbox").status, 403);
  EXPECT_TRUE(get("coder", "inbox").body.at("messages").empty());
  const auto refused = events("egress.refused");
  ASSERT_GE(refused.size(), 12u);
  EXPECT_EQ(refused[0].agent, "mute");
  EXPECT_EQ(refused[0].actor, "broker");
  EXPECT_EQ(refused[0].body.at("host"), "onsight");
  EXPECT_EQ(refused[0].body.at("reason"), "forged_sender");
}

TEST_F(BusTest, WhoMayWriteToWhom) {
  const std::vector<std::string> to = {"coder", "coder2", "reviewer", "planner", "mute", "human", "supervisor"};
  const std::map<std::string, std::string> table = {{"coder", "..x..x."},
                                                    {"coder2", "..x..x."},
                                                    {"reviewer", "xx....."},
                                                    {"planner", "xxx.xxx"},
                                                    {"mute", "......."}};
  for (const auto& [from, row] : table) {
    for (size_t i = 0; i < to.size(); ++i) {
      const Answered answer = send(from, to[i], "to-" + to[i]);
      EXPECT_EQ(answer.status, row[i] == 'x' ? 201 : 403) << from << " to " << to[i];
      EXPECT_EQ(answer.reason(), row[i] == 'x' ? "" : "not_allowed");
    }
  }
  EXPECT_EQ(send("planner", "nobody", "n").reason(), "no_recipient");
  EXPECT_EQ(send("planner", "broker", "n").reason(), "no_recipient");
  EXPECT_EQ(send("planner", "../human", "n").reason(), "no_recipient");
  config_->roles.erase("planner");
  EXPECT_EQ(send("planner", "human", "n2").reason(), "not_allowed");  // a role that the config no longer has
  // Reading another's inbox, consuming or answering what is another's.
  const int64_t number = find_message(*store_, 1)->number;
  EXPECT_EQ(post("mute", "inbox/consumed", {{"numbers", {number}}}).reason(), "no_message");
  EXPECT_EQ(send("coder", "human", "n3", {{"reply_to", number}}).reason(), "no_message");
}

TEST_F(BusTest, TheHumanAlwaysMay) {
  const auto number = bus::send(*store_, "human", {.to = "mute", .text = "Are you well?"});
  ASSERT_TRUE(number);
  EXPECT_EQ(get("mute", "inbox").body.at("messages")[0].at("from"), "human");
  EXPECT_EQ(send("coder", "human", "m1", {{"text", "Done\x1b[2J"}, {"data", 1}}).status, 201);
  const auto inbox = read_inbox(*store_, "human", {});
  ASSERT_TRUE(inbox);
  ASSERT_EQ(inbox->size(), 1u);
  EXPECT_EQ((*inbox)[0].sender, "coder");
  EXPECT_EQ(safe_text((*inbox)[0].text + "\n\tü\xc2\x9b"), "Done\xef\xbf\xbd[2J\n\tü\xef\xbf\xbd");
  EXPECT_TRUE(read_inbox(*store_, "human", {})->empty());
  EXPECT_EQ(read_inbox(*store_, "human", {.all = true})->size(), 1u);
  EXPECT_EQ(receipt_of(*find_message(*store_, (*inbox)[0].number)), "consumed");
  ASSERT_TRUE(bus::send(*store_, "human", {.to = "coder", .text = "Thanks", .reply_to = (*inbox)[0].number}));
  EXPECT_EQ(receipt_of(*find_message(*store_, (*inbox)[0].number)), "answered");
  EXPECT_EQ(list_messages(*store_, "", 0, 100)->size(), 3u);
  EXPECT_EQ(list_messages(*store_, "mute", 0, 100)->size(), 1u);
  EXPECT_EQ(bus::send(*store_, "human", {.to = "nobody", .text = "x"}).error().message,
            "nobody: there is no such agent");
  EXPECT_EQ(bus::send(*store_, "human", {.to = "mute"}).error().message, "message to mute: expected a text");
  EXPECT_EQ(bus::send(*store_, "mute", {.to = "human", .text = "x"}).error().message,
            "mute: only the human and the supervisor write this way");
  EXPECT_EQ(bus::send(*store_, "human", {.to = "mute", .text = "x", .reply_to = 99}).error().message,
            "#99: there is no such message to human");
  EXPECT_EQ(find_message(*store_, 99).error().message, "#99: there is no such message");
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(bus::send(*store_, "supervisor", {.to = "mute", .text = "x"}));
  EXPECT_TRUE(store_->verify());
}

TEST_F(BusTest, RatesSurviveARestart) {
  start({.per_minute = 60, .burst = 30});
  int sent = 0, refused = 0;
  Answered last;
  for (int i = 0; i < 40; ++i) {
    last = send("coder", "reviewer", std::to_string(i));
    (last.status == 201 ? sent : refused) += 1;
  }
  EXPECT_GE(sent, 30);
  EXPECT_LE(sent, 33);  // one a second comes back
  EXPECT_EQ(last.status, 429);
  EXPECT_EQ(last.reason(), "rate");
  EXPECT_EQ(last.headers.get("Retry-After"), "1");
  bus_.reset();
  store_ = *state::Store::open(folder_ / "state.db");
  start({.per_minute = 60, .burst = 30});
  for (int i = 0; i < 5; ++i) refused += send("coder", "reviewer", fmt::format("again{}", i)).status == 429;
  EXPECT_GE(refused, 5);
  EXPECT_EQ(send("coder", "reviewer", "0").status, 200);   // the same again costs nothing
  EXPECT_EQ(send("coder2", "reviewer", "0").status, 201);  // another's
}

TEST_F(BusTest, SizesAndHopsHaveCaps) {
  EXPECT_EQ(send("coder", "reviewer", "big", {{"text", std::string(60'000, 'x')}}).status, 201);
  const Answered larger = send("coder", "reviewer", "larger", {{"text", std::string(66'000, 'x')}});
  EXPECT_EQ(larger.status, 413);
  EXPECT_EQ(larger.reason(), "too_large");
  int64_t last = send("coder", "reviewer", "hop0").body.at("number");
  for (int hop = 1; hop <= 8; ++hop) {
    const bool odd = hop % 2 == 1;
    const Answered reply =
        send(odd ? "reviewer" : "coder", odd ? "coder" : "reviewer", fmt::format("hop{}", hop), {{"reply_to", last}});
    ASSERT_EQ(reply.status, 201) << reply.message();
    last = reply.body.at("number");
    EXPECT_EQ(find_message(*store_, last)->hops, hop);
  }
  EXPECT_EQ(send("reviewer", "coder", "hop9", {{"reply_to", last}}).reason(), "hops");
}

TEST_F(BusTest, SaysWhatIsWrong) {
  const auto said = [&](std::string path, const std::string& body) {
    const Answered answer = ask("planner", "POST", "/onsight/" + path, body);
    return fmt::format("{} {}", answer.status, answer.message());
  };
  EXPECT_EQ(said("messages", "{"), "400 body: expected valid JSON");
  EXPECT_EQ(said("messages", "[]"), "400 body: expected a JSON object");
  EXPECT_EQ(said("messages", R"({"id":"1","text":"x"})"), "400 to: expected a text that is not empty");
  EXPECT_EQ(said("messages", R"({"id":1,"to":"coder","text":"x"})"), "400 id: expected a text that is not empty");
  EXPECT_EQ(said("messages", R"({"id":"a b","to":"coder","text":"x"})"),
            "400 id: expected 1 to 64 printable characters without spaces");
  EXPECT_EQ(said("messages", R"({"id":"1","to":"coder","text":"x","kind":"order"})"),
            "400 kind: expected message, question or answer");
  EXPECT_EQ(said("messages", R"({"id":"1","to":"coder","text":"x","reply_to":-1})"),
            "400 reply_to: expected the number of a message");
  EXPECT_EQ(said("messages", R"({"id":"1","to":"coder","text":"x","prio":1})"),
            "400 prio: there is no such field, expected of: id, to, text, kind, reply_to, data");
  EXPECT_EQ(said("messages", "{\"id\":\"1\",\"to\":\"coder\",\"text\":\"\xff\"}"), "400 body: expected valid JSON");
  EXPECT_EQ(said("inbox/consumed", R"({"numbers":[]})"), "400 numbers: expected a list of 1 to 1000 numbers");
  EXPECT_EQ(said("inbox/consumed", R"({"numbers":[1e99]})"), "400 numbers: expected the number of a message");
  EXPECT_EQ(said("status", R"({"activity":"offline"})"),
            "400 activity: expected idle, thinking, waiting, blocked, completed or limit");
  EXPECT_EQ(said("done", R"({"summary":"x","result":"maybe"})"), "400 result: expected done or failed");
  EXPECT_EQ(said("propose", R"({"tasks":[1]})"), "400 tasks: expected a list of 1 to 100 objects");
  EXPECT_EQ(said("elsewhere", "{}"), "404 there is no such path");
  EXPECT_EQ(said("inbox", "{}"), "405 /onsight/inbox: expected GET");
  EXPECT_EQ(said("me", "{}"), "405 /onsight/me: expected GET");
  EXPECT_EQ(get("planner", "inbox?wait=soon").message(), "wait: expected a number, not negative");
  EXPECT_EQ(get("planner", "inbox?whose=1").message(),
            "whose: there is no such parameter, expected of: wait, after, limit");
}

TEST_F(BusTest, StatusHeartbeatDoneAndMe) {
  const auto row = [&](std::string_view name) {
    std::optional<state::AgentRow> out;
    EXPECT_TRUE(store_->read([&](state::Transaction& t) -> Status {
      TRY(out, t.agent(name));
      return {};
    }));
    return *out;
  };
  EXPECT_EQ(post("coder", "status", {{"activity", "waiting"}, {"detail", "for a review"}}).status, 200);
  EXPECT_EQ(post("coder", "status", {{"activity", "waiting"}, {"detail", "for a review"}}).status, 200);
  EXPECT_EQ(row("coder").activity, state::Activity::kWaiting);
  EXPECT_EQ(row("coder").activity_by, "coder");
  EXPECT_EQ(row("coder").detail, "for a review");
  EXPECT_EQ(events("agent.activity").size(), 1u);
  EXPECT_EQ(post("coder", "heartbeat", Json::object()).status, 200);
  EXPECT_EQ(ask("coder", "POST", "/onsight/heartbeat").status, 200);
  EXPECT_GT(row("coder").heartbeat_ms, 0);
  EXPECT_EQ(post("coder", "done", {{"summary", "Fixed it"}}).status, 200);
  EXPECT_EQ(post("coder", "done", {{"summary", "Fixed it"}}).status, 200);
  EXPECT_EQ(events("agent.done").size(), 1u);
  EXPECT_EQ(row("coder").result, "done");
  EXPECT_EQ(row("coder").activity, state::Activity::kCompleted);
  ASSERT_TRUE(trial::add(*store_, trial::phase("mute", "stopped")));
  EXPECT_EQ(post("mute", "status", {{"activity", "thinking"}}).status, 409);

  config_->roles["coder"].budget.tokens = 1000;
  const Json me = get("coder", "me").body;
  EXPECT_EQ(me.at("agent"), "coder");
  EXPECT_EQ(me.at("role"), "coder");
  EXPECT_EQ(me.at("task"), "Do it");
  EXPECT_EQ(me.at("may_message"), Json({"human", "reviewer"}));
  ASSERT_EQ(me.at("agents").size(), 1u);
  EXPECT_EQ(me.at("agents")[0].at("name"), "reviewer");
  EXPECT_EQ(me.at("budget").at("tokens"), 1000);
  EXPECT_EQ(me.at("may_propose"), false);
}

TEST_F(BusTest, PlannersPropose) {
  const Json tasks = {{{"name", "t1"}, {"text", "Do `this` \"now\""}}};
  EXPECT_EQ(post("coder", "propose", {{"tasks", tasks}}).reason(), "not_allowed");
  const Answered first = post("planner", "propose", {{"tasks", tasks}, {"id", "p1"}});
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(post("planner", "propose", {{"tasks", tasks}, {"id", "p1"}}).status, 200);
  EXPECT_EQ(post("planner", "propose", {{"tasks", {{{"name", "t2"}}}}, {"id", "p1"}}).status, 409);
  EXPECT_EQ(post("planner", "propose", {{"tasks", tasks}}).status, 201);
  const auto proposed = events("task.proposed");
  ASSERT_EQ(proposed.size(), 2u);
  EXPECT_EQ(proposed[0].agent, "planner");
  EXPECT_EQ(proposed[0].body.at("tasks"), tasks);
  EXPECT_TRUE(store_->verify());
}

TEST_F(BusTest, WhoWaitsIsAnsweredWhenThereIsSomething) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(get("reviewer", "inbox?wait=1").body.at("messages").empty());
  EXPECT_GE(std::chrono::steady_clock::now() - begun, milliseconds(900));
  // From this process, and through another's connection to the store.
  for (const bool same : {true, false}) {
    std::thread sender([&] {
      std::this_thread::sleep_for(milliseconds(150));
      if (same) {
        EXPECT_EQ(send("coder", "reviewer", "waited").status, 201);
      } else {
        auto other = *state::Store::open(folder_ / "state.db");
        EXPECT_TRUE(bus::send(*other, "human", {.to = "reviewer", .text = "x"}));
      }
    });
    const auto from = std::chrono::steady_clock::now();
    const Json messages = get("reviewer", "inbox?wait=30").body.at("messages");
    EXPECT_LT(std::chrono::steady_clock::now() - from, milliseconds(3'000));
    sender.join();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(post("reviewer", "inbox/consumed", {{"numbers", {messages[0].at("number")}}}).status, 200);
  }
  // Whose client has gone waits no longer.
  std::atomic<bool> over = false;
  std::thread client([&] {
    const net::HttpResponse response =
        bus_->handle("reviewer", {.method = "GET", .path = "/onsight/inbox", .query = {{"wait", "30"}}},
                     [&] { return over.load(); });
    EXPECT_EQ(response.status, 200);
  });
  std::this_thread::sleep_for(milliseconds(50));
  over = true;
  bus_->wake();
  client.join();
}

// A thousand messages a second with three transitions each, of twenty agents at once. Only where speed is looked at is
// slowness a failure.
class BusOnDiskTest : public BusTest {
 protected:
  BusOnDiskTest() : BusTest(true) {}
};

TEST_F(BusOnDiskTest, Speed) {
  constexpr int kAgents = 20;
  const int each = std::getenv("ONSIGHT_TIMINGS") != nullptr ? 250 : 20;
  config_->roles["swarm"] = role("swarm", {"swarm"});
  start({.per_minute = 1'000'000, .burst = 1'000'000});
  for (int i = 0; i < kAgents; ++i) make_agent(fmt::format("s{}", i), "swarm");
  std::atomic<int> consumed = 0;
  std::vector<std::thread> threads;
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < kAgents; ++i) {
    const std::string me = fmt::format("s{}", i), next = fmt::format("s{}", (i + 7) % kAgents);
    threads.emplace_back([this, me, next, each] {
      for (int k = 0; k < each; ++k) EXPECT_EQ(send(me, next, std::to_string(k)).status, 201);
    });
    threads.emplace_back([this, me, each, &consumed] {
      for (int got = 0; got < each;) {
        const Json messages = get(me, "inbox?wait=10").body.at("messages");
        if (messages.empty()) return;
        Json numbers = Json::array();
        for (const Json& message : messages) numbers.push_back(message.at("number"));
        EXPECT_EQ(post(me, "inbox/consumed", {{"numbers", numbers}}).status, 200);
        got += static_cast<int>(messages.size());
        consumed += static_cast<int>(messages.size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  const double rate = consumed.load() / seconds;
  RecordProperty("messages_per_second", static_cast<int>(rate));
  fmt::print("{} messages queued, delivered and consumed in {:.2f} s: {:.0f}/s\n", consumed.load(), seconds, rate);
  EXPECT_EQ(consumed.load(), kAgents * each);
  EXPECT_GE(rate, std::getenv("ONSIGHT_TIMINGS") != nullptr ? 1000 : 1);
  EXPECT_TRUE(store_->verify());
}

}  // namespace
}  // namespace onsight::agents::bus
