#include "agents/supervisor/phases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "agents/state/test_support.h"

namespace onsight::agents::supervisor {
namespace {

using runtime::ContainerInfo;
using state::Activity;
using state::AgentRow;
using state::Phase;
using state::Wanted;
using trial::TempFolder;

ContainerInfo container(int64_t generation, runtime::State state, std::string id = "") {
  if (id.empty()) id = fmt::format("id{}", generation);
  return {.id = id,
          .name = container_name("abc", "a", generation),
          .state = state,
          .labels = {{std::string(runtime::kAgentLabel), "a"},
                     {std::string(runtime::kGenerationLabel), std::to_string(generation)}}};
}

// What is done in each phase, by what is wanted and whether a start was asked for: without a clone, and with one; of
// each where there is no container, where there is this generation's (created, running, exited, unknown), and where
// there is another's. P provision, C create, S start, A attach, T stop, F finish, X remove containers, R remove, !
// fail, . nothing.
TEST(Phases, EverySituationHasItsStep) {
  const std::map<std::string, std::string> table = {
      {"created running asked", "PXXXXX PXXXXX"},
      {"created running", "PXXXXX PXXXXX"},
      {"created stopped asked", "FXXXXX FXXXXX"},
      {"created stopped", "FXXXXX FXXXXX"},
      {"created removed asked", "RXXXXX RXXXXX"},
      {"created removed", "RXXXXX RXXXXX"},
      {"provisioning running asked", "PXXXXX PXXXXX"},
      {"provisioning running", "PXXXXX PXXXXX"},
      {"provisioning stopped asked", "FXXXXX FXXXXX"},
      {"provisioning stopped", "FXXXXX FXXXXX"},
      {"provisioning removed asked", "FXXXXX FXXXXX"},
      {"provisioning removed", "FXXXXX FXXXXX"},
      // Before its generation is counted, a container that has it is of a former agent of this name.
      {"starting running asked", "!XXXXX CXXXXX"},
      {"starting running", "!!!!!X CSSF.X"},
      {"starting stopped asked", "FXXXXX FXXXXX"},
      {"starting stopped", "FFTFTX FFTFTX"},
      {"starting removed asked", "FXXXXX FXXXXX"},
      {"starting removed", "FFTFTX FFTFTX"},
      {"running running asked", "FFAF.X FFAF.X"},
      {"running running", "FFAF.X FFAF.X"},
      {"running stopped asked", "FFTFTX FFTFTX"},
      {"running stopped", "FFTFTX FFTFTX"},
      {"running removed asked", "FFTFTX FFTFTX"},
      {"running removed", "FFTFTX FFTFTX"},
      {"stopping running asked", "FFTFTX FFTFTX"},
      {"stopping running", "FFTFTX FFTFTX"},
      {"stopping stopped asked", "FFTFTX FFTFTX"},
      {"stopping stopped", "FFTFTX FFTFTX"},
      {"stopping removed asked", "FFTFTX FFTFTX"},
      {"stopping removed", "FFTFTX FFTFTX"},
      {"stopped running asked", "PXTXTX CXTXTX"},
      {"stopped running", ".XTXTX .XTXTX"},
      {"stopped stopped asked", ".XTXTX .XTXTX"},
      {"stopped stopped", ".XTXTX .XTXTX"},
      {"stopped removed asked", "RXTXTX RXTXTX"},
      {"stopped removed", "RXTXTX RXTXTX"},
      {"error running asked", "PXTXTX CXTXTX"},
      {"error running", ".XTXTX .XTXTX"},
      {"error stopped asked", ".XTXTX .XTXTX"},
      {"error stopped", ".XTXTX .XTXTX"},
      {"error removed asked", "RXTXTX RXTXTX"},
      {"error removed", "RXTXTX RXTXTX"},
  };
  constexpr std::string_view kLetters = ".PCSATFXR!";
  int situations = 0;
  for (int p = 0; p < 7; ++p) {
    for (int w = 0; w < 3; ++w) {
      for (const bool asked : {true, false}) {
        Seen seen;
        seen.agent.name = "a";
        seen.agent.phase = static_cast<Phase>(p);
        seen.agent.wanted = static_cast<Wanted>(w);
        seen.agent.start_asked = asked;
        seen.agent.generation = 3;
        std::string letters;
        for (const bool clone : {false, true}) {
          if (clone) letters += ' ';
          seen.has_clone = clone;
          using runtime::State;
          const std::vector<std::vector<ContainerInfo>> worlds = {{},
                                                                  {container(3, State::kCreated)},
                                                                  {container(3, State::kRunning)},
                                                                  {container(3, State::kExited)},
                                                                  {container(3, State::kUnknown)},
                                                                  {container(2, State::kRunning)}};
          for (const auto& world : worlds) {
            seen.containers = world;
            const Decision decision = next_step(seen);
            letters += kLetters[static_cast<size_t>(decision.step)];
            ++situations;
            // Each says all that it must.
            const Step s = decision.step;
            EXPECT_EQ(s == Step::kStart || s == Step::kAttach || s == Step::kStop,
                      !decision.container.empty() && s != Step::kFinish);
            EXPECT_EQ(s == Step::kRemoveContainers, !decision.containers.empty());
            EXPECT_EQ(s == Step::kFail, s != Step::kFinish && !decision.detail.empty());
          }
        }
        const std::string key = fmt::format("{} {}{}", state::name_of(static_cast<Phase>(p)),
                                            state::name_of(static_cast<Wanted>(w)), asked ? " asked" : "");
        ASSERT_TRUE(table.count(key)) << key;
        EXPECT_EQ(letters, table.at(key)) << key;
      }
    }
  }
  EXPECT_EQ(situations, 504);
}

TEST(Phases, DetailsOfDecisions) {
  using runtime::State;
  Seen seen;
  seen.agent = {.name = "a", .phase = Phase::kRunning, .generation = 3};
  seen.has_clone = true;
  seen.attached = true;
  seen.containers = {container(3, State::kRunning)};
  EXPECT_EQ(next_step(seen).step, Step::kNothing);
  seen.over_time = true;
  EXPECT_EQ(next_step(seen).step, Step::kStop);
  EXPECT_EQ(next_step(seen).detail, "its budget of time is spent");
  seen.containers[0].state = State::kExited;
  seen.containers[0].exit_code = 137;
  seen.containers[0].out_of_memory = true;
  EXPECT_EQ(next_step(seen).step, Step::kFinish);
  EXPECT_EQ(next_step(seen).exit_code, 137);
  EXPECT_EQ(next_step(seen).detail, "it ran out of memory");
  seen.containers.clear();
  EXPECT_EQ(next_step(seen).detail, "its container is gone");
  // Of two with one generation the one that is known stays.
  seen.agent.container = "second";
  seen.containers = {container(3, State::kRunning, "first"), container(3, State::kRunning, "second"),
                     container(2, State::kExited), ContainerInfo{.id = "nothing said"}};
  EXPECT_EQ(next_step(seen).step, Step::kRemoveContainers);
  EXPECT_EQ(next_step(seen).containers, (std::vector<std::string>{"first", "id2", "nothing said"}));
  EXPECT_EQ(orphans(seen.containers, {}), (std::vector<std::string>{"first", "second", "id2"}));
  EXPECT_TRUE(orphans(seen.containers, {seen.agent}).empty());
}

TEST(Activities, ByWhatIsSeen) {
  const auto of = [](Signs signs) { return activity_of(signs); };
  const Signs alive = {
      .phase = Phase::kRunning, .reported = Activity::kOffline, .heartbeat_age_ms = 9'000, .output_age_ms = 60'000};
  EXPECT_EQ(of(alive), Activity::kIdle);
  Signs s = alive;
  s.heartbeat_age_ms = 36'000;
  EXPECT_EQ(of(s), Activity::kOffline);
  s = alive;
  s.output_age_ms = 1'000;
  EXPECT_EQ(of(s), Activity::kThinking);
  s = alive;
  s.screen_thinks = true;
  EXPECT_EQ(of(s), Activity::kThinking);
  s.output_age_ms = 11 * 60'000;
  EXPECT_EQ(of(s), Activity::kStalled);
  s.screen_waits = true;
  EXPECT_EQ(of(s), Activity::kWaiting);
  for (const Activity said : {Activity::kIdle, Activity::kWaiting, Activity::kCompleted}) {
    s = alive;
    s.reported = said;
    EXPECT_EQ(of(s), said);
    s.screen_thinks = true;
    EXPECT_EQ(of(s), said);  // an old screen
    s.output_age_ms = 100;
    EXPECT_EQ(of(s), Activity::kThinking);
  }
  for (const Activity said : {Activity::kBlocked, Activity::kLimit}) {
    s = alive;
    s.reported = said;
    s.screen_thinks = true;
    s.output_age_ms = 100;
    EXPECT_EQ(of(s), said);
    s.heartbeat_age_ms = 60'000;
    EXPECT_EQ(of(s), Activity::kOffline);
  }
  s = alive;
  s.reported = Activity::kThinking;
  EXPECT_EQ(of(s), Activity::kThinking);
  s.output_age_ms = 11 * 60'000;
  EXPECT_EQ(of(s), Activity::kStalled);
  for (const Phase phase : {Phase::kCreated, Phase::kProvisioning, Phase::kStopped, Phase::kError}) {
    s = alive;
    s.phase = phase;
    s.output_age_ms = 0;
    EXPECT_EQ(of(s), Activity::kOffline);
    s.reported = Activity::kCompleted;
    EXPECT_EQ(of(s), Activity::kCompleted);
  }
}

// A world of one agent: an engine and a folder of clones that do as they are told, late sometimes; users who change
// their minds; supervisors that are killed between any two of their actions. Events go into a real store, with its
// rules.
class World {
 public:
  explicit World(uint32_t seed) : random_(seed), store_(*state::Store::open(folder_ / "state.db")) {}

