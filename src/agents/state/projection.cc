#include "agents/state/projection.h"

#include <algorithm>
#include <type_traits>

#include "agents/state/kinds.h"

namespace onsight::agents::state {

const std::string_view kProjectionTables = R"sql(
CREATE TABLE agents(
  name TEXT PRIMARY KEY, born INTEGER NOT NULL, removed_ms INTEGER NOT NULL, role TEXT NOT NULL, harness TEXT NOT NULL,
  model TEXT NOT NULL, task TEXT NOT NULL, branch TEXT NOT NULL, base_commit TEXT NOT NULL, wanted TEXT NOT NULL,
  phase TEXT NOT NULL, activity TEXT NOT NULL, activity_by TEXT NOT NULL, detail TEXT NOT NULL,
  generation INTEGER NOT NULL, resume INTEGER NOT NULL, container TEXT NOT NULL, image TEXT NOT NULL,
  placeholder TEXT NOT NULL, uid INTEGER NOT NULL, exit_code INTEGER, result TEXT NOT NULL,
  start_asked INTEGER NOT NULL, collected TEXT NOT NULL, collected_wip TEXT NOT NULL, merged TEXT NOT NULL,
  backup TEXT NOT NULL, created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, stopped_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE messages(
  number INTEGER PRIMARY KEY, id TEXT NOT NULL, sender TEXT NOT NULL, sender_born INTEGER NOT NULL,
  recipient TEXT NOT NULL, recipient_born INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
  reply_to TEXT NOT NULL, data TEXT NOT NULL, hops INTEGER NOT NULL, queued_ms INTEGER NOT NULL,
  delivered_ms INTEGER NOT NULL, consumed_ms INTEGER NOT NULL, answered_ms INTEGER NOT NULL,
  answered_by INTEGER NOT NULL, UNIQUE(sender, sender_born, id)
) STRICT;
CREATE INDEX inbox ON messages(recipient, recipient_born, number) WHERE consumed_ms = 0;
CREATE TABLE requests(
  request TEXT PRIMARY KEY, agent TEXT NOT NULL, born INTEGER NOT NULL, micro_usd INTEGER NOT NULL,
  tokens INTEGER NOT NULL, settled INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE spending(
  agent TEXT NOT NULL, born INTEGER NOT NULL, micro_usd INTEGER NOT NULL, tokens_in INTEGER NOT NULL,
  tokens_out INTEGER NOT NULL, requests INTEGER NOT NULL, reserved_micro_usd INTEGER NOT NULL,
  reserved_tokens INTEGER NOT NULL, PRIMARY KEY(agent, born)
) STRICT, WITHOUT ROWID;
CREATE TABLE proposals(
  agent TEXT NOT NULL, born INTEGER NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(agent, born, id)
) STRICT, WITHOUT ROWID;
)sql";
const std::string_view kProjectionOrders[kProjections][2] = {{"agents", "name"},
                                                             {"messages", "number"},
                                                             {"requests", "request"},
                                                             {"spending", "agent, born"},
                                                             {"proposals", "agent, born, id"}};

namespace {

struct AgentRecord : AgentRow {
  int64_t removed_ms = 0;
};

template <class Record, class Visit>
void each_agent_column(Record& r, Visit&& visit) {
  visit("name", r.name);
  visit("born", r.born);
  visit("removed_ms", r.removed_ms);
  visit("role", r.role);
  visit("harness", r.harness);
  visit("model", r.model);
  visit("task", r.task);
  visit("branch", r.branch);
  visit("base_commit", r.base_commit);
  visit("wanted", r.wanted);
  visit("phase", r.phase);
  visit("activity", r.activity);
  visit("activity_by", r.activity_by);
  visit("detail", r.detail);
  visit("generation", r.generation);
  visit("resume", r.resume);
  visit("container", r.container);
  visit("image", r.image);
  visit("placeholder", r.placeholder);
  visit("uid", r.uid);
  visit("exit_code", r.exit_code);
  visit("result", r.result);
  visit("start_asked", r.start_asked);
  visit("collected", r.collected);
  visit("collected_wip", r.collected_wip);
  visit("merged", r.merged);
  visit("backup", r.backup);
  visit("created_ms", r.created_ms);
  visit("started_ms", r.started_ms);
  visit("stopped_ms", r.stopped_ms);
}

struct Reader {
  const Rows& rows;
  int column = 0;
  void operator()(const char*, std::string& out) { out = rows.text(column++); }
  void operator()(const char*, int64_t& out) { out = rows.integer(column++); }
  void operator()(const char*, int& out) { out = static_cast<int>(rows.integer(column++)); }
  void operator()(const char*, bool& out) { out = rows.integer(column++) != 0; }
  void operator()(const char*, std::optional<int>& out) {
    out = rows.is_null(column) ? std::nullopt : std::optional<int>(static_cast<int>(rows.integer(column)));
    ++column;
  }
  void operator()(const char*, Wanted& out) { out = wanted_of(rows.text(column++)).value_or(out); }
  void operator()(const char*, Phase& out) { out = phase_of(rows.text(column++)).value_or(out); }
  void operator()(const char*, Activity& out) { out = activity_of(rows.text(column++)).value_or(out); }
};

struct Binder {
  sqlite3_stmt* statement;
  int column = 0;
  template <class V>
  void operator()(const char*, const V& value) {
    if constexpr (std::is_enum_v<V>) {
      Database::bind(statement, ++column, name_of(value));
    } else {
      Database::bind(statement, ++column, value);
    }
  }
};

std::string agent_columns() {
  std::string out;
  AgentRecord record;
  each_agent_column(record,
                    [&](const char* name, const auto&) { out += (out.empty() ? "" : ", ") + std::string(name); });
  return out;
}

const std::string& agent_query(bool one) {
  static const std::string columns = agent_columns();
  static const std::string beat =
      ", (SELECT at_ms FROM heartbeats WHERE agent = name AND heartbeats.born = agents.born)";
  static const std::string of_one = "SELECT " + columns + beat + " FROM agents WHERE name = ?";
  static const std::string of_all = "SELECT " + columns + beat + " FROM agents WHERE removed_ms = 0 ORDER BY name";
  return one ? of_one : of_all;
}

AgentRecord agent_of(const Rows& rows) {
  AgentRecord out;
  Reader reader{rows};
  each_agent_column(out, reader);
  out.heartbeat_ms = rows.integer(reader.column);
  return out;
}

Result<std::optional<AgentRecord>> find_record(Database& db, std::string_view name) {
  TRY(Rows rows, db.query(agent_query(true), name));
  TRY(const bool there, rows.next());
  return there ? std::optional<AgentRecord>(agent_of(rows)) : std::nullopt;
}

Status write_record(Database& db, const AgentRecord& record) {
  static const std::string sql = [] {
    std::string marks;
    AgentRecord any;
    each_agent_column(any, [&](const char*, const auto&) { marks += marks.empty() ? "?" : ", ?"; });
    return "INSERT OR REPLACE INTO agents(" + agent_columns() + ") VALUES(" + marks + ")";
  }();
  TRY(sqlite3_stmt * statement, db.prepared(sql));
  Binder binder{statement};
  each_agent_column(record, binder);
  Rows rows = db.rows_of(statement);
  TRY_STATUS(rows.next());
  return {};
}

constexpr std::string_view kMessageColumns =
    "number, id, sender, recipient, kind, text, reply_to, data, hops, queued_ms, delivered_ms, consumed_ms, "
    "answered_ms, answered_by";

MessageRow message_of(const Rows& rows) {
  MessageRow out;
  out.number = rows.integer(0);
  out.id = rows.text(1);
  out.sender = rows.text(2);
  out.recipient = rows.text(3);
  out.kind = rows.text(4);
  out.text = rows.text(5);
  out.reply_to = rows.text(6);
  if (const std::string data = rows.text(7); !data.empty()) out.data = Json::parse(data, nullptr, false);
  out.hops = static_cast<int>(rows.integer(8));
  out.queued_ms = rows.integer(9);
  out.delivered_ms = rows.integer(10);
  out.consumed_ms = rows.integer(11);
  out.answered_ms = rows.integer(12);
  out.answered_by = rows.integer(13);
  return out;
}

Result<std::vector<MessageRow>> messages_of(Rows rows) {
  std::vector<MessageRow> out;
  for (;;) {
    TRY(const bool more, rows.next());
    if (!more) return out;
    out.push_back(message_of(rows));
  }
}

// Of an agent that there is; 0: of one of those that are always there.
Result<std::optional<int64_t>> born_of(Database& db, std::string_view name) {
  if (is_reserved_name(name)) return std::optional<int64_t>(0);
  TRY(const int64_t born, db.number("SELECT born FROM agents WHERE name = ? AND removed_ms = 0", -1, name));
  return born < 0 ? std::nullopt : std::optional<int64_t>(born);
}

std::string text_in(const Json& body, std::string_view name) {
  const auto it = body.find(name);
  return it != body.end() && it->is_string() ? it->get<std::string>() : "";
}
int64_t count_in(const Json& body, std::string_view name) {
  const auto it = body.find(name);
  return it != body.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
}

Status apply_created(Database& db, const Event& event) {
  TRY(std::optional<AgentRecord> former, find_record(db, event.agent));
  if (former && former->removed_ms == 0) return bad_input("{}: there is an agent of that name", event.agent);
  AgentRecord record;
  record.name = event.agent;
  record.born = event.seq;
  record.role = text_in(event.body, "role");
  record.harness = text_in(event.body, "harness");
  record.model = text_in(event.body, "model");
  record.task = text_in(event.body, "task");
  record.branch = text_in(event.body, "branch");
  record.base_commit = text_in(event.body, "base");
  record.image = text_in(event.body, "image");
  record.placeholder = text_in(event.body, "placeholder");
  record.uid = static_cast<int>(std::min<int64_t>(count_in(event.body, "uid"), INT32_MAX));
  record.start_asked = true;
  record.generation = former ? former->generation : 0;
  record.created_ms = event.at_ms;
  return write_record(db, record);
}

Status change_wanted(AgentRecord& record, const Event& event) {
  const Wanted wanted = wanted_of(text_in(event.body, "wanted")).value_or(record.wanted);
  if (!may_follow(record.wanted, wanted))
    return bad_input("{}: is being removed; it cannot be wanted {}", record.name, name_of(wanted));
  record.wanted = wanted;
  const bool ends =
      record.phase == Phase::kStopping || record.phase == Phase::kStopped || record.phase == Phase::kError;
  if (ends) record.start_asked = wanted == Wanted::kRunning;
  if (wanted == Wanted::kRunning) record.resume = event.body.value("resume", false);
  return {};
}

Status change_phase(AgentRecord& record, const Event& event) {
  const Json& body = event.body;
  const Phase from = record.phase, to = phase_of(text_in(body, "phase")).value_or(from);
  if (!may_follow(from, to)) return bad_input("{}: cannot go from {} to {}", record.name, name_of(from), name_of(to));
  if (body.contains("generation")) {
    const int64_t generation = count_in(body, "generation");
    const bool next = generation == record.generation + 1 && to == Phase::kStarting;
    if (generation != record.generation && !next)
      return bad_input("{}: generation {} cannot follow {} with phase {}", record.name, generation, record.generation,
                       name_of(to));
    if (next) {
      record.container.clear();
      record.exit_code.reset();
      record.result.clear();
      record.start_asked = false;
    }
    record.generation = generation;
  }
  record.phase = to;
  record.detail = text_in(body, "detail");
  if (body.contains("container")) record.container = text_in(body, "container");
  if (body.contains("base")) record.base_commit = text_in(body, "base");
  if (body.contains("exit_code")) record.exit_code = static_cast<int>(count_in(body, "exit_code"));
  if (to == Phase::kError || (to == Phase::kStopped && record.wanted != Wanted::kRunning)) record.start_asked = false;
  if (from == to) return {};
  if (to == Phase::kRunning) record.started_ms = event.at_ms;
  if (to == Phase::kStopped || to == Phase::kError) record.stopped_ms = event.at_ms;
  const bool anew = to == Phase::kStarting;
  if (anew || !may_be(to, record.activity)) {
    record.activity = Activity::kOffline;
    record.activity_by = event.actor;
  }
  return {};
}

Status change_activity(AgentRecord& record, const Event& event) {
  const Activity activity = activity_of(text_in(event.body, "activity")).value_or(record.activity);
  if (!may_be(record.phase, activity))
    return bad_input("{}: is {}; it cannot be {}", record.name, name_of(record.phase), name_of(activity));
  record.activity = activity;
  record.activity_by = event.actor;
  if (record.phase != Phase::kError) record.detail = text_in(event.body, "detail");
  return {};
}

Status change_agent(AgentRecord& record, const Event& event) {
  const Json& body = event.body;
  if (event.kind == "agent.wanted") return change_wanted(record, event);
  if (event.kind == "agent.phase") return change_phase(record, event);
  if (event.kind == "agent.activity") return change_activity(record, event);
  if (event.kind == "agent.done") {
    record.result = text_in(body, "result");
    record.activity = Activity::kCompleted;
    record.activity_by = event.actor;
    if (record.phase != Phase::kError) record.detail = text_in(body, "summary");
  } else if (event.kind == "agent.removed") {
    if (record.wanted != Wanted::kRemoved || may_have_container(record.phase) || record.phase == Phase::kProvisioning)
      return bad_input("{}: is {} and wanted {}; it cannot be removed yet", record.name, name_of(record.phase),
                       name_of(record.wanted));
    record.removed_ms = event.at_ms;
    if (body.contains("backup")) record.backup = text_in(body, "backup");
  } else if (event.kind == "work.collected") {
    record.collected = text_in(body, "commit");
    record.collected_wip = text_in(body, "wip");
    record.backup.clear();
  } else if (event.kind == "work.merged") {
    record.merged = text_in(body, "commit");
  } else if (event.kind == "work.backed_up") {
    record.backup = text_in(body, "ref");
  }
  return {};
}

Status apply_queued(Database& db, const Event& event) {
  const Json& body = event.body;
  const std::string id = text_in(body, "id");
  if (text_in(body, "to") != event.agent) return bad_input("{}: to: expected '{}'", event.kind, event.agent);
  TRY(const std::optional<int64_t> sender, born_of(db, event.actor));
  if (!sender) return bad_input("{}: there is no such agent to send a message", event.actor);
  TRY(const std::optional<int64_t> recipient, born_of(db, event.agent));
  if (!recipient) return bad_input("{}: there is no such agent to get a message", event.agent);
  TRY(const int64_t twin, db.number("SELECT number FROM messages WHERE sender = ? AND sender_born = ? AND id = ?", 0,
                                    event.actor, *sender, id));
  if (twin != 0) return bad_input("{}: message '{}' is there already", event.actor, id);
  TRY(const int64_t last, db.number("SELECT max(number) FROM messages", 0));
  const int64_t reply_to = count_in(body, "reply_to");
  if (reply_to > last) return bad_input("{}: reply_to: there is no message {}", event.actor, reply_to);
  const auto data = body.find("data");
  return db.run("INSERT INTO messages VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0)", last + 1, id,
                event.actor, *sender, event.agent, *recipient, text_in(body, "kind"), text_in(body, "text"),
                reply_to > 0 ? std::to_string(reply_to) : "", data != body.end() ? data->dump() : "",
                count_in(body, "hops"), event.at_ms);
}

// One message's step: it must lie in the inbox of event.agent, have `before`, and not `step`.
Status check_step(Database& db, const Event& event, int64_t born, int64_t number, std::string_view step) {
  TRY(Rows rows, db.query("SELECT delivered_ms, consumed_ms, answered_ms FROM messages "
                          "WHERE number = ? AND recipient = ? AND recipient_born = ?",
                          number, event.agent, born));
  TRY(const bool there, rows.next());
  if (!there) return bad_input("{}: has no message {}", event.agent, number);
  const int at = step == "delivered" ? 0 : step == "consumed" ? 1 : 2;
  if (rows.integer(at) != 0) return bad_input("{}: message {} is {} already", event.agent, number, step);
  if (at > 0 && rows.integer(at - 1) == 0)
    return bad_input("{}: message {} is not {} yet", event.agent, number, at == 1 ? "delivered" : "consumed");
  return {};
}

Status apply_message(Database& db, const Event& event) {
  if (event.kind == "message.queued") return apply_queued(db, event);
  TRY(const std::optional<int64_t> born, born_of(db, event.agent));
  if (!born) return bad_input("{}: there is no such agent", event.agent);
  const std::string_view step = std::string_view(event.kind).substr(std::string_view("message.").size());
  if (step == "answered") {
    const int64_t number = count_in(event.body, "number");
    TRY_STATUS(check_step(db, event, *born, number, step));
    return db.run("UPDATE messages SET answered_ms = ?, answered_by = ? WHERE number = ?", event.at_ms,
                  count_in(event.body, "by"), number);
  }
  const Json& numbers = event.body.at("numbers");
  for (const Json& number : numbers) TRY_STATUS(check_step(db, event, *born, number.get<int64_t>(), step));
  for (const Json& number : numbers) {
    TRY_STATUS(db.run(step == "delivered" ? "UPDATE messages SET delivered_ms = ? WHERE number = ?"
                                          : "UPDATE messages SET consumed_ms = ? WHERE number = ?",
                      event.at_ms, number.get<int64_t>()));
  }
  return {};
}

// To the agent's own row and the fleet's.
Status add_spending(Database& db, std::string_view agent, int64_t born, const Spending& more) {
  for (const bool fleet : {false, true}) {
    TRY_STATUS(
        db.run("INSERT INTO spending VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(agent, born) DO UPDATE "
               "SET micro_usd = micro_usd + ?3, tokens_in = tokens_in + ?4, tokens_out = tokens_out + ?5, "
               "requests = requests + ?6, reserved_micro_usd = reserved_micro_usd + ?7, "
               "reserved_tokens = reserved_tokens + ?8",
               fleet ? "" : agent, fleet ? 0 : born, more.micro_usd, more.tokens_in, more.tokens_out, more.requests,
               more.reserved_micro_usd, more.reserved_tokens));
  }
  return {};
}

Status check_sum(const Spending& sum) {
  if (std::max({sum.micro_usd, sum.tokens_in, sum.tokens_out, sum.reserved_micro_usd, sum.reserved_tokens}) >
      int64_t{9'000} * kMaxCount)
    return bad_input("spending: more than can be counted");
  return {};
}

Status apply_spending(Database& db, const Event& event) {
  const Json& body = event.body;
  const std::string request = text_in(body, "request");
  TRY(const Spending fleet, find_spending(db, ""));
  TRY_STATUS(check_sum(fleet));
  if (event.kind == "spend.reserved") {
    TRY(const std::optional<int64_t> born, born_of(db, event.agent));
    if (!born) return bad_input("{}: there is no such agent", event.agent);
    TRY(const int64_t twin, db.number("SELECT 1 FROM requests WHERE request = ?", 0, request));
    if (twin != 0) return bad_input("{}: request '{}' is there already", event.agent, request);
    const int64_t micro_usd = count_in(body, "micro_usd"), tokens = count_in(body, "tokens");
    TRY_STATUS(db.run("INSERT INTO requests VALUES(?, ?, ?, ?, ?, 0)", request, event.agent, *born, micro_usd, tokens));
    return add_spending(db, event.agent, *born,
                        {.requests = 1, .reserved_micro_usd = micro_usd, .reserved_tokens = tokens});
  }
  int64_t born = 0;
  Spending more;
  {
    TRY(Rows rows, db.query("SELECT agent, born, micro_usd, tokens, settled FROM requests WHERE request = ?", request));
    TRY(const bool there, rows.next());
    if (!there || rows.text(0) != event.agent)
      return bad_input("{}: has reserved no request '{}'", event.agent, request);
    if (rows.integer(4) != 0) return bad_input("{}: request '{}' is settled already", event.agent, request);
    born = rows.integer(1);
    more = {.micro_usd = count_in(body, "micro_usd"),
            .tokens_in = count_in(body, "tokens_in"),
            .tokens_out = count_in(body, "tokens_out"),
            .reserved_micro_usd = -rows.integer(2),
            .reserved_tokens = -rows.integer(3)};
  }
  TRY_STATUS(db.run("UPDATE requests SET settled = 1 WHERE request = ?", request));
  return add_spending(db, event.agent, born, more);
}

Status apply_proposed(Database& db, const Event& event) {
  TRY(const std::optional<int64_t> born, born_of(db, event.agent));
  if (!born) return bad_input("{}: there is no such agent", event.agent);
  const std::string id = text_in(event.body, "id");
  if (id.empty()) return {};
  TRY(const int64_t twin, find_proposal(db, event.agent, id));
  if (twin != 0) return bad_input("{}: proposal '{}' is there already", event.agent, id);
  return db.run("INSERT INTO proposals VALUES(?, ?, ?, ?)", event.agent, *born, id, event.seq);
}

}  // namespace

Status apply(Database& db, const Event& event) {
  const std::string_view kind = event.kind;
  if (kind.starts_with("message.")) return apply_message(db, event);
  if (kind.starts_with("spend.")) return apply_spending(db, event);
  if (kind == "task.proposed") return apply_proposed(db, event);
  if (kind == "agent.created") return apply_created(db, event);
  if (!kind.starts_with("agent.") && !kind.starts_with("work.")) return {};
  TRY(std::optional<AgentRecord> record, find_record(db, event.agent));
  if (!record || record->removed_ms != 0) return bad_input("{}: there is no such agent", event.agent);
  TRY_STATUS(change_agent(*record, event));
  return write_record(db, *record);
}

Result<std::optional<AgentRow>> find_agent(Database& db, std::string_view name) {
  TRY(std::optional<AgentRecord> record, find_record(db, name));
  if (!record || record->removed_ms != 0) return std::nullopt;
  return std::optional<AgentRow>(std::move(*record));
}

Result<std::vector<AgentRow>> all_agents(Database& db) {
  std::vector<AgentRow> out;
  TRY(Rows rows, db.query(agent_query(false)));
  for (;;) {
    TRY(const bool more, rows.next());
    if (!more) return out;
    out.push_back(agent_of(rows));
  }
}

Result<std::optional<MessageRow>> find_message(Database& db, std::string_view sender, std::string_view id) {
  static const std::string sql =
      fmt::format("SELECT {} FROM messages WHERE sender = ? AND sender_born = ? AND id = ?", kMessageColumns);
  TRY(const std::optional<int64_t> born, born_of(db, sender));
  if (!born) return std::nullopt;
  TRY(Rows rows, db.query(sql, sender, *born, id));
  TRY(const bool there, rows.next());
  return there ? std::optional<MessageRow>(message_of(rows)) : std::nullopt;
}

Result<std::optional<MessageRow>> find_message(Database& db, int64_t number) {
  static const std::string sql = fmt::format("SELECT {} FROM messages WHERE number = ?", kMessageColumns);
  TRY(Rows rows, db.query(sql, number));
  TRY(const bool there, rows.next());
  return there ? std::optional<MessageRow>(message_of(rows)) : std::nullopt;
}

Result<std::vector<MessageRow>> find_inbox(Database& db, std::string_view recipient, int64_t after, bool not_consumed,
                                           int limit) {
  static const std::string all = fmt::format(
      "SELECT {} FROM messages WHERE recipient = ? AND recipient_born = ? AND number > ? ORDER BY number LIMIT ?",
      kMessageColumns);
  static const std::string pending = fmt::format(
      "SELECT {} FROM messages WHERE recipient = ? AND recipient_born = ? AND number > ? AND "
      "consumed_ms = 0 ORDER BY number LIMIT ?",
      kMessageColumns);
  TRY(const std::optional<int64_t> born, born_of(db, recipient));
  if (!born) return std::vector<MessageRow>();
  TRY(Rows rows, db.query(not_consumed ? pending : all, recipient, *born, after, limit));
  return messages_of(std::move(rows));
}

Result<std::vector<MessageRow>> find_messages(Database& db, std::string_view agent, int64_t after, int limit) {
  static const std::string all =
      fmt::format("SELECT {} FROM messages WHERE number > ? ORDER BY number LIMIT ?", kMessageColumns);
  static const std::string of_one = fmt::format(
      "SELECT {} FROM messages WHERE number > ?1 AND (sender = ?3 OR recipient = ?3) ORDER BY number LIMIT ?2",
      kMessageColumns);
  if (agent.empty()) {
    TRY(Rows rows, db.query(all, after, limit));
    return messages_of(std::move(rows));
  }
  TRY(Rows rows, db.query(of_one, after, limit, agent));
  return messages_of(std::move(rows));
}

Result<Spending> find_spending(Database& db, std::string_view agent) {
  Spending out;
  int64_t born = 0;
  if (!agent.empty()) {
    TRY(const std::optional<int64_t> found, born_of(db, agent));
    if (!found) return out;
    born = *found;
  }
  TRY(Rows rows, db.query("SELECT micro_usd, tokens_in, tokens_out, requests, reserved_micro_usd, reserved_tokens "
                          "FROM spending WHERE agent = ? AND born = ?",
                          agent, born));
  TRY(const bool there, rows.next());
  if (there)
    out = {rows.integer(0), rows.integer(1), rows.integer(2), rows.integer(3), rows.integer(4), rows.integer(5)};
  return out;
}

Result<int64_t> find_proposal(Database& db, std::string_view agent, std::string_view id) {
  TRY(const std::optional<int64_t> born, born_of(db, agent));
  if (!born) return 0;
  return db.number("SELECT seq FROM proposals WHERE agent = ? AND born = ? AND id = ?", 0, agent, *born, id);
}

Status compare_projections(Database& found, Database& expected) {
  for (const auto& [table, order] : kProjectionOrders) {
    const std::string sql = fmt::format("SELECT * FROM {} ORDER BY {}", table, order);
    TRY(Rows is, found.query(sql));
    TRY(Rows should, expected.query(sql));
    for (;;) {
      TRY(const bool more, is.next());
      TRY(const bool more_expected, should.next());
      if (more != more_expected)
        return bad_input("{}: table {}: {} than its events say", found.where(), table,
                         more ? "has a row more" : "has a row less");
      if (!more) break;
      for (int i = 0; i < should.columns(); ++i) {
        if (is.is_null(i) != should.is_null(i) || is.text(i) != should.text(i))
          return bad_input("{}: table {}: '{}': {} is '{}', by its events '{}'", found.where(), table, should.text(0),
                           should.name(i), is.text(i), should.text(i));
      }
    }
  }
  return {};
}

}  // namespace onsight::agents::state
