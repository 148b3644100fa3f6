#include "agents/state/kinds.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace onsight::agents::state {
namespace {

std::string said(const NewEvent& event) {
  const Status status = check_event(event);
  return status ? "" : status.error().message;
}

NewEvent wants(Json body) { return {.actor = "human", .agent = "a", .kind = "agent.wanted", .body = std::move(body)}; }

TEST(Kinds, SayWhatTheyNeed) {
  EXPECT_EQ(said(wants({{"wanted", "stopped"}})), "");
  EXPECT_EQ(said(wants({{"wanted", "running"}, {"resume", true}})), "");
  EXPECT_EQ(said(wants(Json::object())), "agent.wanted: wanted: missing");
  EXPECT_EQ(said(wants({{"wanted", "gone"}})), "agent.wanted: wanted: expected one of running|stopped|removed");
  EXPECT_EQ(said(wants({{"wanted", "run"}})), "agent.wanted: wanted: expected one of running|stopped|removed");
  EXPECT_EQ(said(wants({{"wanted", "stopped"}, {"resume", 1}})), "agent.wanted: resume: expected true or false");
  EXPECT_EQ(said(wants({{"wanted", "stopped"}, {"why", "x"}})), "agent.wanted: why: there is no such field");
  EXPECT_EQ(said(wants(Json::array())), "agent.wanted: body: expected an object");
  EXPECT_EQ(said({.actor = "human", .agent = "a", .kind = "agent.unknown"}),
            "event 'agent.unknown': there is no such kind");
  EXPECT_EQ(said({.actor = "human", .kind = "task"}), "event 'task': there is no such kind");
  EXPECT_EQ(said({.actor = "human", .kind = "task."}), "event 'task.': there is no such kind");
  EXPECT_EQ(said({.actor = "human", .kind = "task.begun", .body = {{"anything", 1}}}), "");
  EXPECT_EQ(said({.actor = "broker",
                  .kind = "egress.refused",
                  .body = {{"host", "h"}, {"reason", "budget"}, {"detail", "kept"}}}),
            "");
}

TEST(Kinds, SayWhoMayStandInThem) {
  const Json body = {{"wanted", "stopped"}};
  EXPECT_EQ(said({.actor = "human", .agent = "", .kind = "agent.wanted", .body = body}),
            "agent.wanted: agent: expected the name of one, found ''");
  EXPECT_EQ(said({.actor = "", .agent = "a", .kind = "agent.wanted", .body = body}),
            "agent.wanted: actor: expected who did it, found ''");
  for (const char* name : {"A", "a/b", "../a", "1a", "a b", "a\n", "a\x1b", "abcdefghijklmnopqrstuvwxyz12345"})
    EXPECT_NE(said({.actor = "human", .agent = name, .kind = "agent.wanted", .body = body}), "") << name;
  for (const char* name : {"human", "supervisor", "broker"})
    EXPECT_EQ(said({.actor = "human", .agent = name, .kind = "agent.wanted", .body = body}),
              fmt::format("agent.wanted: agent: '{}' is no agent", name));
  const Json queued = {{"id", "1"}, {"to", "human"}, {"kind", "message"}, {"text", "x"}, {"hops", 0}};
  EXPECT_EQ(said({.actor = "a", .agent = "human", .kind = "message.queued", .body = queued}), "");
  EXPECT_EQ(said({.actor = "a", .agent = "broker", .kind = "message.queued", .body = queued}),
            "message.queued: agent: 'broker' is no agent");
}

TEST(Kinds, NumbersHaveBounds) {
  const auto spends = [](const Json& amount) {
    return said({.actor = "broker",
                 .agent = "a",
                 .kind = "spend.reserved",
                 .body = {{"request", "r"}, {"provider", "p"}, {"micro_usd", amount}, {"tokens", 0}}});
  };
  EXPECT_EQ(spends(0), "");
  EXPECT_EQ(spends(kMaxCount), "");
  for (const Json& bad : {Json(-1), Json(kMaxCount + 1), Json(UINT64_MAX), Json(1.5), Json("1"), Json()})
    EXPECT_EQ(spends(bad), "spend.reserved: micro_usd: expected an integer, not negative") << bad;
  const auto delivers = [](const Json& numbers) {
    return said({.actor = "a", .agent = "a", .kind = "message.delivered", .body = {{"numbers", numbers}}});
  };
  EXPECT_EQ(delivers({1, 2, 9}), "");
  for (const Json& bad : {Json::array(), Json{2, 1}, Json{1, 1}, Json{0}, Json{-1}, Json{"1"}, Json(1)})
    EXPECT_EQ(delivers(bad), "message.delivered: numbers: expected a list of numbers, ascending") << bad;
}

TEST(Kinds, PhasesFollowEachOther) {
  // A row: after this phase may come those marked; the order of columns is that of rows.
  const std::map<std::string, std::string> table = {
      {"created", "xx...xx"},  {"provisioning", ".xx..xx"}, {"starting", "..xxxxx"}, {"running", "...xxxx"},
      {"stopping", "....xxx"}, {"stopped", ".xx.xxx"},      {"error", ".xx.xxx"},
  };
  for (int from = 0; from < 7; ++from) {
    const std::string& row = table.at(std::string(name_of(static_cast<Phase>(from))));
    for (int to = 0; to < 7; ++to) {
      EXPECT_EQ(may_follow(static_cast<Phase>(from), static_cast<Phase>(to)), row[to] == 'x')
          << name_of(static_cast<Phase>(from)) << " to " << name_of(static_cast<Phase>(to));
    }
  }
}

TEST(Kinds, NamesGoBothWays) {
  for (int i = 0; i < 7; ++i) EXPECT_EQ(phase_of(name_of(static_cast<Phase>(i))), static_cast<Phase>(i));
  for (int i = 0; i < 8; ++i) EXPECT_EQ(activity_of(name_of(static_cast<Activity>(i))), static_cast<Activity>(i));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(wanted_of(name_of(static_cast<Wanted>(i))), static_cast<Wanted>(i));
  EXPECT_FALSE(phase_of("Running"));
  for (const Kind& kind : kinds())
    EXPECT_EQ(find_kind(kind.name.ends_with("*") ? std::string(kind.name.substr(0, kind.name.size() - 1)) + "x"
                                                 : std::string(kind.name)),
              &kind);
}

}  // namespace
}  // namespace onsight::agents::state
