#include "compute/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace onsight::compute {
namespace {

bool all(std::span<const std::byte> bytes, int value) {
  return std::all_of(bytes.begin(), bytes.end(), [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

void fill(std::span<std::byte> bytes, int value) {
  std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(value));
}

// Of pages that are smaller than a huge page of the system, some to a block; of tiny ones; and of huge ones.
const KvLayout kLayouts[] = {{.layers = 8, .kv_heads = 2, .head_dim = 64},
                             {1, 1, 16},
                             {1, 2, 10, DType::kI8},
                             {.layers = 32, .kv_heads = 4, .head_dim = 64}};

TEST(KvCache, ForksShareUntilOneWrites) {
  for (const KvLayout& layout : kLayouts) {
    KvCache cache(layout);
    cache.reserve(2 * kKvPage + 1);
    ASSERT_EQ(cache.pages(), 3);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(all(cache.page(i), 0));
      fill(cache.page(i), i + 1);
    }
    KvCache fork = cache;
    fork.truncate(kKvPage + 5);
    ASSERT_EQ(fork.pages(), 2);
    EXPECT_EQ(fork.page(1).data(), cache.page(1).data());
    fork.reserve(4 * kKvPage);
    EXPECT_EQ(fork.page(0).data(), cache.page(0).data());
    EXPECT_NE(fork.page(1).data(), cache.page(1).data());
    EXPECT_TRUE(all(fork.page(1), 2));
    EXPECT_TRUE(all(fork.page(2), 0));
    fill(fork.page(1), 7);
    fill(fork.page(3), 8);
    cache.reserve(5 * kKvPage);
    EXPECT_TRUE(all(cache.page(1), 2));
    EXPECT_TRUE(all(cache.page(2), 3));
    std::set<const std::byte*> pages;
    for (const KvCache* one : {&cache, &fork})
      for (int64_t i = 0; i < one->pages(); ++i) pages.insert(one->page(i).data());
    EXPECT_EQ(pages.size(), 8u);  // one of nine is shared
  }
}

TEST(KvCache, WhatIsForgottenComesBackEmpty) {
  for (const KvLayout& layout : kLayouts) {
    KvCache cache(layout);
    for (int round = 0; round < 3; ++round) {
      cache.reserve(6 * kKvPage);
      for (int64_t i = 1; i < 6; ++i) {
        EXPECT_TRUE(all(cache.page(i), 0));
        fill(cache.page(i), 9);
      }
      cache.truncate(3);
    }
  }
}

}  // namespace
}  // namespace onsight::compute
