#include "base/xxh64.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace onsight {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
uint64_t xxh64(std::string_view text) { return Xxh64().add(bytes(text)).finish(); }

TEST(Xxh64, PublishedVectors) {
  EXPECT_EQ(xxh64(""), 0xef46db3751d8e999u);
  EXPECT_EQ(xxh64("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(xxh64("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(xxh64("Nobody inspects the spammish repetition"), 0xfbcea83c8a378bf1u);
}

TEST(Xxh64, PiecesOfAnySizeGiveTheSame) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (size_t step = 1; step < 80; ++step) {
    Xxh64 sum;
    for (size_t at = 0; at < text.size(); at += step)
      sum.add(bytes(text).subspan(at, std::min(step, text.size() - at)));
    EXPECT_EQ(sum.finish(), xxh64(text)) << step;
  }
}

TEST(Xxh64, EveryBitCounts) {
  const std::string text(100, 'x');
  for (size_t i = 0; i < 8 * text.size(); ++i) {
    std::string other = text;
    other[i / 8] = static_cast<char>(other[i / 8] ^ (1 << i % 8));
    EXPECT_NE(xxh64(other), xxh64(text)) << i;
  }
}

}  // namespace
}  // namespace onsight
