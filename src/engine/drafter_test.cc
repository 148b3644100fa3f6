#include "engine/drafter.h"

#include <gtest/gtest.h>

#include <vector>

namespace onsight::engine {
namespace {

std::vector<int32_t> guess(Drafter& drafter, const std::vector<int32_t>& sequence) {
  const auto tokens = drafter.guess(sequence, 0.4);
  return {tokens.begin(), tokens.end()};
}

TEST(Drafter, GuessesWhatFollowedTheLongestMatch) {
  Drafter drafter;
  EXPECT_TRUE(guess(drafter, {}).empty());
  EXPECT_TRUE(guess(drafter, {1}).empty());
  EXPECT_TRUE(guess(drafter, {1, 2, 3, 1}).empty());  // one token says too little
  EXPECT_EQ(guess(drafter, {1, 2, 3, 1, 2}), (std::vector<int32_t>{3, 1, 2}));
  EXPECT_EQ(guess(drafter, {1, 2, 3, 9, 2, 3, 8, 1, 2, 3}), (std::vector<int32_t>{9, 2, 3, 8, 1, 2, 3}));
  EXPECT_EQ(guess(drafter, {2, 3, 9, 2, 3, 8, 2, 3}), (std::vector<int32_t>{8, 2, 3}));  // the latest of equals
  EXPECT_EQ(guess(drafter, {5, 5, 5}), (std::vector<int32_t>{5}));
}

TEST(Drafter, RunsMoreTheMoreWasRightAndNothingWhenNothingWas) {
  const std::vector<int32_t> sequence = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2};
  Drafter drafter;
  (void)drafter.guess(sequence, 0.4);
  EXPECT_EQ(drafter.paying(), 0);  // nothing is trusted before it was right once
  int before = 0;
  for (int i = 0; i < 30; ++i) {
    drafter.judge(true);
    (void)drafter.guess(sequence, 0.4);
    EXPECT_GE(drafter.paying(), before);
    before = drafter.paying();
  }
  EXPECT_EQ(before, Drafter::kMaxGuess);
  for (int i = 0; i < 10; ++i) drafter.judge(false);
  (void)drafter.guess(sequence, 0.4);
  EXPECT_EQ(drafter.paying(), 0);
  (void)drafter.guess(std::vector<int32_t>{1, 2}, 0.4);
  EXPECT_EQ(drafter.paying(), 0);
}

TEST(Drafter, RowsThatCostMuchMustBeSure) {
  const std::vector<int32_t> sequence = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2};
  const auto paying = [&](double row_ms, size_t answers = 1) {
    Drafter drafter;
    PassCost cost;
    for (int i = 0; i < 30; ++i) {
      cost.took(1, 10);
      cost.took(3, 10 + 2 * row_ms);
    }
    for (int i = 0; i < 5; ++i) {
      (void)drafter.guess(sequence, cost.of_row(answers));
      drafter.judge(true);
    }
    (void)drafter.guess(sequence, cost.of_row(answers));
    return drafter.paying();
  };
  EXPECT_EQ(paying(0.5), Drafter::kMaxGuess);
  EXPECT_GT(paying(3), 0);
  EXPECT_LT(paying(3), Drafter::kMaxGuess);
  EXPECT_EQ(paying(10), 0);
  EXPECT_EQ(paying(0.5, 2), Drafter::kMaxGuess);  // among others it saves less
  EXPECT_LT(paying(0.5, 8), Drafter::kMaxGuess);
  EXPECT_GT(paying(0.5, 8), 0);
}

}  // namespace
}  // namespace onsight::engine
