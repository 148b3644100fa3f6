// Random histories: what as_of() says of each moment is what was seen at that moment.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "agents/state/store.h"
#include "agents/state/test_support.h"

namespace onsight::agents::state {
namespace {

using trial::TempFolder;

const std::vector<std::string> kNames = {"a", "b", "c"};

Json picture_of(Store& store) {
  Json out = Json::object();
  const Status status = store.read([&](Transaction& t) -> Status {
    TRY(const auto agents, t.agents());
    for (const AgentRow& a : agents) {
      out["agents"].push_back({a.name,
                               a.role,
                               a.task,
                               a.base_commit,
                               name_of(a.wanted),
                               name_of(a.phase),
                               name_of(a.activity),
                               a.activity_by,
                               a.detail,
                               a.generation,
                               a.resume,
                               a.start_asked,
                               a.container,
                               a.exit_code.value_or(-1),
                               a.result,
                               a.collected,
                               a.collected_wip,
                               a.merged,
                               a.backup,
                               a.born,
                               a.created_ms,
                               a.started_ms,
                               a.stopped_ms});
    }
    for (const std::string& name : {std::string("a"), std::string("b"), std::string("c"), std::string("human")}) {
      TRY(const auto inbox, t.inbox(name, 0, false, 1000));
      for (const MessageRow& m : inbox) {
        out["inbox"][name].push_back({m.number, m.id, m.sender, m.text, m.reply_to, m.data, m.hops, m.queued_ms,
                                      m.delivered_ms, m.consumed_ms, m.answered_ms, m.answered_by});
      }
      TRY(const Spending s, t.spent(name == "human" ? "" : name));
      out["spent"][name] = {s.micro_usd, s.tokens_in,          s.tokens_out,
                            s.requests,  s.reserved_micro_usd, s.reserved_tokens};
    }
    out["seq"] = t.last_seq();
    return {};
  });
  EXPECT_TRUE(status) << status.error().message;
  return out;
}

class Chance {
 public:
  explicit Chance(uint32_t seed) : random_(seed) {}
  int up_to(int n) { return std::uniform_int_distribution<int>(0, n)(random_); }
  template <class T>
  const T& of(const std::vector<T>& list) {
    return list[static_cast<size_t>(up_to(static_cast<int>(list.size()) - 1))];
  }

 private:
  std::mt19937 random_;
};

// Legal or not: the store decides.
NewEvent random_event(Chance& chance) {
  const std::string name = chance.of(kNames);
  const auto of = [&](std::string kind, Json body, std::string actor = "supervisor") {
    return NewEvent{.actor = std::move(actor), .agent = name, .kind = std::move(kind), .body = std::move(body)};
  };
  const int number = 1 + chance.up_to(40);
  switch (chance.up_to(14)) {
    case 0:
      return trial::created(name);
    case 1:
      return of("agent.wanted", {{"wanted", chance.of<std::string>({"running", "stopped", "removed"})}}, "human");
    case 2:
    case 3:
    case 4: {
      Json body = {
          {"phase", chance.of<std::string>({"provisioning", "starting", "running", "stopping", "stopped", "error"})}};
      if (chance.up_to(2) == 0) body["generation"] = chance.up_to(4);
      if (chance.up_to(3) == 0) body["container"] = fmt::format("c{}", chance.up_to(9));
      if (chance.up_to(3) == 0) body["exit_code"] = chance.up_to(255);
      if (chance.up_to(2) == 0) body["detail"] = "because \"it\" is so";
      return of("agent.phase", std::move(body));
    }
    case 5:
      return of("agent.activity", {{"activity", chance.of<std::string>({"idle", "thinking", "limit", "offline"})}},
                name);
    case 6:
      return of("agent.done", {{"summary", "Did it"}, {"result", "done"}}, name);
    case 7:
      return of("agent.removed", Json::object());
    case 8:
      return of("work.collected", {{"commit", fmt::format("{:040}", number)}, {"wip", ""}, {"ahead", 2}});
    case 9:
    case 10: {
      const std::string to = chance.up_to(3) == 0 ? "human" : name;
      Json body = {{"id", std::to_string(chance.up_to(30))},
                   {"to", to},
                   {"kind", "message"},
                   {"text", "Grüße\n\x01"},
                   {"hops", chance.up_to(3)}};
      if (chance.up_to(3) == 0) body["reply_to"] = number;
      if (chance.up_to(3) == 0) body["data"] = {{"x", {1, 2.5, nullptr}}};
      return {.actor = chance.of(kNames), .agent = to, .kind = "message.queued", .body = std::move(body)};
    }
    case 11:
      return of("message.delivered", {{"numbers", {number, number + 1 + chance.up_to(2)}}});
    case 12:
      return chance.up_to(1) == 0 ? of("message.delivered", {{"numbers", {number}}})
                                  : of("message.consumed", {{"numbers", {number}}});
    case 13:
      return of("spend.reserved",
                {{"request", std::to_string(number)}, {"provider", "p"}, {"micro_usd", 1000}, {"tokens", 50}},
                "broker");
    default:
      return of("spend.settled",
                {{"request", std::to_string(number)},
                 {"micro_usd", chance.up_to(1000)},
                 {"tokens_in", chance.up_to(20)},
                 {"tokens_out", 1}},
                "broker");
  }
}

TEST(History, AnyMomentCanBeLookedAt) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    const TempFolder folder;
    auto store = Store::open(folder / "state.db");
    ASSERT_TRUE(store);
    Chance chance(seed);
    std::map<int64_t, Json> pictures;
    pictures[0] = picture_of(**store);
    int refused = 0;
    std::map<std::string, int> kinds;
    for (int i = 0; i < 900; ++i) {
      NewEvent event = random_event(chance);
      // Life goes on: without these most histories end in `error` soon.
      if (i % 60 == 0) event = trial::created(kNames[static_cast<size_t>(i / 60 % 3)]);
      const std::string kind = event.kind;
      const Status status = trial::add(**store, std::move(event));
      if (!status) {
        EXPECT_EQ(status.error().code, ErrorCode::kBadInput) << status.error().message;
        ++refused;
        continue;
      }
      ++kinds[kind];
      const Json picture = picture_of(**store);
      pictures[picture.at("seq").get<int64_t>()] = picture;
    }
    EXPECT_GT(refused, 100);
    EXPECT_GT(kinds.size(), 9u);
    const Status verified = (*store)->verify();
    EXPECT_TRUE(verified) << verified.error().message;
    for (const auto& [seq, picture] : pictures) {
      if (seq % 23 != 0 && seq != static_cast<int64_t>(pictures.size()) - 1) continue;
      auto past = (*store)->as_of(seq);
      ASSERT_TRUE(past) << past.error().message;
      EXPECT_EQ(picture_of(**past), picture) << seq;
      EXPECT_TRUE((*past)->verify());
      auto earlier = (*past)->as_of(seq / 2);
      ASSERT_TRUE(earlier);
      EXPECT_EQ(picture_of(**earlier), pictures.at(seq / 2));
    }
  }
}

}  // namespace
}  // namespace onsight::agents::state
