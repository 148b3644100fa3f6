#include "agents/page/past_stores.h"

#include <algorithm>

namespace onsight::agents::page {
namespace {

constexpr size_t kMostPasts = 4;  // each holds the log as far as it goes, in memory

}  // namespace

Result<std::shared_ptr<state::Store>> PastStores::at(int64_t seq) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& one) { return one.seq == seq; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front().store;
  }
  int64_t last = 0;
  TRY_STATUS(store_.read([&](state::Transaction& t) -> Status {
    last = t.last_seq();
    return {};
  }));
  if (seq > last) return make_error(ErrorCode::kUsage, "at: expected an event from 0 to {}, found {}", last, seq);
  TRY(std::shared_ptr<state::Store> past, store_.as_of(seq));
  kept_.push_front({seq, std::move(past)});
  if (kept_.size() > kMostPasts) kept_.pop_back();
  return kept_.front().store;
}

}  // namespace onsight::agents::page
