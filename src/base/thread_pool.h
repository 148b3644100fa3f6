// ThreadPool: a fixed set of threads that share loops. Each begins with a part of its own, of neighbouring indices, so
// that it reads memory as one stream; who has done its own takes from the end of another's. Workers spin for a moment
// after a loop, so that the loops of one forward pass follow each other without wake-ups, then sleep.
//
//   ThreadPool pool(2);
//   pool.run(rows, [&](int64_t row, int thread) { ... });   // returns when every index has been done
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <thread>
#include <vector>

namespace onsight {

class ThreadPool {
 public:
  // threads counts the caller of run(); 0 means one for each processor this process may use.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(parts_.size()); }
  // Calls task(index, thread) for each index in [0, count), count below 2^31, thread in [0, threads()). One caller at a
  // time; tasks must not throw.
  void run(int64_t count, const std::function<void(int64_t index, int thread)>& task);
  // The index that a thread begins with.
  int64_t first_of(int64_t count, int thread) const { return count * thread / threads(); }

  // Memory that a thread will read in the loop after the next one: while it waits for others then, it brings the first
  // of it into its cache. Never more than a hint; the memory need not be there any more.
  void expect(int thread, std::span<const std::byte> memory) {
    Part& part = parts_[static_cast<size_t>(thread)];
    part.expected.store(memory.data(), std::memory_order_relaxed);
    part.expected_bytes.store(memory.size(), std::memory_order_relaxed);
  }

 private:
  // Tasks of the present loop that nobody has taken, a part for each thread: first index, then the one after the last,
  // in 32 bits each. Who takes one knows that its loop cannot end before, so a worker that comes late to a loop, or to
  // none, does no harm, and none is waited for that has taken nothing.
  struct alignas(64) Part {
    std::atomic<uint64_t> left{0};
    std::atomic<const std::byte*> expected{nullptr};
    std::atomic<size_t> expected_bytes{0};
  };
  void work(int thread);
  uint32_t wait_for_change(const std::atomic<uint32_t>& value, uint32_t old, int thread);
  bool do_task(int thread);
  // An index of a part, or -1 if none is left there.
  static int64_t take(Part& part, bool from_the_end);

  std::vector<std::thread> workers_;
  const std::function<void(int64_t, int)>* task_ = nullptr;
  std::vector<Part> parts_;
  std::atomic<int64_t> undone_{0};
  std::atomic<uint32_t> round_{0};  // a new value wakes the workers
  std::atomic<uint32_t> ends_{0};   // a new value wakes the caller
  std::atomic<bool> stop_{false};
};

// Processors that this process may run on (its affinity mask and, where set, its cgroup's CPU quota are respected), at
// least 1.
int usable_processors();

}  // namespace onsight