  struct Killed {};

  bool chance(int one_of) { return std::uniform_int_distribution<int>(1, one_of)(random_) == 1; }

  std::optional<AgentRow> row() {
    std::optional<AgentRow> out;
    const Status status = store_->read([&](state::Transaction& t) -> Status {
      TRY(out, t.agent("a"));
      return {};
    });
    EXPECT_TRUE(status);
    return out;
  }

  void happen() {
    const auto agent = row();
    if (!agent && chance(2)) {
      EXPECT_TRUE(trial::add(*store_, trial::created("a")));
    } else if (agent && agent->wanted != Wanted::kRemoved && chance(2)) {
      const char* wants[] = {"running", "stopped", chance(4) ? "removed" : "running"};
      EXPECT_TRUE(trial::add(*store_, trial::wanted("a", wants[std::uniform_int_distribution<int>(0, 2)(random_)])));
    }
    if (!late_.empty() && chance(2)) arrive();
    for (auto& [name, c] : containers_) {
      if (c.state == runtime::State::kRunning && chance(6)) {  // it ends, or the machine starts anew
        c.state = chance(3) ? runtime::State::kCreated : runtime::State::kExited;
        c.exit_code = chance(2) ? std::optional<int>(1) : std::nullopt;
      }
    }
    if (!containers_.empty() && chance(25)) containers_.erase(containers_.begin());  // by somebody's hand
    if (clone_ && chance(60)) clone_ = false;
  }

