#include "agents/state/duties.h"

#include <algorithm>
#include <ctime>

namespace onsight::agents::state {
namespace {

int64_t since_boot_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

const std::string& this_boot() {
  static const std::string id = read_file("/proc/sys/kernel/random/boot_id", 64).value_or("unknown");
  return id;
}

}  // namespace

Result<Store::Lease> take_duty(Database& db, std::string_view duty, std::string_view holder, int64_t ms) {
  int64_t epoch = 0;
  {
    TRY(Rows rows, db.query("SELECT holder, epoch, boot, until_ms FROM leases WHERE duty = ?", duty));
    TRY(const bool there, rows.next());
    if (there) {
      epoch = rows.integer(1);
      if (rows.text(2) == this_boot() && rows.integer(3) > since_boot_ms())
        return make_error(ErrorCode::kBusy, "{}: {} does it already", duty, rows.text(0));
    }
  }
  TRY_STATUS(db.run("INSERT OR REPLACE INTO leases VALUES(?, ?, ?, ?, ?)", duty, holder, epoch + 1, this_boot(),
                    since_boot_ms() + ms));
  return Store::Lease{std::string(duty), std::string(holder), epoch + 1};
}

Result<bool> is_held(Database& db, std::string_view duty, int64_t epoch) {
  TRY(const int64_t last, db.number("SELECT epoch FROM leases WHERE duty = ?", 0, duty));
  return last == epoch && epoch > 0;
}

Status renew_duty(Database& db, const Store::Lease& lease, int64_t ms) {
  TRY(const bool held, is_held(db, lease.duty, lease.epoch));
  if (!held) return make_error(ErrorCode::kBusy, "{}: another has taken it over", lease.duty);
  return db.run("UPDATE leases SET boot = ?, until_ms = ? WHERE duty = ?", this_boot(), since_boot_ms() + ms,
                lease.duty);
}

Status drop_duty(Database& db, const Store::Lease& lease) {
  return db.run("UPDATE leases SET until_ms = 0 WHERE duty = ? AND epoch = ?", lease.duty, lease.epoch);
}

// `full_ms` is when the bucket will be full again: one number is all that there is to know of it.
Result<bool> take_from_bucket(Database& db, std::string_view bucket, int64_t interval_ms, int burst) {
  const int64_t now = now_ms(), most = interval_ms * burst;
  TRY(int64_t full, db.number("SELECT full_ms FROM buckets WHERE name = ?", 0, bucket));
  full = std::clamp(full, now, now + most);  // a clock that was set back keeps nobody waiting for longer
  if (full + interval_ms - now > most) return false;
  TRY_STATUS(db.run("INSERT OR REPLACE INTO buckets VALUES(?, ?)", bucket, full + interval_ms));
  return true;
}

Status beat(Database& db, std::string_view agent) {
  const int64_t before = db.changes();
  TRY_STATUS(
      db.run("INSERT INTO heartbeats SELECT name, born, ?1 FROM agents WHERE name = ?2 AND removed_ms = 0 "
             "ON CONFLICT(agent) DO UPDATE SET born = excluded.born, at_ms = excluded.at_ms",
             now_ms(), agent));
  if (db.changes() == before) return bad_input("{}: there is no such agent", agent);
  return {};
}

}  // namespace onsight::agents::state
