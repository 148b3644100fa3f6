#include "agents/state/sqlite.h"

#include <sqlite3.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace onsight::agents::state {
namespace {

int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Rows::Rows(Rows&& other) noexcept : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)) {}

Rows::~Rows() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Result<bool> Rows::next() {
  errno = 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return db_->failure(code, errno);
}

int Rows::columns() const { return sqlite3_column_count(statement_); }
std::string_view Rows::name(int column) const { return sqlite3_column_name(statement_, column); }
bool Rows::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
int64_t Rows::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Rows::text(int column) const {
  const unsigned char* bytes = sqlite3_column_text(statement_, column);
  if (bytes == nullptr) return "";
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Result<Database> Database::open(const Path& file, const Options& options) {
  Database out;
  out.where_ = file.string();
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                    (options.create || options.memory ? SQLITE_OPEN_CREATE : 0);
  const std::string name = options.memory ? ":memory:" : file.string();
  if (const int code = sqlite3_open_v2(name.c_str(), &out.db_, flags, nullptr); code != SQLITE_OK)
    return out.failure(code);
  out.waiting_ = std::make_unique<Waiting>(Waiting{options.busy_ms, 0});
  sqlite3_busy_handler(out.db_, &Database::wait, out.waiting_.get());
  sqlite3_db_config(out.db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(out.db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  TRY_STATUS(
      out.script("PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON; PRAGMA cell_size_check=ON; "
                 "PRAGMA temp_store=MEMORY"));
  return out;
}

Database::Database(Database&& other) noexcept { *this = std::move(other); }

Database& Database::operator=(Database&& other) noexcept {
  if (this == &other) return *this;
  close();
  db_ = std::exchange(other.db_, nullptr);
  where_ = std::move(other.where_);
  waiting_ = std::move(other.waiting_);
  statements_ = std::exchange(other.statements_, {});
  return *this;
}

Database::~Database() { close(); }

void Database::close() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  statements_.clear();
  sqlite3_close_v2(db_);
  db_ = nullptr;
}

// Shorter waits than SQLite's own, which are up to 100 ms each: transactions here take one.
int Database::wait(void* waiting, int times) {
  auto& w = *static_cast<Waiting*>(waiting);
  const int64_t now = steady_ms();
  if (times == 0) w.begun_ms = now;
  if (now - w.begun_ms >= w.limit_ms) return 0;
  std::this_thread::sleep_for(std::chrono::microseconds(times < 10 ? 300 : 2000));
  return 1;
}

Result<sqlite3_stmt*> Database::prepared(std::string_view sql) {
  const auto found = statements_.find(std::string(sql));
  if (found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return failure(code);
  statements_.emplace(sql, statement);
  return statement;
}

Status Database::script(const std::string& sql) {
  if (const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr); code != SQLITE_OK)
    return failure(code);
  return {};
}

bool Database::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
int64_t Database::changes() const { return sqlite3_total_changes64(db_); }
void Database::keep_log_at_close(bool keep) {
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep ? 1 : 0, nullptr);
}

void Database::bind(sqlite3_stmt* statement, int index, int64_t value) { sqlite3_bind_int64(statement, index, value); }

void Database::bind(sqlite3_stmt* statement, int index, std::string_view value) {
  const char* bytes = value.data() == nullptr ? "" : value.data();
  sqlite3_bind_text64(statement, index, bytes, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void Database::bind(sqlite3_stmt* statement, int index, const std::optional<int>& value) {
  if (value) {
    sqlite3_bind_int64(statement, index, *value);
  } else {
    sqlite3_bind_null(statement, index);
  }
}

tl::unexpected<Error> Database::failure(int code, int system_error) const {
  // SQLite's own memory of it is empty after a commit that failed.
  const int known = db_ == nullptr ? 0 : sqlite3_system_errno(db_);
  const int error = known != 0 ? known : system_error;
  const std::string said = db_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db_);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return make_error(ErrorCode::kIo, "{}: the disk is full; nothing was written", where_);
    case SQLITE_IOERR:
      if (code == SQLITE_IOERR_NOMEM) return make_error(ErrorCode::kOutOfMemory, "{}: out of memory", where_);
      if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        return make_error(ErrorCode::kIo, "{}: the disk is full ({}); nothing was written", where_,
                          std::strerror(error));
      return make_error(ErrorCode::kIo, "{}: cannot be read or written ({})", where_,
                        error != 0 ? std::strerror(error) : said);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return make_error(ErrorCode::kBusy, "{}: another process has been writing for {} s; try again", where_,
                        waiting_ ? waiting_->limit_ms / 1000 : 0);
    case SQLITE_CORRUPT:
      return bad_input("{}: the file is damaged ({}); it was left as it is", where_, said);
    case SQLITE_NOTADB:
      return bad_input("{}: expected the database of this project's agents, found another kind of file", where_);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return make_error(ErrorCode::kIo, "{}: may only be read; nothing was written", where_);
    case SQLITE_CANTOPEN:
      return make_error(ErrorCode::kIo, "{}: cannot be opened ({})", where_, error != 0 ? std::strerror(error) : said);
    case SQLITE_NOMEM:
      return make_error(ErrorCode::kOutOfMemory, "{}: out of memory", where_);
    case SQLITE_CONSTRAINT:
      return bad_input("{}: {}", where_, said);
    default:
      return make_error(ErrorCode::kIo, "{}: {}", where_, said);
  }
}

}  // namespace onsight::agents::state
