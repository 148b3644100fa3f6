// Scheduler: many requests on one network. Those that are admitted read their pictures and prompts one after the other,
// and write their answers together, a token each a round; a round comes between the ops of a long read, so that no
// answer stands still.
//
//   Scheduler scheduler(network, limits);
//   TRY_STATUS(scheduler.add(std::move(sequence), true));   // any thread
//   while (scheduler.step()) {}                             // one thread
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/kept_states.h"
#include "engine/sequence.h"
#include "engine/speeds.h"

namespace onsight::engine {

// Takes from each client in turn what waits; of one client, in order.
class FairQueue {
 public:
  void push(std::unique_ptr<Sequence> sequence);
  Sequence* front();  // null if empty
  std::unique_ptr<Sequence> pop();
  // Takes out what is cancelled.
  std::vector<std::unique_ptr<Sequence>> take_cancelled();
  size_t size() const;
  template <class Use>
  void for_each(const Use& use) const {
    for (const auto& [client, line] : lines_)
      for (const auto& sequence : line) use(*sequence);
  }

 private:
  using Line = std::deque<std::unique_ptr<Sequence>>;
  std::list<std::pair<std::string, Line>> lines_;  // of clients that wait; the first is next
};

class Scheduler {
 public:
  Scheduler(Network& network, const Limits& limits);

  void keep_in(RunCache kept) { kept_.emplace(std::move(kept)); }
  // `bounded`: refused if the queue is full or memory would never suffice.
  Status add(std::unique_ptr<Sequence> sequence, bool bounded);
  // A tile, a chunk of a prompt, or a round of tokens; false if there is nothing to do.
  bool step();
  // Steps until stopped, and waits while there is nothing to do; then ends what is left.
  void run(const std::stop_token& stop);

  Speeds& speeds() { return speeds_; }
  Activity activity() const;

 private:
  using Pointer = std::unique_ptr<Sequence>;
  void admit();
  void read_some();
  Pointer& next_reader();
  double left_ms(const Sequence& sequence) const;
  bool tiles_wait();  // for the tower
  bool round_is_due() const { return !writing_.empty() && since_round_.ms() >= kRoundEveryMs; }
  void write_round();
  void write(std::span<Sequence* const> part);
  void end(Pointer sequence);
  void trim_states();
  Shared shared();
  std::vector<Sequence*> writers() const;
  void publish();

  // While something is read, answers go on this often.
  static constexpr double kRoundEveryMs = 100;

  Network& network_;
  Limits limits_;
  FeatureCache features_;
  KeptStates states_;
  std::optional<RunCache> kept_;
  Speeds speeds_;
  PassCost pass_cost_;
  std::vector<Pointer> reading_, writing_;
  Stopwatch since_round_;

  mutable std::mutex mutex_;  // of what follows
  std::condition_variable_any wake_;
  FairQueue waiting_;
  int64_t waiting_bytes_ = 0;
  double reading_ms_ = 0;  // left of those being read
  Activity activity_;
};

}  // namespace onsight::engine
