// The supervisor against an engine that is a table in memory: everything but containers is real.
#include "agents/supervisor/supervisor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <thread>

#include "agents/supervisor/launch.h"
#include "agents/supervisor/terminals.h"
#include "base/subprocess.h"
#include "net/unix_client.h"

namespace onsight::agents::supervisor {
namespace {

using namespace std::chrono_literals;
using state::Phase;

// What outlives a supervisor: the containers.
struct FakeEngine {
  struct Container {
    runtime::ContainerSpec spec;
    runtime::State state = runtime::State::kCreated;
    std::optional<int> exit_code;
    std::string printed, typed;
    int rows = 0, columns = 0;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, Container> containers;
  int made = 0, created_twice = 0;
  std::string refuse_start;
  std::chrono::milliseconds list_time{0};  // for which it thinks about what there is

  void print(const std::string& id, std::string_view text) {
    const std::lock_guard lock(mutex);
    containers[id].printed += text;
    changed.notify_all();
  }
  void end(const std::string& id, int code) {
    const std::lock_guard lock(mutex);
    containers[id].state = runtime::State::kExited;
    containers[id].exit_code = code;
    changed.notify_all();
  }
  std::vector<std::string> ids() {
    const std::lock_guard lock(mutex);
    std::vector<std::string> out;
    for (const auto& [id, one] : containers) out.push_back(id);
    return out;
  }
};

class FakeAttachment : public runtime::Attachment {
 public:
  FakeAttachment(FakeEngine& engine, std::string id) : engine_(engine), id_(std::move(id)) {}
  Result<std::optional<std::string>> read(std::chrono::milliseconds wait) override {
    std::unique_lock lock(engine_.mutex);
    const auto news = [&] {
      const auto found = engine_.containers.find(id_);
      return found == engine_.containers.end() || found->second.printed.size() > at_ ||
             found->second.state == runtime::State::kExited;
    };
    if (!engine_.changed.wait_for(lock, wait, news)) return std::nullopt;
    const auto found = engine_.containers.find(id_);
    if (found == engine_.containers.end()) return std::string();
    std::string out = found->second.printed.substr(at_);
    at_ += out.size();
    return out;
  }
  Status write(std::string_view bytes) override {
    const std::lock_guard lock(engine_.mutex);
    engine_.containers[id_].typed += bytes;
    engine_.changed.notify_all();
    return {};
  }

