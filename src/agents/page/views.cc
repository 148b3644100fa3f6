#include "agents/page/views.h"

#include <algorithm>
#include <deque>

#include "agents/bus/mail.h"

namespace onsight::agents::page {
namespace {

constexpr int kRowsAtOnce = 1000;

// What became of its work, as far as it was collected.
std::string_view work_of(const state::AgentRow& agent) {
  if (!agent.collected_wip.empty()) return "unmerged";
  if (agent.collected.empty() || agent.collected == agent.base_commit) return "none";
  return agent.collected == agent.merged ? "merged" : "unmerged";
}

Result<int64_t> unread_of(state::Transaction& t, std::string_view recipient) {
  TRY(const auto waiting, t.inbox(recipient, 0, true, kRowsAtOnce));
  return static_cast<int64_t>(waiting.size());
}

}  // namespace

Json to_json(const state::AgentRow& agent) {
  Json out = {{"name", agent.name},
              {"role", agent.role},
              {"harness", agent.harness},
              {"model", agent.model},
              {"task", agent.task},
              {"branch", agent.branch},
              {"base", agent.base_commit},
              {"wanted", state::name_of(agent.wanted)},
              {"phase", state::name_of(agent.phase)},
              {"activity", state::name_of(agent.activity)},
              {"detail", agent.detail},
              {"generation", agent.generation},
              {"result", agent.result},
              {"work", work_of(agent)},
              {"commit", agent.collected},
              {"merged", agent.merged},
              {"created_ms", agent.created_ms},
              {"started_ms", agent.started_ms},
              {"stopped_ms", agent.stopped_ms}};
  if (agent.exit_code) out["exit_code"] = *agent.exit_code;
  return out;
}

Json to_json(const state::MessageRow& message) {
  Json out = {{"number", message.number},
              {"from", message.sender},
              {"to", message.recipient},
              {"kind", message.kind},
              {"text", message.text},
              {"receipt", bus::receipt_of(message)},
              {"queued_ms", message.queued_ms},
              {"delivered_ms", message.delivered_ms},
              {"consumed_ms", message.consumed_ms},
              {"answered_ms", message.answered_ms}};
  if (!message.reply_to.empty()) out["reply_to"] = message.reply_to;
  if (message.answered_by != 0) out["answered_by"] = message.answered_by;
  return out;
}

Json to_json(const state::Spending& spent) {
  return {{"micro_usd", spent.micro_usd},
          {"tokens_in", spent.tokens_in},
          {"tokens_out", spent.tokens_out},
          {"requests", spent.requests},
          {"reserved_micro_usd", spent.reserved_micro_usd},
          {"reserved_tokens", spent.reserved_tokens}};
}

Json to_json(const config::Budget& budget) {
  Json out = Json::object();
  if (budget.money) out["micro_usd"] = budget.money->micro_usd;
  if (budget.tokens) out["tokens"] = *budget.tokens;
  if (budget.time) out["ms"] = budget.time->count();
  return out;
}

Json to_json(const state::Event& event) {
  Json out = {{"seq", event.seq},     {"at_ms", event.at_ms}, {"actor", event.actor},
              {"agent", event.agent}, {"kind", event.kind},   {"body", event.body}};
  if (event.kind == "agent.created") out["body"].erase("placeholder");
  return out;
}

Result<Json> state_view(state::Transaction& t, const config::Config& config) {
  Json agents = Json::array();
  TRY(const auto rows, t.agents());
  for (const state::AgentRow& row : rows) {
    Json one = to_json(row);
    TRY(const state::Spending spent, t.spent(row.name));
    TRY(one["unread"], unread_of(t, row.name));
    one["spent"] = to_json(spent);
    const config::Role* role = config.role(row.role);
    one["budget"] = role ? to_json(role->budget) : Json::object();
    agents.push_back(std::move(one));
  }
  TRY(const state::Spending all, t.spent(""));
  TRY(const int64_t unread, unread_of(t, "human"));
  Json roles = Json::array();
  for (const auto& [name, role] : config.roles)
    roles.push_back(
        {{"name", name}, {"harness", role.harness}, {"model", role.model}, {"budget", to_json(role.budget)}});
  TRY(const auto last, t.events({.after = t.last_seq() - 1, .limit = 1}));
  return Json{{"seq", t.last_seq()},
              {"event", last.empty() ? Json() : to_json(last.front())},
              {"agents", std::move(agents)},
              {"spent", to_json(all)},
              {"budget", to_json(config.fleet)},
              {"unread", unread},
              {"roles", std::move(roles)}};
}

Result<Json> messages_view(state::Transaction& t, std::string_view agent, size_t limit) {
  std::deque<state::MessageRow> last;
  for (int64_t after = 0;;) {
    TRY(auto rows, t.messages(agent, after, kRowsAtOnce));
    for (state::MessageRow& row : rows) {
      after = row.number;
      last.push_back(std::move(row));
      if (last.size() > limit) last.pop_front();
    }
    if (rows.size() < kRowsAtOnce) break;
  }
  Json out = Json::array();
  for (const state::MessageRow& row : last) out.push_back(to_json(row));
  return Json{{"seq", t.last_seq()}, {"messages", std::move(out)}};
}

Result<Json> plan_view(state::Transaction& t, int64_t after) {
  std::vector<state::Event> events;
  for (const char* prefix : {"run.", "task."}) {
    for (int64_t from = after;;) {
      TRY(auto some, t.events({.after = from, .kind_prefix = prefix, .limit = kRowsAtOnce}));
      for (state::Event& event : some) {
        from = event.seq;
        events.push_back(std::move(event));
      }
      if (some.size() < kRowsAtOnce) break;
    }
  }
  std::sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.seq < b.seq; });
  Json out = Json::array();
  for (const state::Event& event : events) out.push_back(to_json(event));
  return Json{{"seq", t.last_seq()}, {"events", std::move(out)}};
}

Result<Json> log_view(state::Transaction& t, int64_t first, int64_t last) {
  Json out = Json::array();
  if (first <= last) {
    TRY(const auto events, t.events({.after = first - 1, .limit = static_cast<int>(last - first + 1)}));
    for (const state::Event& event : events) out.push_back(to_json(event));
  }
  return Json{{"seq", t.last_seq()}, {"events", std::move(out)}};
}

}  // namespace onsight::agents::page
