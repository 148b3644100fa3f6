#include "agents/bus/notifier.h"

#include <vector>

namespace onsight::agents::bus {

Notifier::~Notifier() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  news_.notify_all();
  if (thread_.joinable()) thread_.join();
}

uint64_t Notifier::arrivals(std::string_view recipient) {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { watch(); });
  const auto found = arrivals_.find(recipient);
  return (found == arrivals_.end() ? 0 : found->second) + wakes_;
}

void Notifier::wait(std::string_view recipient, uint64_t before, std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(mutex_);
  news_.wait_until(lock, until, [&] {
    const auto found = arrivals_.find(recipient);
    return closing_ || (found == arrivals_.end() ? 0 : found->second) + wakes_ != before;
  });
}

void Notifier::wake_all() {
  {
    const std::lock_guard lock(mutex_);
    ++wakes_;
  }
  news_.notify_all();
}

void Notifier::watch() {
  using std::chrono::milliseconds;
  constexpr int kAtOnce = 1000;
  int64_t seen = -1;  // until it is known what was there, everybody looks for himself
  for (;;) {
    std::vector<std::string> recipients;
    const bool first = seen < 0;
    const Status status = [&]() -> Status {
      if (seen >= 0) TRY_STATUS(store_.wait(seen, milliseconds(250)));
      return store_.read([&](state::Transaction& t) -> Status {
        if (first) seen = t.last_seq();
        if (seen == t.last_seq()) return {};
        TRY(const auto events, t.events({.after = seen, .kind_prefix = "message.queued", .limit = kAtOnce}));
        for (const state::Event& event : events) recipients.push_back(event.agent);
        seen = events.size() == kAtOnce ? events.back().seq : t.last_seq();
        return {};
      });
    }();
    std::unique_lock lock(mutex_);
    if (closing_) return;
    for (const std::string& recipient : recipients) ++arrivals_[recipient];
    if (first && seen >= 0) ++wakes_;
    if (first || !recipients.empty()) news_.notify_all();
    // The store cannot be read: who waits looks for himself now and then, and is told.
    if (!status) news_.wait_for(lock, milliseconds(250), [&] { return closing_; });
  }
}

}  // namespace onsight::agents::bus