 private:
  FakeEngine& engine_;
  std::string id_;
  size_t at_ = 0;
};

class FakeRuntime : public runtime::Runtime {
 public:
  explicit FakeRuntime(FakeEngine& engine) : engine_(engine) {}
  std::string_view engine() const override { return "fake"; }
  std::string_view version() const override { return "1"; }
  const Path& socket() const override { return socket_; }
  Result<std::string> create(const runtime::ContainerSpec& spec) override {
    const std::lock_guard lock(engine_.mutex);
    for (const auto& [id, one] : engine_.containers)
      if (one.spec.name == spec.name) return bad_input("{}: the name is taken", spec.name);
    const std::string id = fmt::format("c{}", ++engine_.made);
    engine_.containers[id].spec = spec;
    return id;
  }
  Status start(const std::string& id) override {
    const std::lock_guard lock(engine_.mutex);
    if (!engine_.refuse_start.empty()) {
      engine_.containers.erase(id);
      return bad_input("{}", engine_.refuse_start);
    }
    engine_.containers[id].state = runtime::State::kRunning;
    return {};
  }
  Result<std::unique_ptr<runtime::Attachment>> attach(const std::string& id, bool) override {
    return std::make_unique<FakeAttachment>(engine_, id);
  }
  Status resize(const std::string& id, int rows, int columns) override {
    const std::lock_guard lock(engine_.mutex);
    engine_.containers[id].rows = rows;
    engine_.containers[id].columns = columns;
    return {};
  }
  Result<std::optional<runtime::ContainerInfo>> inspect(const std::string& id) override {
    const std::lock_guard lock(engine_.mutex);
    const auto found = engine_.containers.find(id);
    if (found == engine_.containers.end()) return std::nullopt;
    return info(found->first, found->second);
  }
  Result<std::vector<runtime::ContainerInfo>> list(const runtime::Labels& labels) override {
    std::this_thread::sleep_for(engine_.list_time);
    const std::lock_guard lock(engine_.mutex);
    std::vector<runtime::ContainerInfo> out;
    for (const auto& [id, one] : engine_.containers) {
      bool all = true;
      for (const auto& [key, value] : labels) {
        const auto found = one.spec.labels.find(key);
        all = all && found != one.spec.labels.end() && found->second == value;
      }
      if (all) out.push_back(info(id, one));
    }
    return out;
  }
  Status stop(const std::string& id, std::chrono::seconds) override {
    engine_.end(id, 143);
    return {};
  }
  Status remove(const std::string& id) override {
    const std::lock_guard lock(engine_.mutex);
    engine_.containers.erase(id);
    engine_.changed.notify_all();
    return {};
  }
  Result<int> wait(const std::string&, std::chrono::milliseconds) override { return bad_input("unused"); }
  Result<runtime::ExecResult> exec(const std::string&, const std::vector<std::string>&, std::chrono::milliseconds,
                                   uint64_t) override {
    return bad_input("unused");
  }
  Result<std::pair<std::string, std::unique_ptr<runtime::Attachment>>> exec_terminal(const std::string&,
                                                                                     const std::vector<std::string>&,
                                                                                     int, int) override {
    return bad_input("unused");
  }
  Result<int> exec_exit_code(const std::string&) override { return bad_input("unused"); }
  Status resize_exec(const std::string&, int, int) override { return bad_input("unused"); }
  // What onsight-agent collect does, without what makes it safe.
  Result<runtime::ExecResult> run(const runtime::ContainerSpec& spec,
                                  const std::function<Status(std::string_view)>& out,
                                  std::chrono::milliseconds limit) override {
    const std::string repo = (spec.mounts.at(0).from / "repo").string();
    TRY_STATUS(
        output_of({"git", "-c", "safe.directory=*", "-C", repo, "update-ref", "refs/heads/work", "HEAD"}, 1000, limit));
    TRY(const std::string bundle,
        output_of({"git", "-c", "safe.directory=*", "-C", repo, "bundle", "create", "-q", "-", "refs/heads/work"},
                  1 << 24, limit));
    TRY_STATUS(out(bundle));
    return runtime::ExecResult{};
  }
  Result<std::optional<std::string>> image_id(const std::string&) override { return "id"; }
  Result<runtime::Labels> image_labels(const std::string&) override { return runtime::Labels{}; }
  Status import_image(const Path&, const std::string&, const runtime::Labels&, const std::vector<std::string>&,
                      const std::function<void(uint64_t)>&) override {
    return bad_input("unused");
  }
  Status remove_image(const std::string&) override { return bad_input("unused"); }
  Result<std::vector<runtime::Check>> check(const std::string&) override { return std::vector<runtime::Check>{}; }

