#include "agents/supervisor/supervisor.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <regex>
#include <set>
#include <thread>

#include "agents/config/config.h"
#include "agents/fleet.h"
#include "agents/harness/harness.h"
#include "agents/runtime/owner.h"
#include "agents/supervisor/launch.h"
#include "agents/supervisor/steps.h"
#include "net/router.h"
#include "net/server.h"

namespace onsight::agents::supervisor {
namespace {

using state::AgentRow;
using state::Phase;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookEvery{1000}, kAfterFailure{2000};
// Programs take an Enter that comes at once behind what was pasted for a part of it.
constexpr std::chrono::milliseconds kBeforeEnter{200};
constexpr int64_t kLeaseMs = 3000;
constexpr size_t kWorkers = 4;
constexpr size_t kMostTyped = 64 << 10;

void say(std::string_view sentence) {
  fmt::print(stderr, "{} {}\n", state::now_ms(), sentence);
  std::fflush(stderr);
}

bool looks(const std::string& pattern, const std::string& text) {
  if (pattern.empty()) return false;
  try {
    return std::regex_search(text, std::regex(pattern));
  } catch (const std::regex_error&) {
    return false;  // a pattern of a harness file that is none
  }
}

// What is typed to tell of a message: one line, whatever it holds.
std::string typed_message(const state::MessageRow& message) {
  std::string text = fmt::format("[message {} from {}] ", message.number, message.sender);
  for (const char c : message.text) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return text + fmt::format(" (answer: onsight-agent send {} --reply-to {} TEXT)", message.sender, message.number);
}

class Working {
 public:
  Working(const Project& project, const SupervisorOptions& options) : project_(project), options_(options) {}

  Status run() {
    TRY(const DutyLock lock, DutyLock::take(project_, Duty::kSupervisor));
    TRY(config_, config::load(project_.config(), project_.plan()));
    config_time_ = time_of_config();
    TRY(store_, state::Store::open(project_.database()));
    TRY(workspace_, workspace::Workspace::open(project_));
    TRY(lease_, take_lease());
    TRY_STATUS(listen());
    TRY_STATUS(connect());
    Terminals terminals(project_, *runtime_);
    Steps steps(project_, *store_, *runtime_, *workspace_, terminals, options_.grace, [this] { poke(); });
    terminals_ = &terminals;
    steps_ = &steps;
    std::thread serving([this] { server_->run(); });
    std::vector<std::thread> workers;
    workers.reserve(kWorkers);
    for (size_t i = 0; i < kWorkers; ++i) workers.emplace_back([this] { work(); });
    Status status = look_until_done();
    {
      const std::lock_guard guard(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers) worker.join();
    server_->stop();
    serving.join();
    terminals.close();
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this] { return viewers_ == 0; });
    store_->drop_lease(lease_);
    return status;
  }

 private:
  struct Job {
    Seen seen;
    Decision decision;
    config::Config config;
  };

