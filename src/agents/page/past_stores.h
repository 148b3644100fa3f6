// PastStores: the store as it was at moments of the past. Each is a replay of the log, so the last ones are kept.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "agents/state/store.h"
#include "base/result.h"

namespace onsight::agents::page {

class PastStores {
 public:
  explicit PastStores(state::Store& store) : store_(store) {}

  // After the event `seq`; one replay at a time. Refuses what has not been yet.
  Result<std::shared_ptr<state::Store>> at(int64_t seq);

 private:
  struct Kept {
    int64_t seq;
    std::shared_ptr<state::Store> store;
  };
  state::Store& store_;
  std::mutex mutex_;
  std::list<Kept> kept_;  // the one that was asked for last comes first
};

}  // namespace onsight::agents::page
