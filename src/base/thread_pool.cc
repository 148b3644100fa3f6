#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace onsight {
namespace {

constexpr int kSpins =
    4000;  // some tens of microseconds: longer than the gap between two ops, far shorter than anyone notices

constexpr size_t kMostExpected = 128 << 10;  // bytes: of a second-level cache that has other things in it
constexpr size_t kCacheLine = 64, kLinesAtOnce = 4;
constexpr int kSecondLevel = 2;  // as __builtin_prefetch counts

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int n = 1;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) n = std::max(1, CPU_COUNT(&set));
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0)
    n = std::min(n, std::max(1, static_cast<int>(std::ceil(std::atof(quota.c_str()) / period))));
  return n;
}

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = usable_processors();
  parts_ = std::vector<Part>(static_cast<size_t>(threads));
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Returns when value differs from `old`: spins for a moment, fetching what is expected, then sleeps.
uint32_t ThreadPool::wait_for_change(const std::atomic<uint32_t>& value, uint32_t old, int thread) {
  Part& part = parts_[static_cast<size_t>(thread)];
  const std::byte* next = part.expected.exchange(nullptr, std::memory_order_relaxed);
  const size_t bytes = next ? std::min(part.expected_bytes.load(std::memory_order_relaxed), kMostExpected) : 0;
  const std::byte* const end = next + bytes;
  for (int i = 0; i < kSpins; ++i) {
    uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    if (next < end) {
      for (size_t line = 0; line < kLinesAtOnce; ++line) __builtin_prefetch(next + line * kCacheLine, 0, kSecondLevel);
      next += kLinesAtOnce * kCacheLine;
    } else {
      relax();
    }
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

int64_t ThreadPool::take(Part& part, bool from_the_end) {
  uint64_t left = part.left.load(std::memory_order_acquire), begin, end;
  do {
    begin = left >> 32;
    end = left & UINT32_MAX;
    if (begin >= end) return -1;
  } while (!part.left.compare_exchange_weak(left, from_the_end ? left - 1 : left + (uint64_t{1} << 32),
                                            std::memory_order_acq_rel, std::memory_order_acquire));
  return static_cast<int64_t>(from_the_end ? end - 1 : begin);
}

bool ThreadPool::do_task(int thread) {
  int64_t index = take(parts_[static_cast<size_t>(thread)], false);
  for (int i = 1; index < 0 && i < threads(); ++i)
    index = take(parts_[static_cast<size_t>((thread + i) % threads())], true);
  if (index < 0) return false;
  (*task_)(index, thread);
  if (undone_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    ends_.fetch_add(1, std::memory_order_release);
    ends_.notify_one();
  }
  return true;
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (true) {
    seen = wait_for_change(round_, seen, thread);
    if (stop_.load(std::memory_order_relaxed)) return;
    while (do_task(thread)) {
    }
  }
}

void ThreadPool::run(int64_t count, const std::function<void(int64_t, int)>& task) {
  ONSIGHT_CHECK(count <= INT32_MAX);
  if (count <= 0) return;
  if (workers_.empty() || count == 1) {
    for (int64_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  task_ = &task;
  undone_.store(count, std::memory_order_relaxed);
  const uint32_t end = ends_.load(std::memory_order_relaxed);
  const auto first = [&](int thread) { return static_cast<uint64_t>(first_of(count, thread)); };
  for (int i = 0; i < threads(); ++i)
    parts_[static_cast<size_t>(i)].left.store(first(i) << 32 | first(i + 1), std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  while (do_task(0)) {
  }
  wait_for_change(ends_, end, 0);
}

}  // namespace onsight
