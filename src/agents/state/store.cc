#include "agents/state/store.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "agents/state/duties.h"
#include "agents/state/past.h"
#include "agents/state/schema.h"
#include "agents/state/transaction.h"
#include "base/check.h"

namespace onsight::agents::state {
namespace {

using Work = std::function<Status(StoreTransaction&)>;

thread_local bool g_in_write = false;

// What the work of others throws must not leave a transaction open.
Status run_guarded(const Work& work, StoreTransaction& transaction) {
  try {
    return work(transaction);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "out of memory");
  } catch (const std::exception& e) {
    return make_error(ErrorCode::kIo, "internal error in a transaction: {}", e.what());
  }
}

// Writers that come while another's commit goes to the disk are written with one commit, by whoever is first of them.
class Writer {
 public:
  explicit Writer(Database db) : db_(std::move(db)) {}

  // The seq of the last event then.
  Result<int64_t> write(const Work& work) {
    ONSIGHT_CHECK(!g_in_write);
    Job job{&work};
    std::unique_lock lock(mutex_);
    waiting_.push_back(&job);
    job.ready.wait(lock, [&] { return job.done || (!leading_ && waiting_.front() == &job); });
    if (!job.done) {
      leading_ = true;
      std::vector<Job*> group(waiting_.begin(), waiting_.begin() + std::min<ptrdiff_t>(std::ssize(waiting_), kGroup));
      waiting_.erase(waiting_.begin(), waiting_.begin() + std::ssize(group));
      lock.unlock();
      g_in_write = true;
      write_group(group);
      g_in_write = false;
      lock.lock();
      leading_ = false;
      for (Job* one : group) {
        one->done = true;
        if (one != &job) one->ready.notify_one();
      }
      if (!waiting_.empty()) waiting_.front()->ready.notify_one();
    }
    if (!job.result) return tl::unexpected<Error>(job.result.error());
    return job.seq;
  }

 private:
  struct Job {
    const Work* work;
    Status result = {};
    int64_t seq = 0;
    bool done = false;
    std::condition_variable ready = {};
  };
  static constexpr ptrdiff_t kGroup = 256;

  void write_group(const std::vector<Job*>& group) {
    Status status = db_.run("BEGIN IMMEDIATE");
    LogEnd end;
    if (status) {
      auto found = log_end(db_);
      if (found) {
        end = *found;
      } else {
        status = tl::unexpected<Error>(found.error());
      }
    }
    for (size_t i = 0; status && i < group.size(); ++i) status = run_one(*group[i], group.size() > 1, end);
    if (status && db_.in_transaction()) status = db_.run("COMMIT");
    if (!status && db_.in_transaction()) (void)db_.run("ROLLBACK");
    for (Job* job : group) {
      if (!status && job->result) job->result = status;
      job->seq = end.seq;
    }
  }

  // An error of the work is in its job; one that ends the whole transaction is returned.
  Status run_one(Job& job, bool among_others, LogEnd& end) {
    if (among_others) TRY_STATUS(db_.run("SAVEPOINT one"));
    StoreTransaction transaction(db_, end, true);
    job.result = run_guarded(*job.work, transaction);
    if (job.result && transaction.broken()) job.result = tl::unexpected<Error>(*transaction.broken());
    if (job.result) {
      end = transaction.end();
      return among_others ? db_.run("RELEASE one") : Status();
    }
    if (!db_.in_transaction()) return job.result;  // SQLite has taken back everything: the disk is full, say
    if (!among_others) return db_.run("ROLLBACK");
    TRY_STATUS(db_.run("ROLLBACK TO one"));
    return db_.run("RELEASE one");
  }

  Database db_;
  std::mutex mutex_;
  bool leading_ = false;
  std::deque<Job*> waiting_;
};

// Connections that read, each by one thread at a time.
class Readers {
 public:
  explicit Readers(Path file) : file_(std::move(file)) {}

  Status read(const Work& work) {
    TRY(Database db, take());
    Status status = db.run("BEGIN");
    if (status) {
      auto end = log_end(db);
      if (end) {
        StoreTransaction transaction(db, *end, false);
        status = run_guarded(work, transaction);
      } else {
        status = tl::unexpected<Error>(end.error());
      }
    }
    if (!db.in_transaction() || db.run("ROLLBACK")) give(std::move(db));
    return status;
  }

 private:
  static constexpr size_t kKept = 8;

  Result<Database> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        Database db = std::move(idle_.back());
        idle_.pop_back();
        return db;
      }
    }
    return Database::open(file_, {});
  }
  void give(Database db) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kKept) idle_.push_back(std::move(db));
  }

  const Path file_;
  std::mutex mutex_;
  std::vector<Database> idle_;
};

