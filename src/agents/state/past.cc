#include "agents/state/past.h"

#include <mutex>

#include "agents/state/kinds.h"
#include "agents/state/schema.h"
#include "agents/state/transaction.h"

namespace onsight::agents::state {
namespace {

class PastStore : public Store {
 public:
  explicit PastStore(Database db) : db_(std::move(db)) {}

  Status write(const std::function<Status(Transaction&)>&) override { return refused(); }
  Status read(const std::function<Status(Transaction&)>& work) override {
    const std::lock_guard lock(mutex_);
    TRY(const LogEnd end, log_end(db_));
    StoreTransaction transaction(db_, end, false);
    return work(transaction);
  }
  Status heartbeat(std::string_view) override { return refused(); }
  Result<int64_t> wait(int64_t, std::chrono::milliseconds) override {
    const std::lock_guard lock(mutex_);
    TRY(const LogEnd end, log_end(db_));
    return end.seq;
  }
  Result<Lease> take_lease(std::string_view, std::string_view, int64_t) override {
    return tl::unexpected<Error>(refused().error());
  }
  Status renew_lease(const Lease&, int64_t) override { return refused(); }
  void drop_lease(const Lease&) override {}
  Status verify() override {
    const std::lock_guard lock(mutex_);
    return verify_projections(db_);
  }
  Result<std::unique_ptr<Store>> as_of(int64_t seq) override {
    const std::lock_guard lock(mutex_);
    TRY(Database then, replay(db_, seq));
    return make_past_store(std::move(then));
  }

 private:
  Status refused() const { return make_error(ErrorCode::kUsage, "{}: what has been cannot be changed", db_.where()); }

  std::mutex mutex_;
  Database db_;
};

}  // namespace

Result<Database> replay(Database& log, int64_t seq) {
  TRY(Database out, Database::open(log.where(), {.memory = true}));
  TRY_STATUS(out.script(all_tables()));
  TRY_STATUS(out.run("BEGIN"));
  LogEnd end;
  TRY_STATUS(each_event(log, seq, [&](const Event& event, const std::string& body) -> Status {
    TRY_STATUS(check_event(event));
    TRY_STATUS(apply(out, event));
    return append_event(out, event, body, end);
  }));
  TRY_STATUS(out.run("COMMIT"));
  return out;
}

std::unique_ptr<Store> make_past_store(Database db) { return std::make_unique<PastStore>(std::move(db)); }

Status verify_projections(Database& db) {
  TRY(Database expected, replay(db, INT64_MAX));
  return compare_projections(db, expected);
}

}  // namespace onsight::agents::state
