// Store: all that is known of a project's agents, in one SQLite file (WAL, synchronous=FULL): an append-only log of
// events, and tables that are made of it in the same transaction. Nothing that matters lies in memory alone: whoever is
// killed at any moment finds everything again.
//
//   TRY(auto store, state::Store::open(project.database()));
//   TRY_STATUS(store->write([&](state::Transaction& t) -> Status {
//     TRY(auto agent, t.agent("reviewer"));
//     if (!agent) return bad_input("reviewer: there is no such agent");
//     return t.add({.actor = "human", .agent = "reviewer", .kind = "agent.wanted", .body = {{"wanted", "stopped"}}});
//   }));
//
// The kinds of events and what their bodies hold are the table in state/kinds.h; an event of another kind, or without
// what its kind needs, is refused. Times are milliseconds since 1970.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/result.h"

namespace onsight::agents::state {

struct NewEvent {
  std::string actor;       // who did it: "human", "supervisor", "broker", the name of an agent
  std::string agent = {};  // of whom it tells; empty: of the fleet
  std::string kind;
  Json body = Json::object();
};

struct Event : NewEvent {
  int64_t seq = 0, at_ms = 0;
};

// created → provisioning → starting → running → stopping → stopped; error from any of them. All but the last two of
// these go on when the supervisor does.
enum class Phase { kCreated, kProvisioning, kStarting, kRunning, kStopping, kStopped, kError };
enum class Activity { kIdle, kThinking, kWaiting, kBlocked, kCompleted, kLimit, kStalled, kOffline };
enum class Wanted { kRunning, kStopped, kRemoved };
std::string_view name_of(Phase phase);
std::string_view name_of(Activity activity);
std::string_view name_of(Wanted wanted);

struct AgentRow {
  std::string name, role, harness, model, task, branch;
  std::string base_commit;  // that the clone began with
  Wanted wanted = Wanted::kRunning;
  Phase phase = Phase::kCreated;
  Activity activity = Activity::kOffline;
  std::string detail;                         // a sentence: why it is in error, what it waits for
  int64_t generation = 0;                     // counts containers; the container of one is ID-NAME-GENERATION
  bool resume = false;                        // the next container goes on with the harness's session
  bool start_asked = false;                   // wanted running since, and no container was counted yet that answers it
  std::string container, image, placeholder;  // placeholder: the key that it sees
  int uid = 0;                                // that it runs as, and its files belong to
  std::optional<int> exit_code;
  std::string result;                    // of agent.done: "done" or "failed"; empty: it has not said
  std::string activity_by;               // who said the activity: its own name, or "supervisor", who saw it
  std::string collected, collected_wip;  // commits fetched last; wip: what lay in the working tree, not committed
  std::string merged;                    // commit of its branch that was merged last
  std::string backup;                    // ref that keeps what was collected last
  int64_t born = 0;                      // seq of its agent.created: tells it from a former one of its name
  int64_t created_ms = 0, started_ms = 0, stopped_ms = 0, heartbeat_ms = 0;
};

struct MessageRow {
  int64_t number = 0;  // in order of queueing
  std::string id;      // the sender's own: (sender, id) is unique
  std::string sender, recipient, kind, text;
  std::string reply_to;  // number of the message that this one answers; empty: of none
  Json data;             // of a client's own
  int hops = 0;
  int64_t queued_ms = 0, delivered_ms = 0, consumed_ms = 0, answered_ms = 0;  // 0: not yet
  int64_t answered_by = 0;                                                    // number of the answer
};

struct Spending {
  int64_t micro_usd = 0, tokens_in = 0, tokens_out = 0, requests = 0;
  int64_t reserved_micro_usd = 0, reserved_tokens = 0;  // of requests on their way, or lost on it
};

struct EventFilter {
  int64_t after = 0;  // seq
  std::string agent = {}, kind_prefix = {};
  int limit = 1000;
};

// One BEGIN IMMEDIATE … COMMIT, or a consistent view for reading. What add() appended is seen by what reads after it.
class Transaction {
 public:
  virtual ~Transaction() = default;
  virtual Status add(NewEvent event) = 0;  // refused in read()
  virtual int64_t last_seq() = 0;

