// Past: the projections made anew of a log, as far as an event of it.
//
//   TRY(Database then, replay(db, seq));
#pragma once

#include <memory>

#include "agents/state/sqlite.h"
#include "agents/state/store.h"

namespace onsight::agents::state {

// In memory, with the log up to `seq`. An event that is not as it was written, or against the rules, is an error.
Result<Database> replay(Database& log, int64_t seq);
// What only reads, of such a database.
std::unique_ptr<Store> make_past_store(Database db);
// The rest of verify(): what `db` holds compared with what its events say.
Status verify_projections(Database& db);

}  // namespace onsight::agents::state
