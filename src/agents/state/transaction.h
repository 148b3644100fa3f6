// StoreTransaction: what a Store hands to those who read and write: one transaction of one connection.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agents/state/event_log.h"
#include "agents/state/projection.h"
#include "agents/state/sqlite.h"
#include "agents/state/store.h"

namespace onsight::agents::state {

class StoreTransaction : public Transaction {
 public:
  StoreTransaction(Database& db, const LogEnd& end, bool writes) : db_(db), end_(end), writes_(writes) {}

  Status add(NewEvent event) override;
  int64_t last_seq() override { return end_.seq; }
  Result<std::optional<AgentRow>> agent(std::string_view name) override { return find_agent(db_, name); }
  Result<std::vector<AgentRow>> agents() override { return all_agents(db_); }
  Result<std::optional<MessageRow>> message(std::string_view sender, std::string_view id) override {
    return find_message(db_, sender, id);
  }
  Result<std::optional<MessageRow>> message(int64_t number) override { return find_message(db_, number); }
  Result<std::vector<MessageRow>> inbox(std::string_view recipient, int64_t after, bool not_consumed,
                                        int limit) override {
    return find_inbox(db_, recipient, after, not_consumed, limit);
  }
  Result<std::vector<MessageRow>> messages(std::string_view agent, int64_t after, int limit) override {
    return find_messages(db_, agent, after, limit);
  }
  Result<Spending> spent(std::string_view agent) override { return find_spending(db_, agent); }
  Result<std::vector<Event>> events(const EventFilter& filter) override { return find_events(db_, filter); }
  Result<int64_t> proposal(std::string_view agent, std::string_view id) override {
    return find_proposal(db_, agent, id);
  }
  Result<bool> held(std::string_view duty, int64_t epoch) override;
  Result<bool> take_token(std::string_view bucket, int64_t interval_ms, int burst) override;

  Database& db() { return db_; }
  const LogEnd& end() const { return end_; }
  // Set when an event was written by half: then nothing of the transaction may stay, whatever its work says.
  const std::optional<Error>& broken() const { return broken_; }

 private:
  Database& db_;
  LogEnd end_;
  bool writes_;
  std::optional<Error> broken_;
};

}  // namespace onsight::agents::state
