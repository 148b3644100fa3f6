// Duties: who does them, by leases; and the rates of those who ask for something. Times of leases are of the clock that
// goes on while the machine sleeps and cannot be set; a lease of before the machine started anew is nobody's.
#pragma once

#include <string_view>

#include "agents/state/sqlite.h"
#include "agents/state/store.h"

namespace onsight::agents::state {

// Each within a transaction.
Result<Store::Lease> take_duty(Database& db, std::string_view duty, std::string_view holder, int64_t ms);
Status renew_duty(Database& db, const Store::Lease& lease, int64_t ms);
Status drop_duty(Database& db, const Store::Lease& lease);
Result<bool> is_held(Database& db, std::string_view duty, int64_t epoch);
Result<bool> take_from_bucket(Database& db, std::string_view bucket, int64_t interval_ms, int burst);
Status beat(Database& db, std::string_view agent);

}  // namespace onsight::agents::state
