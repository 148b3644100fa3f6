#include "agents/state/event_log.h"

#include <algorithm>
#include <span>

#include "base/xxh64.h"

namespace onsight::agents::state {

const std::string_view kLogTables = R"sql(
CREATE TABLE events(
  seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, agent TEXT NOT NULL, kind TEXT NOT NULL,
  body TEXT NOT NULL, chain INTEGER NOT NULL
) STRICT;
CREATE INDEX events_of ON events(agent, seq) WHERE agent <> '';
CREATE TRIGGER events_append BEFORE INSERT ON events
  WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM events)
  BEGIN SELECT RAISE(ABORT, 'events are only appended'); END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
)sql";

namespace {

uint64_t chain_of(const Event& event, std::string_view body, uint64_t before) {
  Xxh64 sum;
  const auto number = [&](uint64_t value) { sum.add(std::as_bytes(std::span(&value, 1))); };
  number(before);
  number(static_cast<uint64_t>(event.seq));
  number(static_cast<uint64_t>(event.at_ms));
  for (const std::string_view text :
       {std::string_view(event.actor), std::string_view(event.agent), std::string_view(event.kind), body}) {
    number(text.size());
    sum.add(std::as_bytes(std::span(text)));
  }
  return sum.finish();
}

// Of a row with seq, at_ms, actor, agent, kind, body; the body is left out.
Event columns_of(const Rows& rows) {
  Event event;
  event.seq = rows.integer(0);
  event.at_ms = rows.integer(1);
  event.actor = rows.text(2);
  event.agent = rows.text(3);
  event.kind = rows.text(4);
  return event;
}

}  // namespace

Result<LogEnd> log_end(Database& db) {
  TRY(Rows rows, db.query("SELECT seq, at_ms, chain FROM events ORDER BY seq DESC LIMIT 1"));
  TRY(const bool there, rows.next());
  if (!there) return LogEnd{};
  return LogEnd{rows.integer(0), rows.integer(1), static_cast<uint64_t>(rows.integer(2))};
}

void stamp_event(Event& event, const LogEnd& end) {
  event.seq = end.seq + 1;
  event.at_ms = std::max(now_ms(), end.at_ms);
}

Status append_event(Database& db, const Event& event, std::string_view body, LogEnd& end) {
  const uint64_t chain = chain_of(event, body, end.chain);
  TRY_STATUS(db.run("INSERT INTO events VALUES(?, ?, ?, ?, ?, ?, ?)", event.seq, event.at_ms, event.actor, event.agent,
                    event.kind, body, static_cast<int64_t>(chain)));
  end = {event.seq, event.at_ms, chain};
  return {};
}

Result<std::vector<Event>> find_events(Database& db, const EventFilter& filter) {
  const int limit = std::clamp(filter.limit, 0, 100'000);
  std::vector<Event> out;
  TRY(Rows rows,
      filter.agent.empty()
          ? db.query("SELECT seq, at_ms, actor, agent, kind, body FROM events WHERE seq > ?1 AND "
                     "substr(kind, 1, length(?2)) = ?2 ORDER BY seq LIMIT ?3",
                     filter.after, filter.kind_prefix, limit)
          : db.query("SELECT seq, at_ms, actor, agent, kind, body FROM events WHERE agent = ?4 AND agent <> '' AND "
                     "seq > ?1 AND substr(kind, 1, length(?2)) = ?2 ORDER BY seq LIMIT ?3",
                     filter.after, filter.kind_prefix, limit, filter.agent));
  for (;;) {
    TRY(const bool more, rows.next());
    if (!more) return out;
    Event event = columns_of(rows);
    TRY(event.body, parse_json(rows.text(5), fmt::format("{}: event {}", db.where(), event.seq)));
    out.push_back(std::move(event));
  }
}

Status each_event(Database& db, int64_t last, const OnEvent& use) {
  LogEnd end;
  TRY(Rows rows,
      db.query("SELECT seq, at_ms, actor, agent, kind, body, chain FROM events WHERE seq <= ? ORDER BY seq", last));
  for (;;) {
    TRY(const bool more, rows.next());
    if (!more) return {};
    const std::string body = rows.text(5);
    Event event = columns_of(rows);
    const uint64_t chain = chain_of(event, body, end.chain);
    if (event.seq != end.seq + 1 || chain != static_cast<uint64_t>(rows.integer(6)))
      return bad_input("{}: the file is damaged (event {} is not as it was written); it was left as it is", db.where(),
                       end.seq + 1);
    TRY(event.body, parse_json(body, fmt::format("{}: event {}", db.where(), event.seq)));
    end = {event.seq, event.at_ms, chain};
    TRY_STATUS(use(event, body));
  }
}

}  // namespace onsight::agents::state