  virtual Result<std::optional<AgentRow>> agent(std::string_view name) = 0;
  virtual Result<std::vector<AgentRow>> agents() = 0;  // by name; removed ones are not among them
  virtual Result<std::optional<MessageRow>> message(std::string_view sender, std::string_view id) = 0;
  virtual Result<std::optional<MessageRow>> message(int64_t number) = 0;
  // To `recipient` with a number above `after`; not_consumed: only those.
  virtual Result<std::vector<MessageRow>> inbox(std::string_view recipient, int64_t after, bool not_consumed,
                                                int limit) = 0;
  // All with a number above `after`, whoever sent them; `agent`: only those to or from it.
  virtual Result<std::vector<MessageRow>> messages(std::string_view agent, int64_t after, int limit) = 0;
  virtual Result<Spending> spent(std::string_view agent) = 0;  // empty: the fleet, with its removed agents
  virtual Result<std::vector<Event>> events(const EventFilter& filter) = 0;
  // The seq of the agent's task.proposed that carries this id; 0: there is none.
  virtual Result<int64_t> proposal(std::string_view agent, std::string_view id) = 0;

  // Whether the lease with this epoch is the last that was given out: who acts on a duty asks in its transactions.
  virtual Result<bool> held(std::string_view duty, int64_t epoch) = 0;
  // Takes one of `burst` tokens, of which one comes back every `interval_ms`; false: there is none. Kept on disk, and
  // no event. Refused in read().
  virtual Result<bool> take_token(std::string_view bucket, int64_t interval_ms, int burst) = 0;
};

class Store {
 public:
  // Makes the file where there is none. Refuses one of a later version, and one that is damaged, which it leaves as it
  // is.
  static Result<std::unique_ptr<Store>> open(const Path& file);
  virtual ~Store() = default;
  // `work` runs once, maybe on another thread that writes at the same time (they share a commit), and all that it added
  // is on disk when this returns; after an error nothing of it is. Waits up to ten seconds for other processes'
  // transactions. Thread safe; one at a time, and never within another.
  virtual Status write(const std::function<Status(Transaction&)>& work) = 0;
  virtual Status read(const std::function<Status(Transaction&)>& work) = 0;

  // Not events, so that idle agents write no log: the last sign of life.
  virtual Status heartbeat(std::string_view agent) = 0;

  // Waits until there is an event after `seq`, of this process or another (within 100 ms), or `limit` has passed.
  // Returns the last one's seq.
  virtual Result<int64_t> wait(int64_t seq, std::chrono::milliseconds limit) = 0;

  // A lease on a duty ("supervisor", "broker"): at most one holder has it, for `ms` from the last renewal. Taking it
  // counts `epoch` up; held(duty, epoch) within a transaction is how a holder that was thought dead finds out.
  struct Lease {
    std::string duty, holder;
    int64_t epoch = 0;
  };
  virtual Result<Lease> take_lease(std::string_view duty, std::string_view holder,
                                   int64_t ms) = 0;                // kBusy: another has it
  virtual Status renew_lease(const Lease& lease, int64_t ms) = 0;  // kBusy: lost
  virtual void drop_lease(const Lease& lease) = 0;

  // All tables made anew of the events alone, compared with what they hold; a sentence that says the first difference.
  virtual Status verify() = 0;
  // The agents, messages and spending as they were after the event `seq`: a Store in memory, for looking back.
  virtual Result<std::unique_ptr<Store>> as_of(int64_t seq) = 0;
};

// An id that no two calls give: time and randomness, 26 characters of Crockford's base 32, in order of time.
std::string new_id();
int64_t now_ms();

}  // namespace onsight::agents::state
