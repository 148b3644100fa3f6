// Views: rows of the store as the page's JSON. Texts of agents stay texts; the page never takes them for HTML.
#pragma once

#include "agents/config/config.h"
#include "agents/state/store.h"
#include "base/json.h"
#include "base/result.h"

namespace onsight::agents::page {

Json to_json(const state::AgentRow& agent);
Json to_json(const state::MessageRow& message);
Json to_json(const state::Spending& spent);
Json to_json(const config::Budget& budget);
// Without the placeholder of an agent's key, which is nobody's business.
Json to_json(const state::Event& event);

// Agents with their spending, budgets and unread messages, the fleet's own, the roles, and the event that was the last.
Result<Json> state_view(state::Transaction& t, const config::Config& config);
// The last `limit` of all messages, or of those to and from `agent`, in order.
Result<Json> messages_view(state::Transaction& t, std::string_view agent, size_t limit);
// Events of runs and tasks above `after`, of which the page makes the tasks of a run.
Result<Json> plan_view(state::Transaction& t, int64_t after);
// Events from `first` to `last`.
Result<Json> log_view(state::Transaction& t, int64_t first, int64_t last);

}  // namespace onsight::agents::page
