// EventFeed: the log as it grows, to all who listen, as server-sent events whose ids are the events' numbers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agents/state/store.h"
#include "base/result.h"
#include "net/http.h"

namespace onsight::agents::page {

class EventFeed {
 public:
  explicit EventFeed(state::Store& store);
  ~EventFeed();
  EventFeed(const EventFeed&) = delete;
  EventFeed& operator=(const EventFeed&) = delete;

  // What is above `after` already, then what comes, until the client goes. One that is far behind is sent an event
  // "behind" with the number that it goes on from, in place of all that was in between.
  Status add(std::shared_ptr<net::Exchange> exchange, int64_t after);

 private:
  struct Listener {
    std::shared_ptr<net::Exchange> exchange;
    int64_t at = 0;
    std::shared_ptr<std::atomic<bool>> gone = std::make_shared<std::atomic<bool>>(false);
  };
  void run();
  Result<std::vector<state::Event>> events_after(int64_t seq);
  static void send(Listener& listener, const state::Event& event, const std::string& text);

  state::Store& store_;
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::list<Listener> listeners_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace onsight::agents::page