  // The lock says that nobody else works; a lease of one who was killed runs out by itself.
  Result<state::Store::Lease> take_lease() {
    const std::string holder = fmt::format("{}", ::getpid());
    const auto until = Clock::now() + std::chrono::milliseconds(2 * kLeaseMs);
    for (;;) {
      auto lease = store_->take_lease("supervisor", holder, kLeaseMs);
      if (lease || lease.error().code != ErrorCode::kBusy || Clock::now() > until) return lease;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  Status connect() {
    if (options_.connect) {
      TRY(runtime_, options_.connect());
      return {};
    }
    TRY(runtime_, runtime::connect(engine_of(project_, config_)));
    return {};
  }

  std::pair<int64_t, int64_t> time_of_config() const {
    const auto of = [](const Path& file) -> int64_t {
      std::error_code failed;
      const auto time = std::filesystem::last_write_time(file, failed);
      return failed ? 0 : time.time_since_epoch().count();
    };
    return {of(project_.config()), of(project_.plan())};
  }

  // A file that has become wrong changes nothing; what is wrong with it is in the log.
  void reload_config() {
    const auto time = time_of_config();
    if (time == config_time_) return;
    config_time_ = time;
    auto config = config::load(project_.config(), project_.plan());
    if (config)
      config_ = std::move(*config);
    else
      say(config.error().message);
  }

  void poke() {
    {
      const std::lock_guard guard(mutex_);
      poked_ = true;
    }
    changed_.notify_all();
  }

  Status look_until_done() {
    auto busy = Clock::now();
    std::string last_error;
    for (;;) {
      bool idle = false;
      const Status looked = look(idle);
      if (!looked && looked.error().message != last_error) say(last_error = looked.error().message);
      if (looked) last_error.clear();
      if (!looked || !idle) busy = Clock::now();
      if (Clock::now() - busy > options_.idle) return {};
      std::error_code failed;  // who removed all that is known of the agents wants no supervisor
      if (!std::filesystem::exists(project_.database(), failed) && !failed) return {};
      Status renewed = store_->renew_lease(lease_, kLeaseMs);
      if (!renewed && renewed.error().code == ErrorCode::kBusy) return renewed;
      std::unique_lock guard(mutex_);
      const auto pause = !looked ? kAfterFailure : enters_.empty() ? kLookEvery : kBeforeEnter;
      changed_.wait_for(guard, pause, [this] { return poked_ || stopped_; });
      poked_ = false;
      if (stopped_) return {};
    }
  }

  // One look at the world: what each agent needs next goes to a worker, one thing at a time for each.
  Status look(bool& idle) {
    reload_config();
    press_enter();
    // Whose step ends while we look has rows here that are older than it.
    const std::set<std::string> busy = at_work();
    std::vector<AgentRow> rows;
    TRY_STATUS(store_->read([&](state::Transaction& t) -> Status {
      TRY(rows, t.agents());
      return {};
    }));
    TRY(const auto containers, runtime_->list({{std::string(runtime::kProjectLabel), project_.id}}));
    std::map<std::string, std::vector<runtime::ContainerInfo>> of_agent;
    for (const runtime::ContainerInfo& one : containers) {
      const auto name = one.labels.find(std::string(runtime::kAgentLabel));
      if (name != one.labels.end()) of_agent[name->second].push_back(one);
    }
    idle = true;
    const int64_t now = state::now_ms();
    for (const AgentRow& row : rows) {
      Seen seen = {.agent = row,
                   .has_clone = workspace_->has_clone(row.name),
                   .containers = of_agent[row.name],
                   .attached = terminals_->signs(row.name).attached,
                   .over_time = is_over_time(row, now),
                   .now_ms = now};
      Decision decision = next_step(seen);
      if (row.phase != Phase::kStopped && row.phase != Phase::kError) idle = false;
      if (row.phase == Phase::kRunning && decision.step == Step::kNothing) {
        TRY_STATUS(tell_activity(row, now));
        TRY_STATUS(tell_messages(row));
      }
      if (decision.step == Step::kNothing) continue;
      idle = false;
      if (busy.count(row.name)) continue;
      const std::lock_guard guard(mutex_);
      at_work_.insert(row.name);
      jobs_.push_back({std::move(seen), std::move(decision), config_});
      changed_.notify_all();
    }
    for (const std::string& id : orphans(containers, rows)) {
      say(fmt::format("container {}: removed, its agent is no more", id));
      TRY_STATUS(runtime_->remove(id));
    }
    return remove_helpers(containers);
  }

  std::set<std::string> at_work() {
    const std::lock_guard guard(mutex_);
    return at_work_;
  }

  // A container that packs or checks lives as long as the process that waits for it; who was killed leaves it behind.
  Status remove_helpers(const std::vector<runtime::ContainerInfo>& containers) {
    for (const runtime::ContainerInfo& one : containers) {
      const auto owner = one.labels.find(std::string(runtime::kOwnerLabel));
      if (owner == one.labels.end() || runtime::is_alive(owner->second)) continue;
      say(fmt::format("container {}: removed, whoever waited for it is no more", one.name));
      TRY_STATUS(runtime_->remove(one.id));
    }
    return {};
  }

  bool is_over_time(const AgentRow& row, int64_t now) const {
    const config::Role* role = config_.role(row.role);
    return role && role->budget.time && row.started_ms > 0 && now - row.started_ms > role->budget.time->count();
  }

  Status tell_activity(const AgentRow& row, int64_t now) {
    const TerminalSigns signs = terminals_->signs(row.name);
    const auto harness = harness::find(row.harness, project_.root);
    // What shows nothing yet is about to begin: what was typed now would be lost.
    const bool begins =
        harness && harness->messages == "terminal" && signs.tail.find_first_not_of(" \n") == signs.tail.npos;
    const state::Activity seen =
        supervisor::activity_of({.phase = row.phase,
                                 .reported = row.activity_by == row.name ? row.activity : state::Activity::kOffline,
                                 .heartbeat_age_ms = now - std::max(row.heartbeat_ms, row.started_ms),
                                 .output_age_ms = begins ? 0 : now - signs.output_ms,
                                 .screen_waits = harness && looks(harness->waiting, signs.tail),
                                 .screen_thinks = harness && looks(harness->thinking, signs.tail)});
    if (seen == row.activity) return {};
    return store_->write([&](state::Transaction& t) -> Status {
      // What the agent has said of itself meanwhile counts for more.
      TRY(const auto now_is, t.agent(row.name));
      if (!now_is || now_is->phase != row.phase || now_is->activity != row.activity ||
          now_is->activity_by != row.activity_by)
        return {};
      return t.add({.actor = "supervisor",
                    .agent = row.name,
                    .kind = "agent.activity",
                    .body = {{"activity", state::name_of(seen)}}});
    });
  }

  // Written down before it is typed: who is killed in between has told nobody, and the inbox still has it.
  Status tell_messages(const AgentRow& row) {
    if (row.activity == state::Activity::kThinking || row.activity == state::Activity::kOffline) return {};
    const auto harness = harness::find(row.harness, project_.root);
    if (!harness || harness->messages != "terminal") return {};
    std::vector<state::MessageRow> news;
    TRY_STATUS(store_->write([&](state::Transaction& t) -> Status {
      TRY(const auto waiting, t.inbox(row.name, 0, true, 100));
      Json numbers = Json::array();
      for (const state::MessageRow& message : waiting) {
        if (message.delivered_ms != 0) continue;
        numbers.push_back(message.number);
        news.push_back(message);
      }
      if (news.empty()) return {};
      return t.add({.actor = "supervisor",
                    .agent = row.name,
                    .kind = "message.delivered",
                    .body = {{"numbers", std::move(numbers)}}});
    }));
    if (news.empty()) return {};
    std::string lines;
    for (const state::MessageRow& message : news) lines += (lines.empty() ? "" : "\n") + typed_message(message);
    if (terminals_->type(row.name, "\x1b[200~" + lines + "\x1b[201~")) enters_[row.name] = Clock::now() + kBeforeEnter;
    return {};
  }

  void press_enter() {
    for (auto it = enters_.begin(); it != enters_.end();) {
      const bool due = Clock::now() >= it->second;
      if (due) (void)terminals_->type(it->first, "\r");
      it = due ? enters_.erase(it) : std::next(it);
    }
  }

  void work() {
    for (;;) {
      Job job;
      {
        std::unique_lock guard(mutex_);
        changed_.wait(guard, [this] { return ending_ || !jobs_.empty(); });
        if (jobs_.empty()) return;  // what was begun is ended first
        job = std::move(jobs_.back());
        jobs_.pop_back();
      }
      const Status done = steps_->take(job.seen, job.decision, job.config);
      if (!done) say(fmt::format("{}: {}", job.seen.agent.name, done.error().message));
      {
        const std::lock_guard guard(mutex_);
        at_work_.erase(job.seen.agent.name);
      }
      if (done) poke();
    }
  }

  Status listen() {
    using Handler =
        std::function<void(const net::HttpRequest&, const net::PathNames&, const std::shared_ptr<net::Exchange>&)>;
    auto routes = std::make_shared<net::Router<Handler>>();
    const auto answer = [](const std::shared_ptr<net::Exchange>& exchange, const Status& status) {
      if (status)
        exchange->respond({.status = 204});
      else
        exchange->respond({.status = 409, .headers = {{"Content-Type", "text/plain"}}, .body = status.error().message});
    };
    routes->add("POST", "/poke", [this, answer](auto&, auto&, auto& exchange) {
      poke();
      answer(exchange, {});
    });
    routes->add("POST", "/stop", [this, answer](auto&, auto&, auto& exchange) {
      answer(exchange, {});
      stop();
    });
    routes->add("GET", "/agents/{name}/screen", [this, answer](auto&, auto& names, auto& exchange) {
      const auto text = terminals_ ? terminals_->screen(names.find("name")->second) : bad_input("not yet");
      if (!text) return answer(exchange, tl::unexpected<Error>(text.error()));
      exchange->respond({.headers = {{"Content-Type", "text/plain; charset=utf-8"}}, .body = *text});
    });
    routes->add("POST", "/agents/{name}/size", [this, answer](auto& request, auto& names, auto& exchange) {
      answer(exchange, resize(names.find("name")->second, request));
    });
    routes->add("POST", "/agents/{name}/type", [this, answer](auto& request, auto& names, auto& exchange) {
      answer(exchange, terminals_ ? terminals_->type(names.find("name")->second, request.body) : bad_input("not yet"));
    });
    routes->add("POST", "/agents/{name}/attach", [this, answer](auto& request, auto& names, auto& exchange) {
      const std::string name = names.find("name")->second;
      if (const Status ready = resize(name, request); !ready) return answer(exchange, ready);
      exchange->take_over(101, {{"Connection", "Upgrade"}, {"Upgrade", "onsight-terminal"}},
                          [this, name](std::unique_ptr<net::RawStream> stream) { view(name, std::move(stream)); });
    });
    net::Site site;
    site.handle = [routes](net::HttpRequest request, std::shared_ptr<net::Exchange> exchange) {
      const auto found = routes->find(request.method, request.path);
      if (!found.target)
        return exchange->respond({.status = 404, .headers = {{"Content-Type", "text/plain"}}, .body = "no such path"});
      (*found.target)(request, found.names, exchange);
    };
    site.error = [](const net::HttpRequest&, int status, const std::string& message) {
      return net::HttpResponse{.status = status, .headers = {{"Content-Type", "text/plain"}}, .body = message};
    };
    net::ServerOptions options;
    options.unix_socket = net::UnixSocket{.path = project_.control(), .mode = 0600};
    options.drain_time = std::chrono::milliseconds(1000);
    options.reader.body_bytes = kMostTyped;
    TRY(server_, net::Server::listen(options, std::move(site)));
    return {};
  }

  Status resize(const std::string& name, const net::HttpRequest& request) {
    if (!terminals_) return bad_input("not yet");
    const auto number = [&](std::string_view key) {
      const std::string_view text = request.query_value(key);
      int value = 0;
      for (const char c : text) value = c >= '0' && c <= '9' && value < 10'000 ? value * 10 + (c - '0') : 100'000;
      return value;
    };
    const int rows = number("rows"), columns = number("columns");
    if (rows < 1 || rows > 1000 || columns < 1 || columns > 1000)
      return bad_input("rows and columns: expected 1 to 1000 each");
    return terminals_->resize(name, rows, columns);
  }

  void view(const std::string& name, std::unique_ptr<net::RawStream> stream) {
    const std::lock_guard guard(mutex_);
    if (stopped_) return;
    ++viewers_;
    std::thread([this, name, stream = std::move(stream)]() mutable {
      (void)terminals_->join(name, std::move(stream));
      const std::lock_guard last(mutex_);
      --viewers_;
      changed_.notify_all();
    }).detach();
  }

  void stop() {
    {
      const std::lock_guard guard(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
  }

  const Project& project_;
  const SupervisorOptions& options_;
  config::Config config_;
  std::pair<int64_t, int64_t> config_time_;
  std::unique_ptr<state::Store> store_;
  std::unique_ptr<workspace::Workspace> workspace_;
  std::unique_ptr<runtime::Runtime> runtime_;
  state::Store::Lease lease_;
  std::unique_ptr<net::Server> server_;
  Terminals* terminals_ = nullptr;  // of run()
  Steps* steps_ = nullptr;
  std::map<std::string, Clock::time_point> enters_;  // when, of agents that were told something

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool poked_ = false, stopped_ = false, ending_ = false;
  std::vector<Job> jobs_;
  std::set<std::string> at_work_;
  int viewers_ = 0;
};

}  // namespace

Status run(const Project& project, const SupervisorOptions& options) {
  Working working(project, options);
  return working.run();
}

}  // namespace onsight::agents::supervisor
