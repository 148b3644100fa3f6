#include "agents/page/event_feed.h"

#include <algorithm>

#include "agents/page/answers.h"
#include "agents/page/views.h"
#include "net/sse.h"

namespace onsight::agents::page {
namespace {

constexpr int kEventsAtOnce = 500;
constexpr int64_t kMostBehind = 5000;
constexpr std::chrono::milliseconds kListenTime{500};  // at most so long nobody sees that the feed ends

std::string sse_of(const state::Event& event) {
  return fmt::format("id: {}\n", event.seq) + net::sse_event(text_of(to_json(event)));
}

}  // namespace

EventFeed::EventFeed(state::Store& store) : store_(store), thread_([this] { run(); }) {}

EventFeed::~EventFeed() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::vector<state::Event>> EventFeed::events_after(int64_t seq) {
  std::vector<state::Event> events;
  TRY_STATUS(store_.read([&](state::Transaction& t) -> Status {
    TRY(events, t.events({.after = seq, .limit = kEventsAtOnce}));
    return {};
  }));
  return events;
}

void EventFeed::send(Listener& listener, const state::Event& event, const std::string& text) {
  if (event.seq <= listener.at) return;
  listener.exchange->write(text);
  listener.at = event.seq;
}

Status EventFeed::add(std::shared_ptr<net::Exchange> exchange, int64_t after) {
  int64_t last = 0;
  TRY_STATUS(store_.read([&](state::Transaction& t) -> Status {
    last = t.last_seq();
    return {};
  }));
  Listener listener{.exchange = std::move(exchange), .at = std::min(after, last)};
  listener.exchange->start_stream(200, net::sse_headers());
  // A client that connects again after this server has gone waits so long.
  listener.exchange->write("retry: 1000\n\n");
  if (last - listener.at > kMostBehind) {
    listener.at = last;
    listener.exchange->write(fmt::format("id: {}\n", last) + net::sse_event(text_of({{"seq", last}}), "behind"));
  }
  listener.exchange->on_gone([gone = listener.gone](net::Gone) { *gone = true; });
  {
    const std::lock_guard lock(mutex_);
    listeners_.push_back(std::move(listener));
  }
  changed_.notify_all();
  return {};
}

void EventFeed::run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    for (auto one = listeners_.begin(); one != listeners_.end();) {
      if (*one->gone) {
        one->exchange->finish();
        one = listeners_.erase(one);
      } else {
        ++one;
      }
    }
    if (listeners_.empty()) {
      changed_.wait(lock, [this] { return ending_ || !listeners_.empty(); });
      continue;
    }
    int64_t low = listeners_.front().at;
    for (const Listener& one : listeners_) low = std::min(low, one.at);
    lock.unlock();
    const auto events = events_after(low);
    std::vector<std::string> texts;
    if (events)
      for (const state::Event& event : *events) texts.push_back(sse_of(event));
    const bool waited = events && events->empty() && store_.wait(low, kListenTime);
    lock.lock();
    // A store that cannot be read now is asked again later.
    if (!events || (events->empty() && !waited)) changed_.wait_for(lock, kListenTime, [this] { return ending_; });
    for (size_t i = 0; i < texts.size(); ++i) {
      for (Listener& one : listeners_)
        if (one.at >= low) send(one, (*events)[i], texts[i]);
    }
  }
  for (Listener& one : listeners_) one.exchange->finish();
}

}  // namespace onsight::agents::page
