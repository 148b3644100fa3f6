// SQLite, as this room uses it: a connection that keeps its statements, rows as they come, errors as sentences.
//
//   TRY(Database db, Database::open(file, {.create = true}));
//   TRY(Rows rows, db.query("SELECT name FROM agents WHERE phase = ?", "running"));
//   for (;;) {
//     TRY(const bool more, rows.next());
//     if (!more) break;
//     use(rows.text(0));
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/file.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace onsight::agents::state {

// What a statement gives. Lets go of it when it goes; a statement has one at a time.
class Rows {
 public:
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  ~Rows();
  Result<bool> next();  // whether there is another
  int columns() const;
  std::string_view name(int column) const;
  bool is_null(int column) const;
  int64_t integer(int column) const;
  std::string text(int column) const;

 private:
  friend class Database;
  Rows(class Database& db, sqlite3_stmt* statement) : db_(&db), statement_(statement) {}
  class Database* db_;
  sqlite3_stmt* statement_;
};

class Database {
 public:
  struct Options {
    bool create = false;
    bool memory = false;  // `file` is but a name for errors
    int busy_ms = 10'000;
  };
  static Result<Database> open(const Path& file, const Options& options);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  template <class... Values>
  Result<Rows> query(std::string_view sql, const Values&... values) {
    TRY(sqlite3_stmt * statement, prepared(sql));
    int index = 0;
    (bind(statement, ++index, values), ...);
    return Rows(*this, statement);
  }
  template <class... Values>
  Status run(std::string_view sql, const Values&... values) {
    TRY(Rows rows, query(sql, values...));
    TRY_STATUS(rows.next());
    return {};
  }
  // Of the first row, the first column; `otherwise` where there is none or it is null.
  template <class... Values>
  Result<int64_t> number(std::string_view sql, int64_t otherwise, const Values&... values) {
    TRY(Rows rows, query(sql, values...));
    TRY(const bool more, rows.next());
    return more && !rows.is_null(0) ? rows.integer(0) : otherwise;
  }
  // Several statements, without values.
  Status script(const std::string& sql);

  bool in_transaction() const;
  int64_t changes() const;  // rows that this connection has written
  // The last one of a file that closes it writes the log back into it, unless this says not to.
  void keep_log_at_close(bool keep);
  // What SQLite's code means, as a sentence; system_error: errno, where it may say more.
  tl::unexpected<Error> failure(int code, int system_error = 0) const;
  const std::string& where() const { return where_; }

  // For whoever binds what is known only when it runs.
  Result<sqlite3_stmt*> prepared(std::string_view sql);
  static void bind(sqlite3_stmt* statement, int index, int64_t value);
  static void bind(sqlite3_stmt* statement, int index, int value) { bind(statement, index, int64_t{value}); }
  static void bind(sqlite3_stmt* statement, int index, bool value) { bind(statement, index, int64_t{value}); }
  static void bind(sqlite3_stmt* statement, int index, std::string_view value);
  static void bind(sqlite3_stmt* statement, int index, const std::string& value) {
    bind(statement, index, std::string_view(value));
  }
  static void bind(sqlite3_stmt* statement, int index, const char* value) {
    bind(statement, index, std::string_view(value));
  }
  static void bind(sqlite3_stmt* statement, int index, const std::optional<int>& value);
  Rows rows_of(sqlite3_stmt* statement) { return Rows(*this, statement); }

 private:
  struct Waiting {
    int limit_ms = 0;
    int64_t begun_ms = 0;
  };
  Database() = default;
  void close();
  static int wait(void* waiting, int times);

  sqlite3* db_ = nullptr;
  std::string where_;
  std::unique_ptr<Waiting> waiting_;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

}  // namespace onsight::agents::state
