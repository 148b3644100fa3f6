// Schema: the tables of a project's database, and how a file comes to have them.
//
//   TRY(Database db, open_database(project.database()));
#pragma once

#include <string>

#include "agents/state/sqlite.h"

namespace onsight::agents::state {

constexpr int kApplicationId = 0x6f6e7361;  // "onsa", in the file's header
constexpr int kSchemaVersion = 1;

// Makes the file where there is none, for this user alone, brings one of an earlier version up to this one's, and
// refuses what is not ours, is of a later version or damaged, which it leaves as it is. Each step is one transaction.
Result<Database> open_database(const Path& file);
// All tables of this version.
std::string all_tables();
// Every page of the file; the first fault as a sentence.
Status check_pages(Database& db, bool quick);

}  // namespace onsight::agents::state
