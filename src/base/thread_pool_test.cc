#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

namespace onsight {
namespace {

TEST(ThreadPool, DoesEveryIndexOnceInEveryRound) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count : {0, 1, 2, 7, 1000}) {
      for (int round = 0; round < 50; ++round) {
        std::vector<std::atomic<int>> done(count);
        pool.run(count, [&](int64_t i, int thread) {
          ASSERT_LT(thread, threads);
          done[i]++;
        });
        for (auto& d : done) ASSERT_EQ(d.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, OwnPartInOrderAndTheRestOfAnothersFromItsEnd) {
  ThreadPool pool(2);
  std::vector<int64_t> mine, others;
  std::atomic<bool> is_over{false};
  pool.run(100, [&](int64_t i, int thread) {
    if (thread == 0) {
      mine.push_back(i);
      if (mine.size() == 99) is_over = true;
    } else {
      others.push_back(i);
      while (!is_over) std::this_thread::yield();  // held up until the rest is done
    }
  });
  ASSERT_EQ(mine.size() + others.size(), 100u);
  std::vector<int64_t> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  const size_t rest = 50 - others.size();
  for (size_t i = 0; i < rest; ++i) expected.push_back(99 - static_cast<int64_t>(i));
  EXPECT_EQ(mine, expected);
}

TEST(ThreadPool, WhatIsExpectedNeedNotBeThere) {
  ThreadPool pool(3);
  std::atomic<int> n{0};
  for (int i = 0; i < 200; ++i) {
    auto gone = std::make_unique<std::byte[]>(1 << 20);
    for (int thread = 0; thread < 3; ++thread) pool.expect(thread, {gone.get(), 1 << 20});
    gone.reset();
    pool.run(10, [&](int64_t, int) { n++; });
  }
  EXPECT_EQ(n.load(), 2000);
}

TEST(ThreadPool, WorkersWakeUpAfterSleep) {
  ThreadPool pool(3);
  std::atomic<int> n{0};
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.run(10, [&](int64_t, int) { n++; });
  }
  EXPECT_EQ(n.load(), 30);
}

}  // namespace
}  // namespace onsight
