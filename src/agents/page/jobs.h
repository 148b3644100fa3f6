// Jobs: what takes long, on threads of its own, so that nothing else waits for it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace onsight::agents::page {

class Jobs {
 public:
  Jobs(int threads, size_t most_waiting);
  ~Jobs();  // what was begun is ended first, what waits is dropped
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  bool post(std::function<void()> job);  // false: too many wait

 private:
  void work();

  const size_t most_waiting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace onsight::agents::page