 private:
  static runtime::ContainerInfo info(const std::string& id, const FakeEngine::Container& one) {
    return {.id = id, .name = one.spec.name, .state = one.state, .exit_code = one.exit_code, .labels = one.spec.labels};
  }
  FakeEngine& engine_;
  Path socket_ = "/nowhere";
};

void must(const std::vector<std::string>& command) {
  const auto done = output_of(command, 1 << 20, 20s);
  ASSERT_TRUE(done) << fmt::format("{}", fmt::join(command, " ")) << ": " << done.error().message;
}

class AgentsSupervisor : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (std::filesystem::temp_directory_path() / "onsight-supervisor-XXXXXX").string();
    ASSERT_TRUE(::mkdtemp(folder.data()));
    folder_ = folder;
    ::setenv("ONSIGHT_AGENTS_STATE", (folder_ / "state").c_str(), 1);
    ::setenv("ONSIGHT_AGENTS_RUN", (folder_ / "run").c_str(), 1);
    std::filesystem::create_directories(folder_ / "run");
    std::filesystem::permissions(folder_ / "run", std::filesystem::perms(0700));
    const std::string repo = (folder_ / "shop").string();
    must({"git", "init", "-q", "-b", "main", repo});
    ASSERT_TRUE(write_file_atomically(folder_ / "shop/a.txt", "one\n"));
    must({"git", "-C", repo, "add", "."});
    must({"git", "-C", repo, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "first"});
    auto project = Project::find(repo);
    ASSERT_TRUE(project) << project.error().message;
    project_ = *project;
    std::filesystem::create_directories(project_.config().parent_path());
    ASSERT_TRUE(write_file_atomically(project_.config(), "[roles.shell]\nharness = \"generic\"\ncommand = [\"sh\"]\n"));
    auto store = state::Store::open(project_.database());
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
  }
  void TearDown() override {
    halt();
    store_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  void launch() {
    options_.connect = [this]() -> Result<std::unique_ptr<runtime::Runtime>> {
      return std::make_unique<FakeRuntime>(engine_);
    };
    options_.grace = 1s;
    options_.idle = idle_;
    supervising_ = std::thread([this] { ended_ = run(project_, options_); });
  }
  void halt() {
    if (!supervising_.joinable()) return;
    (void)net::UnixClient(project_.control()).request({.method = "POST", .target = "/stop"}, net::seconds_from_now(2));
    supervising_.join();
    EXPECT_TRUE(ended_) << ended_.error().message;
  }

  void add(const std::string& name, const std::string& kind, Json body) {
    const Status written = store_->write([&](state::Transaction& t) -> Status {
      return t.add({.actor = "human", .agent = name, .kind = kind, .body = std::move(body)});
    });
    ASSERT_TRUE(written) << written.error().message;
    (void)answers(project_, Duty::kSupervisor);
  }
  void create(const std::string& name, const std::string& harness = "generic") {
    auto commit = output_of({"git", "-C", project_.root.string(), "rev-parse", "HEAD"}, 100, 5s);
    commit->pop_back();
    add(name, "agent.created",
        {{"role", "shell"},
         {"harness", harness},
         {"model", ""},
         {"task", "Look"},
         {"branch", "agents/" + name},
         {"base", *commit},
         {"image", "i"},
         {"placeholder", "p"},
         {"uid", ::geteuid() == 0 ? 12345 : static_cast<int>(::geteuid())}});
  }
  std::optional<state::AgentRow> row(const std::string& name) {
    std::optional<state::AgentRow> found;
    EXPECT_TRUE(store_->read([&](state::Transaction& t) -> Status {
      TRY(found, t.agent(name));
      return {};
    }));
    return found;
  }
  ::testing::AssertionResult comes(const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!what()) {
      if (std::chrono::steady_clock::now() > until) return ::testing::AssertionFailure() << "it did not come";
      std::this_thread::sleep_for(5ms);
    }
    return ::testing::AssertionSuccess();
  }
  ::testing::AssertionResult becomes(const std::string& name, Phase phase) {
    const auto result = comes([&] { return row(name) && row(name)->phase == phase; });
    if (!result && row(name))
      return ::testing::AssertionFailure() << state::name_of(row(name)->phase) << ": " << row(name)->detail;
    return result;
  }

