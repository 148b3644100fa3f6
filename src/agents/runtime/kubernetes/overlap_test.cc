#include "agents/runtime/kubernetes/overlap.h"

#include <gtest/gtest.h>

namespace onsight::agents::runtime::kubernetes {
namespace {

TEST(Overlap, TheLogAndWhatCameMeanwhileAreOne) {
  EXPECT_EQ(joined("", ""), "");
  EXPECT_EQ(joined("abc", ""), "abc");
  EXPECT_EQ(joined("", "abc"), "abc");
  EXPECT_EQ(joined("one\r\ntwo\r\n", "two\r\n$ "), "one\r\ntwo\r\n$ ");
  EXPECT_EQ(joined("one\r\n", "two\r\n"), "one\r\ntwo\r\n");  // the log is not there yet
  EXPECT_EQ(joined("one\r\ntwo\r\n", "one\r\ntwo\r\nthree"), "one\r\ntwo\r\nthree");
  EXPECT_EQ(joined("two", "xone\r\ntwo"), "twoxone\r\ntwo");  // in the middle is not at the beginning
  EXPECT_EQ(joined("xaab", "aabaab"), "xaabaab");
  EXPECT_EQ(joined("abab", "abab"), "abab");
  EXPECT_EQ(joined("ababab", "abab"), "ababab");
}

// Against the plainest way.
TEST(Overlap, AsTheOneThatTriesEachLength) {
  unsigned random = 1;
  for (int round = 0; round < 2000; ++round) {
    std::string log, came;
    const auto next = [&] { return (random = random * 1103515245 + 12345) >> 16; };
    for (unsigned i = next() % 12; i > 0; --i) log += static_cast<char>('a' + next() % 2);
    for (unsigned i = next() % 12; i > 0; --i) came += static_cast<char>('a' + next() % 2);
    size_t same = std::min(log.size(), came.size());
    while (log.substr(log.size() - same) != came.substr(0, same)) --same;
    EXPECT_EQ(joined(log, came), log + came.substr(same)) << log << " " << came;
  }
}

std::string rest(std::string_view delivered, std::string_view log) {
  Delivered told;
  told.add(delivered);
  return std::string(told.rest_of(log));
}

TEST(Overlap, WhatTheLogHasBehindWhatWasPassedOn) {
  EXPECT_EQ(rest("", "one\n"), "one\n");
  EXPECT_EQ(rest("one\n", "one\ntwo\n"), "two\n");
  EXPECT_EQ(rest("one\n$ ", "one\n"), "");  // the prompt is no line yet
  EXPECT_EQ(rest("one\n$ ", "one\n$ ls\nx\n"), "ls\nx\n");
  EXPECT_EQ(rest("one\n$ l", "one\n$ "), "");
  EXPECT_EQ(rest("one\n$ ", "one\nnew\n"), "new\n");
  EXPECT_EQ(rest("one\n", "two\n"), "");  // its place is no longer there
  EXPECT_EQ(rest("tick\n", "tick\ntick\ntick\n"), "tick\ntick\n");
  EXPECT_EQ(rest("$ ", ""), "");
  EXPECT_EQ(rest("$ ", "$ ls\n"), "ls\n");
  EXPECT_EQ(rest("$ ", "new\n"), "new\n");
}

TEST(Overlap, OfMuchTheEndIsSought) {
  std::string all;
  for (int i = 0; i < 40'000; ++i) all += std::to_string(i) + "\n";
  ASSERT_GT(all.size(), 200'000u);
  Delivered told;
  for (size_t at = 0; at < all.size(); at += 1000) told.add(std::string_view(all).substr(at, 1000));
  EXPECT_EQ(told.rest_of(all + "news\n"), "news\n");
  EXPECT_EQ(told.rest_of(all.substr(100'000) + "news\n"), "news\n");  // the log was cut at its beginning
  EXPECT_EQ(told.rest_of("news\n"), "");
}

}  // namespace
}  // namespace onsight::agents::runtime::kubernetes
