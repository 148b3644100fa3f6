// A Store in memory that knows what the broker asks of one: events, agents, spending, leases.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agents/state/store.h"

namespace onsight::agents::broker {

class FakeStore : public state::Store {
 public:
  Status write(const std::function<Status(state::Transaction&)>& work) override {
    const std::lock_guard lock(mutex_);
    if (broken) return make_error(ErrorCode::kIo, "the disk is full");
    View view(*this, /*writes=*/true);
    const size_t before = events_.size();
    Status done = work(view);
    if (!done) events_.resize(before);
    return done;
  }
  Status read(const std::function<Status(state::Transaction&)>& work) override {
    const std::lock_guard lock(mutex_);
    View view(*this, /*writes=*/false);
    return work(view);
  }
  Status heartbeat(std::string_view) override { return {}; }
  Result<Lease> take_lease(std::string_view duty, std::string_view holder, int64_t) override {
    if (lease_taken) return make_error(ErrorCode::kBusy, "another has the lease");
    return Lease{std::string(duty), std::string(holder), ++epoch_};
  }
  Status renew_lease(const Lease& lease, int64_t) override {
    if (lease_taken || lease.epoch != epoch_) return make_error(ErrorCode::kBusy, "another has the lease");
    return {};
  }
  void drop_lease(const Lease&) override {}
  Result<int64_t> wait(int64_t seq, std::chrono::milliseconds) override { return seq; }
  Status verify() override { return {}; }
  Result<std::unique_ptr<Store>> as_of(int64_t) override { return bad_input("not in a fake"); }

  void put(state::AgentRow row) {
    const std::lock_guard lock(mutex_);
    const std::string name = row.name;
    agents_[name] = std::move(row);
    events_.push_back({});
    events_.back().kind = "agent.phase";
    events_.back().agent = name;
  }
  void add(const std::string& agent, const std::string& kind, Json body) {
    const std::lock_guard lock(mutex_);
    state::Event event;
    event.agent = agent;
    event.kind = kind;
    event.body = std::move(body);
    events_.push_back(std::move(event));
  }
  std::vector<state::Event> all(const std::string& kind, const std::string& agent = {}) const {
    const std::lock_guard lock(mutex_);
    std::vector<state::Event> out;
    for (const state::Event& event : events_)
      if (event.kind == kind && (agent.empty() || event.agent == agent)) out.push_back(event);
    return out;
  }
  std::string everything() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const state::Event& event : events_) out += event.agent + " " + event.kind + " " + event.body.dump() + "\n";
    return out;
  }
  state::Spending spending(const std::string& agent) const {
    const std::lock_guard lock(mutex_);
    return sum(agent);
  }
  std::atomic<bool> broken{false}, lease_taken{false};

 private:
  struct View : state::Transaction {
    View(FakeStore& store_of, bool can_write) : store(store_of), writes(can_write) {}
    Status add(state::NewEvent event) override {
      if (!writes) return bad_input("read only");
      state::Event out;
      static_cast<state::NewEvent&>(out) = std::move(event);
      out.seq = static_cast<int64_t>(store.events_.size()) + 1;
      store.events_.push_back(std::move(out));
      return {};
    }
    int64_t last_seq() override { return static_cast<int64_t>(store.events_.size()); }
    Result<std::optional<state::AgentRow>> agent(std::string_view name) override {
      const auto at = store.agents_.find(name);
      return at == store.agents_.end() ? std::optional<state::AgentRow>() : at->second;
    }
    Result<std::vector<state::AgentRow>> agents() override {
      std::vector<state::AgentRow> out;
      for (const auto& [name, row] : store.agents_) out.push_back(row);
      return out;
    }
    Result<std::optional<state::MessageRow>> message(std::string_view, std::string_view) override {
      return std::optional<state::MessageRow>();
    }
    Result<std::optional<state::MessageRow>> message(int64_t) override { return std::optional<state::MessageRow>(); }
    Result<std::vector<state::MessageRow>> inbox(std::string_view, int64_t, bool, int) override {
      return std::vector<state::MessageRow>();
    }
    Result<std::vector<state::MessageRow>> messages(std::string_view, int64_t, int) override {
      return std::vector<state::MessageRow>();
    }
    Result<int64_t> proposal(std::string_view, std::string_view) override { return 0; }
    Result<bool> held(std::string_view, int64_t epoch) override { return epoch == store.epoch_; }
    Result<bool> take_token(std::string_view, int64_t, int) override { return true; }
    Result<state::Spending> spent(std::string_view name) override { return store.sum(std::string(name)); }
    Result<std::vector<state::Event>> events(const state::EventFilter& filter) override {
      std::vector<state::Event> out;
      for (const state::Event& event : store.events_)
        if ((filter.agent.empty() || event.agent == filter.agent) && event.kind.starts_with(filter.kind_prefix))
          out.push_back(event);
      return out;
    }
    FakeStore& store;
    bool writes;
  };

  state::Spending sum(const std::string& agent) const {
    state::Spending out;
    std::set<std::string> settled;
    for (const state::Event& event : events_) {
      if (event.kind != "spend.settled" || (!agent.empty() && event.agent != agent)) continue;
      settled.insert(event.body.at("request").get<std::string>());
      out.micro_usd += event.body.at("micro_usd").get<int64_t>();
      out.tokens_in += event.body.at("tokens_in").get<int64_t>();
      out.tokens_out += event.body.at("tokens_out").get<int64_t>();
      ++out.requests;
    }
    for (const state::Event& event : events_) {
      if (event.kind != "spend.reserved" || (!agent.empty() && event.agent != agent) ||
          settled.contains(event.body.at("request").get<std::string>()))
        continue;
      out.reserved_micro_usd += event.body.at("micro_usd").get<int64_t>();
      out.reserved_tokens += event.body.at("tokens").get<int64_t>();
    }
    return out;
  }

  mutable std::mutex mutex_;
  std::vector<state::Event> events_;
  std::map<std::string, state::AgentRow, std::less<>> agents_;
  std::atomic<int64_t> epoch_{0};
};

}  // namespace onsight::agents::broker