  Path folder_;
  Project project_;
  std::unique_ptr<state::Store> store_;
  FakeEngine engine_;
  SupervisorOptions options_;
  std::chrono::milliseconds idle_{60'000};
  std::thread supervising_;
  Status ended_;
};

TEST_F(AgentsSupervisor, StartsShowsStopsAndGoesOn) {
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  const auto ids = engine_.ids();
  ASSERT_EQ(ids.size(), 1U);
  const runtime::ContainerSpec spec = engine_.containers[ids[0]].spec;
  EXPECT_EQ(spec.mounts.size(), 2U);
  EXPECT_EQ(spec.mounts[0].from, project_.clone("box"));
  EXPECT_FALSE(spec.mounts[0].read_only);
  EXPECT_TRUE(spec.mounts[1].read_only);
  EXPECT_EQ(spec.command.at(0), "/usr/local/bin/onsight-agent");
  EXPECT_EQ(spec.command.back(), "sh");
  EXPECT_NE(spec.uid, 0);
  EXPECT_TRUE(std::filesystem::exists(project_.clone("box") / "repo/a.txt"));

  engine_.print(ids[0], "hello \x1b[1mthere\x1b[0m\r\n");
  const net::UnixClient client(project_.control());
  ASSERT_TRUE(comes([&] {
    const auto screen = client.request({.target = "/agents/box/screen"}, net::seconds_from_now(2));
    return screen && screen->body == "hello there";
  }));

  add("box", "agent.wanted", {{"wanted", "stopped"}});
  ASSERT_TRUE(becomes("box", Phase::kStopped));
  EXPECT_EQ(row("box")->exit_code, 143);
  EXPECT_FALSE(row("box")->collected.empty());
  ASSERT_TRUE(comes([&] { return engine_.ids().empty(); }));
  EXPECT_EQ(last_screen(project_, *row("box")).value(), "hello there");

  add("box", "agent.wanted", {{"wanted", "running"}, {"resume", true}});
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  EXPECT_EQ(row("box")->generation, 2);
}

// A harness's files are in the home before the first start, and its own afterwards.
TEST_F(AgentsSupervisor, AHarnessHasItsFiles) {
  launch();
  create("box", "claude");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  const Path settings = project_.clone("box") / "home/.claude/settings.json";
  EXPECT_NE(read_file(settings, 1 << 20).value_or("").find("hooks"), std::string::npos);
  add("box", "agent.wanted", {{"wanted", "stopped"}});
  ASSERT_TRUE(becomes("box", Phase::kStopped));
  std::filesystem::remove_all(settings.parent_path());
  add("box", "agent.wanted", {{"wanted", "running"}, {"resume", true}});
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  EXPECT_FALSE(std::filesystem::exists(settings));
}

// Steps end while the engine is asked what there is: none is taken twice.
TEST_F(AgentsSupervisor, AnEngineThatAnswersLate) {
  engine_.list_time = 100ms;
  launch();
  for (const char* name : {"one", "two", "three"}) create(name);
  for (const char* name : {"one", "two", "three"}) ASSERT_TRUE(becomes(name, Phase::kRunning));
  std::this_thread::sleep_for(2 * engine_.list_time);
  for (const char* name : {"one", "two", "three"}) EXPECT_EQ(row(name)->phase, Phase::kRunning) << row(name)->detail;
}

TEST_F(AgentsSupervisor, WhatEndsByItselfIsFetchedAndNotStartedAgain) {
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  ASSERT_TRUE(write_file_atomically(project_.clone("box") / "repo/b.txt", "two\n"));
  const std::string repo = (project_.clone("box") / "repo").string();
  must({"git", "-c", "safe.directory=*", "-C", repo, "add", "b.txt"});
  must({"git", "-c", "safe.directory=*", "-C", repo, "-c", "user.name=a", "-c", "user.email=a@a", "commit", "-q", "-m",
        "b"});
  engine_.end(engine_.ids().at(0), 3);
  ASSERT_TRUE(becomes("box", Phase::kStopped));
  EXPECT_EQ(row("box")->exit_code, 3);
  EXPECT_NE(row("box")->collected, row("box")->base_commit);
  ASSERT_TRUE(comes([&] { return engine_.ids().empty(); }));
  std::this_thread::sleep_for(1500ms);
  EXPECT_EQ(engine_.made, 1);
}

TEST_F(AgentsSupervisor, ASupervisorThatComesLaterTakesHoldOfWhatRuns) {
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  engine_.print(engine_.ids().at(0), "before\r\n");
  halt();
  engine_.print(engine_.ids().at(0), "between\r\n");
  launch();
  const net::UnixClient client(project_.control());
  ASSERT_TRUE(comes([&] {
    const auto screen = client.request({.target = "/agents/box/screen"}, net::seconds_from_now(2));
    return screen && screen->body == "before\nbetween";
  }));
  EXPECT_EQ(engine_.made, 1);
  EXPECT_EQ(row("box")->generation, 1);
}

TEST_F(AgentsSupervisor, RemovesAllThatWasMade) {
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  add("box", "agent.wanted", {{"wanted", "removed"}});
  ASSERT_TRUE(comes([&] { return !row("box"); }));
  EXPECT_TRUE(engine_.ids().empty());
  EXPECT_FALSE(std::filesystem::exists(project_.clone("box")));
  EXPECT_FALSE(std::filesystem::exists(project_.sockets("box")));
  EXPECT_TRUE(store_->verify());
}

TEST_F(AgentsSupervisor, ARefusalOfTheEngineIsTheAgentsError) {
  engine_.refuse_start = "the engine: no such thing";
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kError));
  EXPECT_NE(row("box")->detail.find("no such thing"), std::string::npos);
  engine_.refuse_start.clear();
  add("box", "agent.wanted", {{"wanted", "running"}, {"resume", true}});
  ASSERT_TRUE(becomes("box", Phase::kRunning));
}

