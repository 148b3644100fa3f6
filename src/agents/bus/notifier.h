// Notifier: wakes those who wait for messages when there is one for them, whichever process sent it.
//
//   const uint64_t before = notifier.arrivals("reviewer");
//   // … look into its inbox; nothing there …
//   notifier.wait("reviewer", before, until);
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "agents/state/store.h"

namespace onsight::agents::bus {

class Notifier {
 public:
  explicit Notifier(state::Store& store) : store_(store) {}
  ~Notifier();

  // Counts up whenever a message for `recipient` has come. Looks out for them from the first call on.
  uint64_t arrivals(std::string_view recipient);
  // Until arrivals() is another, the time has come, or wake_all().
  void wait(std::string_view recipient, uint64_t before, std::chrono::steady_clock::time_point until);
  void wake_all();

 private:
  void watch();

  state::Store& store_;
  std::mutex mutex_;
  std::condition_variable news_;
  std::map<std::string, uint64_t, std::less<>> arrivals_;
  uint64_t wakes_ = 0;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace onsight::agents::bus
