// Projection: the tables that are made of events, and the one function that makes them. add() calls it for what is new,
// verify() and as_of() for all that ever was; nothing else writes to these tables.
//
//   TRY_STATUS(db.script(std::string(kProjectionTables)));
//   TRY_STATUS(apply(db, event));
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/state/sqlite.h"
#include "agents/state/store.h"

namespace onsight::agents::state {

extern const std::string_view kProjectionTables;       // statements that make them
extern const std::string_view kProjectionOrders[][2];  // table, columns that order it
constexpr int kProjections = 5;

// Refuses what the rules of kinds.h forbid, in which case nothing has been written. After another error something may.
Status apply(Database& db, const Event& event);

Result<std::optional<AgentRow>> find_agent(Database& db, std::string_view name);
Result<std::vector<AgentRow>> all_agents(Database& db);
Result<std::optional<MessageRow>> find_message(Database& db, std::string_view sender, std::string_view id);
Result<std::optional<MessageRow>> find_message(Database& db, int64_t number);
Result<std::vector<MessageRow>> find_inbox(Database& db, std::string_view recipient, int64_t after, bool not_consumed,
                                           int limit);
Result<std::vector<MessageRow>> find_messages(Database& db, std::string_view agent, int64_t after, int limit);
Result<Spending> find_spending(Database& db, std::string_view agent);
Result<int64_t> find_proposal(Database& db, std::string_view agent, std::string_view id);

// Compares the projections of two databases; the first difference as a sentence.
Status compare_projections(Database& found, Database& expected);

}  // namespace onsight::agents::state