  // True: there was something to do.
  bool supervise() {
    try {
      const auto agent = row();
      std::vector<ContainerInfo> listed;
      for (const auto& [name, c] : containers_) listed.push_back(c);
      if (!agent) {
        for (const std::string& id : orphans(listed, {})) remove_container(id);
        return !listed.empty();
      }
      const Seen seen = {.agent = *agent,
                         .has_clone = clone_,
                         .containers = listed,
                         .attached = attached_ == agent->container && !attached_.empty()};
      const Decision decision = next_step(seen);
      take(*agent, decision);
      return decision.step != Step::kNothing;
    } catch (const Killed&) {
      attached_.clear();
      return true;
    }
  }

  void arrive() {
    for (const std::string& name : late_) put(name);
    late_.clear();
  }

  // What must be so at every moment.
  void check() {
    int running = 0;
    for (const auto& [name, c] : containers_) running += c.state == runtime::State::kRunning;
    EXPECT_LE(running, 1);
    EXPECT_LE(made_since_check_, 1);
    made_since_check_ = 0;
  }

  void check_settled() {
    const auto agent = row();
    EXPECT_TRUE(store_->verify());
    if (!agent) {
      EXPECT_TRUE(containers_.empty());
      EXPECT_FALSE(clone_);
      return;
    }
    EXPECT_NE(agent->wanted, Wanted::kRemoved);
    if (agent->phase == Phase::kRunning) {
      ASSERT_EQ(containers_.size(), 1u);
      EXPECT_EQ(containers_.begin()->second.id, agent->container);
      EXPECT_EQ(containers_.begin()->second.state, runtime::State::kRunning);
      EXPECT_EQ(attached_, agent->container);
      EXPECT_EQ(agent->wanted, Wanted::kRunning);
    } else {
      EXPECT_TRUE(agent->phase == Phase::kStopped || agent->phase == Phase::kError) << state::name_of(agent->phase);
      EXPECT_TRUE(containers_.empty());
      EXPECT_FALSE(agent->start_asked && agent->wanted == Wanted::kRunning);
    }
  }

  bool faults = true;
  int kills = 0;

 private:
  void may_die() {
    if (!faults || !chance(5)) return;
    ++kills;
    throw Killed();
  }

  void commit(state::NewEvent event) {
    may_die();
    const Status status = trial::add(*store_, std::move(event));
    EXPECT_TRUE(status) << status.error().message;
    may_die();
  }

