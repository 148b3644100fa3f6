#include "server/picture_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

namespace onsight::server {
namespace {

media::Image picture_of(int side) {
  return {side, side, std::vector<uint8_t>(static_cast<size_t>(side) * static_cast<size_t>(side) * 3)};
}

TEST(PictureCache, TheSameBytesAreDecodedOnce) {
  PictureCache pictures(1000);
  int decoded = 0;
  const auto decode = [&]() -> Result<media::Image> { return picture_of(++decoded); };
  const Picture first = *pictures.get("a", decode);
  EXPECT_EQ(*pictures.get("a", decode), first);
  EXPECT_NE(*pictures.get("b", decode), first);
  EXPECT_EQ(decoded, 2);
  EXPECT_EQ(pictures.counts().decoded, 2);
  EXPECT_EQ(pictures.counts().reused, 1);
  EXPECT_EQ(pictures.counts().bytes, 3 + 12);
}

TEST(PictureCache, ForgetsWhatWasNotAskedForLately) {
  PictureCache pictures(30);
  const auto small = [] { return Result<media::Image>(picture_of(2)); };
  const auto must_be_there = []() -> Result<media::Image> { return bad_input("decoded again"); };
  for (const char* name : {"a", "b", "a", "c"}) ASSERT_TRUE(pictures.get(name, small));
  EXPECT_TRUE(pictures.get("a", must_be_there));
  EXPECT_TRUE(pictures.get("c", must_be_there));
  EXPECT_FALSE(pictures.get("b", must_be_there));
  EXPECT_EQ(pictures.counts().bytes, 24);
  // What is too large to be kept takes no room from others.
  ASSERT_TRUE(pictures.get("large", [] { return Result<media::Image>(picture_of(4)); }));
  EXPECT_FALSE(pictures.get("large", must_be_there));
  EXPECT_TRUE(pictures.get("a", must_be_there));
}

TEST(PictureCache, AFailureIsNotKept) {
  PictureCache pictures(1000);
  const auto failed = pictures.get("a", []() -> Result<media::Image> { return bad_input("messages[0]: broken"); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "messages[0]: broken");
  EXPECT_TRUE(pictures.get("a", [] { return Result<media::Image>(picture_of(1)); }));
}

TEST(PictureCache, ThoseWhoAskAtTheSameTimeWaitForOne) {
  PictureCache pictures(1);  // too small to keep it: they share it all the same
  std::atomic<int> decoded = 0;
  std::promise<void> begun, go_on;
  const auto slow = [&]() -> Result<media::Image> {
    ++decoded;
    begun.set_value();
    go_on.get_future().wait();
    return picture_of(2);
  };
  auto first = std::async(std::launch::async, [&] { return *pictures.get("a", slow); });
  begun.get_future().wait();
  std::vector<std::future<Picture>> others;
  for (int i = 0; i < 3; ++i)
    others.push_back(std::async(std::launch::async, [&] {
      return *pictures.get("a", [&]() -> Result<media::Image> {
        ++decoded;
        return picture_of(2);
      });
    }));
  EXPECT_EQ(others[0].wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  go_on.set_value();
  const Picture picture = first.get();
  for (auto& other : others) EXPECT_EQ(other.get(), picture);
  EXPECT_EQ(decoded, 1);
  EXPECT_EQ(pictures.counts().reused, 3);
}

TEST(PictureCache, WhoWaitedForAFailureHasItsOwn) {
  PictureCache pictures(1000);
  std::promise<void> begun, go_on;
  auto first = std::async(std::launch::async, [&] {
    return pictures.get("a", [&]() -> Result<media::Image> {
      begun.set_value();
      go_on.get_future().wait();
      return bad_input("first: broken");
    });
  });
  begun.get_future().wait();
  auto second = std::async(std::launch::async, [&] {
    return pictures.get("a", []() -> Result<media::Image> { return bad_input("second: broken"); });
  });
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  go_on.set_value();
  EXPECT_EQ(first.get().error().message, "first: broken");
  EXPECT_EQ(second.get().error().message, "second: broken");
}

}  // namespace
}  // namespace onsight::server