// Knows the last event. Commits of this process are told to it; those of others it finds by looking, as long as
// somebody waits.
class Watch {
 public:
  explicit Watch(Database db) : db_(std::move(db)) {}
  ~Watch() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    news_.notify_all();
    someone_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void tell(int64_t seq) {
    {
      const std::lock_guard lock(mutex_);
      if (seq <= last_) return;
      last_ = seq;
    }
    news_.notify_all();
  }

  Result<int64_t> wait(int64_t seq, std::chrono::milliseconds limit) {
    const auto until = std::chrono::steady_clock::now() + limit;
    TRY_STATUS(look());
    std::unique_lock lock(mutex_);
    if (last_ > seq || limit.count() <= 0) return last_;
    if (!thread_.joinable()) thread_ = std::thread([this] { watch(); });
    ++waiting_;
    someone_.notify_one();
    news_.wait_until(lock, until, [&] { return last_ > seq || closing_; });
    --waiting_;
    return last_;
  }

 private:
  static constexpr std::chrono::milliseconds kInterval{40};

  Status look() {
    int64_t seq = 0;
    {
      const std::lock_guard lock(look_mutex_);
      TRY(const int64_t version, db_.number("PRAGMA data_version", 0));
      if (version == version_) return {};
      TRY(seq, db_.number("SELECT max(seq) FROM events", 0));
      version_ = version;
    }
    tell(seq);
    return {};
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (!closing_) {
      if (waiting_ == 0) {
        someone_.wait(lock, [&] { return waiting_ > 0 || closing_; });
        continue;
      }
      someone_.wait_for(lock, kInterval, [&] { return closing_; });
      lock.unlock();
      (void)look();  // an error of one moment: the next look finds what this one did not
      lock.lock();
    }
  }

  std::mutex look_mutex_;
  Database db_;
  int64_t version_ = -1;

  std::mutex mutex_;
  std::condition_variable news_, someone_;
  int64_t last_ = 0;
  int waiting_ = 0;
  bool closing_ = false;
  std::thread thread_;
};

class FileStore : public Store {
 public:
  FileStore(Database writer, Database watcher, const Path& file)
      : writer_(std::move(writer)), readers_(file), watch_(std::move(watcher)) {}

  Status write(const std::function<Status(Transaction&)>& work) override {
    return write_with([&](StoreTransaction& t) { return work(t); });
  }
  Status read(const std::function<Status(Transaction&)>& work) override {
    return readers_.read([&](StoreTransaction& t) { return work(t); });
  }
  Status heartbeat(std::string_view agent) override {
    return write_with([&](StoreTransaction& t) { return beat(t.db(), agent); });
  }
  Result<int64_t> wait(int64_t seq, std::chrono::milliseconds limit) override { return watch_.wait(seq, limit); }

  Result<Lease> take_lease(std::string_view duty, std::string_view holder, int64_t ms) override {
    Lease lease;
    TRY_STATUS(write_with([&](StoreTransaction& t) -> Status {
      TRY(lease, take_duty(t.db(), duty, holder, ms));
      return {};
    }));
    return lease;
  }
  Status renew_lease(const Lease& lease, int64_t ms) override {
    return write_with([&](StoreTransaction& t) { return renew_duty(t.db(), lease, ms); });
  }
  void drop_lease(const Lease& lease) override {
    (void)write_with([&](StoreTransaction& t) { return drop_duty(t.db(), lease); });  // else it runs out
  }

  Status verify() override {
    return readers_.read([](StoreTransaction& t) -> Status {
      TRY_STATUS(check_pages(t.db(), false));
      return verify_projections(t.db());
    });
  }
  Result<std::unique_ptr<Store>> as_of(int64_t seq) override {
    std::unique_ptr<Store> past;
    TRY_STATUS(readers_.read([&](StoreTransaction& t) -> Status {
      TRY(Database then, replay(t.db(), seq));
      past = make_past_store(std::move(then));
      return {};
    }));
    return past;
  }

 private:
  Status write_with(const Work& work) {
    TRY(const int64_t seq, writer_.write(work));
    watch_.tell(seq);
    return {};
  }

  Writer writer_;
  Readers readers_;
  Watch watch_;
};

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const Path& file) {
  TRY(Database writer, open_database(file));
  TRY(Database watcher, Database::open(file, {}));
  return std::make_unique<FileStore>(std::move(writer), std::move(watcher), file);
}

}  // namespace onsight::agents::state