  void put(const std::string& name) {
    if (containers_.count(name)) return;  // the engine refuses a name that is taken
    const int64_t generation = std::stoll(name.substr(name.rfind('-') + 1));
    ContainerInfo c = container(generation, runtime::State::kCreated, fmt::format("{}#{}", name, ++ids_));
    c.name = name;
    containers_[name] = c;
  }

  ContainerInfo* find(const std::string& id) {
    for (auto& [name, c] : containers_)
      if (c.id == id) return &c;
    return nullptr;
  }

  void remove_container(const std::string& id) {
    may_die();
    for (auto it = containers_.begin(); it != containers_.end(); ++it) {
      if (it->second.id != id) continue;
      containers_.erase(it);
      return;
    }
  }

  void fail(const std::string& why) { commit(trial::phase("a", "error", {{"detail", why}})); }

  void start(const AgentRow& agent, const std::string& id) {
    may_die();
    ContainerInfo* c = find(id);
    if (c == nullptr || (faults && chance(12))) {
      if (c != nullptr) remove_container(id);
      return fail("it could not be started");
    }
    c->state = runtime::State::kRunning;
    ++made_since_check_;
    (void)agent;
    commit(trial::phase("a", "running", {{"container", id}}));
    attached_ = id;
  }

  void create(const AgentRow& agent) {
    const int64_t generation = agent.generation + 1;
    commit(trial::phase("a", "starting", {{"generation", generation}}));
    const std::string name = container_name("abc", "a", generation);
    if (faults && chance(8)) {  // asked for, then killed: the engine makes it later
      late_.push_back(name);
      ++kills;
      throw Killed();
    }
    if (containers_.count(name)) return fail("the name is taken");
    put(name);
    const std::string id = containers_[name].id;
    may_die();
    start(agent, id);
  }

  void finish(const Decision& decision) {
    may_die();
    if (clone_ && chance(2))
      commit({.actor = "supervisor", .agent = "a", .kind = "work.collected", .body = {{"commit", "c"}, {"wip", ""}}});
    Json body = {{"phase", "stopped"}, {"detail", decision.detail}};
    if (decision.exit_code) body["exit_code"] = *decision.exit_code;
    may_die();
    const Status status = store_->write([&](state::Transaction& t) -> Status {
      TRY_STATUS(t.add({.actor = "supervisor", .agent = "a", .kind = "agent.phase", .body = body}));
      TRY(const auto now, t.agent("a"));
      if (now->wanted != Wanted::kRunning || now->start_asked) return {};
      return t.add(trial::wanted("a", "stopped"));
    });
    EXPECT_TRUE(status) << status.error().message;
    attached_.clear();
    may_die();
  }

  void take(const AgentRow& agent, const Decision& decision) {
    switch (decision.step) {
      case Step::kNothing:
        return;
      case Step::kProvision:
        commit(trial::phase("a", "provisioning"));
        if (faults && chance(10)) return fail("the clone cannot be made");
        clone_ = true;
        return commit(trial::phase("a", "starting"));
      case Step::kCreate:
        return create(agent);
      case Step::kStart:
        return start(agent, decision.container);
      case Step::kAttach:
        attached_ = decision.container;
        return;
      case Step::kStop:
        commit(trial::phase("a", "stopping"));
        if (ContainerInfo* c = find(decision.container)) {
          c->state = runtime::State::kExited;
          c->exit_code = 143;
        }
        return may_die();
      case Step::kFinish:
        return finish(decision);
      case Step::kRemoveContainers:
        for (const std::string& id : decision.containers) remove_container(id);
        return;
      case Step::kRemove:
        may_die();
        clone_ = false;
        return commit({.actor = "supervisor", .agent = "a", .kind = "agent.removed"});
      case Step::kFail:
        return fail(decision.detail);
    }
  }

  TempFolder folder_;
  std::mt19937 random_;
  std::unique_ptr<state::Store> store_;
  std::map<std::string, ContainerInfo> containers_;  // by name
  std::vector<std::string> late_;
  bool clone_ = false;
  std::string attached_;
  int ids_ = 0, made_since_check_ = 0;
};

TEST(Phases, WhateverHappensItSettles) {
  int kills = 0;
  for (uint32_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    for (int round = 0; round < 60; ++round) {
      world.happen();
      for (int i = 0; i < 3; ++i) {
        world.supervise();
        world.check();
      }
    }
    world.arrive();
    world.faults = false;
    int steps = 0;
    while (world.supervise()) {
      world.check();
      ASSERT_LT(++steps, 30);
    }
    world.check_settled();
    kills += world.kills;
    if (HasFailure()) return;
  }
  EXPECT_GT(kills, 500);
}

}  // namespace
}  // namespace onsight::agents::supervisor
