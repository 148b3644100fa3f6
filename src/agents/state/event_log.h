// The log itself: events as they lie in the table, each with a checksum over itself and the one before it, so that a
// byte that changed anywhere is found.
//
//   TRY(LogEnd end, log_end(db));
//   TRY_STATUS(append_event(db, event, text, end));   // end is the new one then
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/state/sqlite.h"
#include "agents/state/store.h"

namespace onsight::agents::state {

extern const std::string_view kLogTables;

struct LogEnd {
  int64_t seq = 0, at_ms = 0;
  uint64_t chain = 0;
};

Result<LogEnd> log_end(Database& db);
// `body` is event.body as text. Sets event.seq and event.at_ms, which never goes back.
void stamp_event(Event& event, const LogEnd& end);
Status append_event(Database& db, const Event& event, std::string_view body, LogEnd& end);
Result<std::vector<Event>> find_events(Database& db, const EventFilter& filter);
// All of them up to `last`, in order, checked: a gap or a byte that changed is an error.
using OnEvent = std::function<Status(const Event& event, const std::string& body)>;
Status each_event(Database& db, int64_t last, const OnEvent& use);

}  // namespace onsight::agents::state