TEST_F(AgentsSupervisor, OrphansOfAnAgentThatIsNoMoreGo) {
  engine_.containers["old"].spec.labels = {
      {"onsight.project", project_.id}, {"onsight.agent", "gone"}, {"onsight.generation", "4"}};
  engine_.containers["other"].spec.labels = {{"onsight.project", "another"}, {"onsight.agent", "gone"}};
  launch();
  ASSERT_TRUE(comes([&] { return engine_.ids() == std::vector<std::string>{"other"}; }));
}

TEST_F(AgentsSupervisor, TwoAtOnceAreRefused) {
  launch();
  ASSERT_TRUE(comes([&] { return answers(project_, Duty::kSupervisor); }));
  const Status second = run(project_, options_);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another supervisor of this project is running"), std::string::npos);
}

TEST_F(AgentsSupervisor, EndsWhenNothingIsLeftToDo) {
  idle_ = 300ms;
  launch();
  supervising_.join();
  EXPECT_TRUE(ended_);
}

TEST_F(AgentsSupervisor, EndsWhenItsStateHasBeenRemoved) {
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  std::filesystem::remove(project_.database());
  supervising_.join();
  EXPECT_TRUE(ended_);
}

TEST_F(AgentsSupervisor, WhoIsAttachedTypesAndSees) {
  launch();
  create("box");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  const std::string id = engine_.ids().at(0);
  const net::UnixClient client(project_.control());
  auto hijacked =
      client.hijack({.method = "POST", .target = "/agents/box/attach?rows=30&columns=100"}, net::seconds_from_now(5));
  ASSERT_TRUE(hijacked) << hijacked.error().message;
  ASSERT_TRUE(hijacked->stream) << hijacked->head.body;
  ASSERT_TRUE(hijacked->stream->write("ls\r"));
  ASSERT_TRUE(comes([&] {
    const std::lock_guard lock(engine_.mutex);
    return engine_.containers[id].typed == "ls\r" && engine_.containers[id].rows == 30;
  }));
  engine_.print(id, "a.txt\r\n");
  std::string shown;
  ASSERT_TRUE(comes([&] {
    const auto bytes = hijacked->stream->read(100ms);
    if (bytes && *bytes) shown += **bytes;
    return shown.find("a.txt") != std::string::npos;
  }));
  EXPECT_FALSE(
      client.hijack({.method = "POST", .target = "/agents/nobody/attach?rows=3&columns=3"}, net::seconds_from_now(5))
          ->stream);
}

// Pasted as one, whatever lines it holds; Enter comes by itself, or it would be a part of it.
TEST_F(AgentsSupervisor, MessagesAreTyped) {
  launch();
  create("box", "claude");
  ASSERT_TRUE(becomes("box", Phase::kRunning));
  ASSERT_TRUE(store_->write([&](state::Transaction& t) -> Status {
    TRY_STATUS(t.add({.actor = "box", .agent = "box", .kind = "agent.activity", .body = {{"activity", "idle"}}}));
    for (const char* text : {"one\r\ntwo", "three"})
      TRY_STATUS(t.add(
          {.actor = "human",
           .agent = "box",
           .kind = "message.queued",
           .body = {
               {"id", text[0] == 'o' ? "a" : "b"}, {"to", "box"}, {"kind", "message"}, {"text", text}, {"hops", 0}}}));
    return {};
  }));
  const std::string id = engine_.ids().at(0);
  const auto typed = [&] {
    const std::lock_guard lock(engine_.mutex);
    return engine_.containers[id].typed;
  };
  ASSERT_TRUE(comes([&] { return typed().ends_with("\r"); })) << typed();
  EXPECT_EQ(typed(),
            "\x1b[200~[message 1 from human] one  two (answer: onsight-agent send human --reply-to 1 TEXT)\n"
            "[message 2 from human] three (answer: onsight-agent send human --reply-to 2 TEXT)\x1b[201~\r");
}

TEST(AgentsLogs, WithoutControls) {
  std::string pending;
  EXPECT_EQ(without_controls("a\x1b[1;31mb\x1b[0mc\r\n\x1b]0;title\ad\x07", pending), "abc\nd");
  EXPECT_EQ(without_controls("x\x1b[3", pending), "x");
  EXPECT_EQ(without_controls("1my\x1bP1;2q...", pending), "y");
  EXPECT_EQ(without_controls("...\x1b\\z\x1b(B.", pending), "z.");
  EXPECT_EQ(without_controls("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", pending), "link");
  EXPECT_EQ(pending, "");
}

}  // namespace
}  // namespace onsight::agents::supervisor
