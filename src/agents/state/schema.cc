#include "agents/state/schema.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "agents/state/event_log.h"
#include "agents/state/projection.h"

namespace onsight::agents::state {
namespace {

// What is neither an event nor made of one: signs of life, who does a duty, rates.
constexpr std::string_view kLiveTables = R"sql(
CREATE TABLE heartbeats(agent TEXT PRIMARY KEY, born INTEGER NOT NULL, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE leases(
  duty TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, boot TEXT NOT NULL, until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE buckets(name TEXT PRIMARY KEY, full_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
)sql";

// What takes a file from version i to i + 1.
std::string migration(int i) { return i == 0 ? all_tables() : ""; }

// Larger ones are looked through by verify() alone: every command opens the file.
constexpr uint64_t kCheckedAtOpening = 16 << 20;

Status make_file(const Path& file) {
  // Never opened and closed where it is there: that would drop this process's locks on it.
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  if (errno == EEXIST) {
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error)) return {};
    return bad_input("{}: expected a file", file.string());
  }
  return make_error(ErrorCode::kIo, "{}: cannot be made ({})", file.string(), std::strerror(errno));
}

// Going over to the log does not wait for others as transactions do.
Status use_log(Database& db) {
  for (int tries = 0;; ++tries) {
    Status status;
    {
      auto rows = db.query("PRAGMA journal_mode=WAL");
      if (!rows) return tl::unexpected<Error>(rows.error());
      const auto more = rows->next();
      if (more && *more && rows->text(0) == "wal") return {};
      status = more ? Status(make_error(ErrorCode::kIo, "{}: SQLite's log (WAL) does not work on this file system",
                                        db.where()))
                    : Status(tl::unexpected<Error>(more.error()));
    }
    if (status.error().code != ErrorCode::kBusy || tries == 1000) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

Status bring_up_to_date(Database& db) {
  TRY_STATUS(db.run("BEGIN IMMEDIATE"));
  Status done = [&]() -> Status {
    TRY(const int64_t version, db.number("PRAGMA user_version", 0));  // another process may have been quicker
    for (int64_t i = version; i < kSchemaVersion; ++i) TRY_STATUS(db.script(migration(static_cast<int>(i))));
    if (version == 0) TRY_STATUS(db.script(fmt::format("PRAGMA application_id={}", kApplicationId)));
    if (version < kSchemaVersion) TRY_STATUS(db.script(fmt::format("PRAGMA user_version={}", kSchemaVersion)));
    return db.run("COMMIT");
  }();
  if (!done && db.in_transaction()) (void)db.run("ROLLBACK");
  return done;
}

}  // namespace

std::string all_tables() {
  std::string out(kLogTables);
  out += kProjectionTables;
  out += kLiveTables;
  return out;
}

Status check_pages(Database& db, bool quick) {
  TRY(Rows rows, db.query(quick ? "PRAGMA quick_check(1)" : "PRAGMA integrity_check(1)"));
  TRY(const bool more, rows.next());
  if (more && rows.text(0) == "ok") return {};
  return bad_input("{}: the file is damaged ({}); it was left as it is", db.where(), more ? rows.text(0) : "no answer");
}

Result<Database> open_database(const Path& file) {
  TRY_STATUS(make_file(file));
  TRY(Database db, Database::open(file, {.create = true}));
  db.keep_log_at_close(true);
  TRY_STATUS(db.run("BEGIN"));  // of one moment: another process may be making the tables
  TRY(const int64_t application, db.number("PRAGMA application_id", 0));
  TRY(const int64_t version, db.number("PRAGMA user_version", 0));
  TRY(const int64_t tables, db.number("SELECT count(*) FROM sqlite_schema", 0));
  TRY_STATUS(db.run("COMMIT"));
  if (application != kApplicationId && (application != 0 || (tables > 0 && version == 0)))
    return bad_input("{}: expected the database of this project's agents, found another program's", file.string());
  if (version > kSchemaVersion)
    return bad_input(
        "{}: was written by a later version of onsight (its tables are of version {}, expected at most {})",
        file.string(), version, kSchemaVersion);
  TRY_STATUS(use_log(db));
  if (version < kSchemaVersion) TRY_STATUS(bring_up_to_date(db));
  std::error_code ignored;
  if (std::filesystem::file_size(file, ignored) <= kCheckedAtOpening) TRY_STATUS(check_pages(db, true));
  db.keep_log_at_close(false);
  return db;
}

}  // namespace onsight::agents::state
