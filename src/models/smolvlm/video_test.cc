#include "models/smolvlm/video.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace onsight::models::smolvlm {
namespace {

// tests/parity/test_video.py holds this table against the live transformers.
TEST(VideoPrompt, FramesAndWordsAreTransformers) {
  const Json rows = load_json(Path(ONSIGHT_SOURCE_DIR) / "tests/golden/video_frames.json").value();
  ASSERT_GE(rows.size(), 200u);
  ImageTokens tokens;
  tokens.fake = "";
  tokens.global = "#";
  for (const Json& row : rows) {
    SCOPED_TRACE(row.dump().substr(0, 100));
    const auto frames = row[0].get<int64_t>();
    const auto fps = row[1].get<double>(), duration = row[2].get<double>();
    const auto got = sample_frames(frames, fps, duration, {row[3].get<double>(), row[4].get<int64_t>()});
    const auto want = row[5].get<std::vector<int64_t>>();
    const bool whole = got.size() <= 1000;  // of the longest, the table has the end and the first line
    EXPECT_EQ(whole ? got : std::vector<int64_t>(got.end() - 3, got.end()), want);
    std::vector<double> times;
    for (const int64_t frame : got) times.push_back(static_cast<double>(frame) / fps);
    const std::string text = video_text(tokens, times, duration, std::ssize(got), 0);
    EXPECT_EQ(whole ? text : text.substr(0, text.find('\n') + 1), row[6].get<std::string>());
  }
}

TEST(VideoPrompt, NumbersInWords) {
  for (const auto& [number, words] :
       std::vector<std::pair<int64_t, std::string>>{{0, "zero"},
                                                    {64, "sixty-four"},
                                                    {100, "one hundred"},
                                                    {115, "one hundred and fifteen"},
                                                    {1001, "one thousand and one"},
                                                    {1234, "one thousand, two hundred and thirty-four"},
                                                    {20000, "twenty thousand"},
                                                    {1000100, "one million, one hundred"}})
    EXPECT_EQ(in_words(number), words);
}

TEST(VideoPrompt, ClockTimes) {
  EXPECT_EQ(clock_time(200), "0:03:20");
  EXPECT_EQ(clock_time(86'400 + 7200), "1 day, 2:00:00");
  EXPECT_EQ(clock_time(3 * 86'400 - 1), "2 days, 23:59:59");
}

class FakeVideo final : public media::Video {
 public:
  explicit FakeVideo(int64_t frames, double fps)
      : facts_{.width = 2, .height = 2, .frames = frames, .fps = fps, .duration = static_cast<double>(frames) / fps} {}
  // Of one that says when each frame is shown, and at last when it ends.
  explicit FakeVideo(std::vector<double> times)
      : FakeVideo(std::ssize(times) - 1, static_cast<double>(times.size() - 1) / times.back()) {
    times_ = std::move(times);
  }
  const std::string& name() const override { return name_; }
  const media::VideoFacts& facts() const override { return facts_; }
  double time_of(int64_t frame) const override {
    return times_.empty() ? static_cast<double>(frame) / facts_.fps : times_.at(static_cast<size_t>(frame));
  }
  Status read(std::span<const int64_t>, const std::function<bool(size_t, media::Image)>&) const override { return {}; }

 private:
  std::string name_ = "clip.mp4";
  media::VideoFacts facts_;
  std::vector<double> times_;
};

TEST(VideoPrompt, EveryFrameOrSoManyOfThem) {
  media::Clip clip = {std::make_shared<FakeVideo>(1000, 0.001), {media::kEveryFrame, media::kHoweverMany}};
  const std::vector<int64_t> all = plan_frames(clip, {}).value().frames;
  ASSERT_EQ(all.size(), 1000u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], static_cast<int64_t>(i));
  clip.options = {media::kEveryFrame, 5};  // also of a long video: from its first to its last
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{0, 249, 499, 749, 999}));
  clip = {std::make_shared<FakeVideo>(600, 10), {2, media::kHoweverMany}};
  EXPECT_EQ(plan_frames(clip, {}).value().frames.size(), 120u);
  clip.options = {media::kEveryFrame, media::kHoweverMany, 20, 20.5};
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{200, 201, 202, 203, 204}));
  clip = {std::make_shared<FakeVideo>(3, 30), {1000, 100'000}};  // a rate that the video does not have
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{0, 1, 2}));
}

TEST(VideoPrompt, APartKeepsTheTimesOfTheWhole) {
  media::Clip clip = {std::make_shared<FakeVideo>(600, 10), {.start = 20, .end = 25}};
  const FramePlan plan = plan_frames(clip, {}).value();
  EXPECT_EQ(plan.frames, (std::vector<int64_t>{200, 212, 224, 236, 249}));
  EXPECT_DOUBLE_EQ(plan.times.front(), 20);
  EXPECT_DOUBLE_EQ(plan.duration, 60);
  clip.options = {.fps = 0.5, .start = 50};
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{500, 524, 549, 574, 599}));
  clip.options = {.max_frames = 1, .end = 0.05};
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{0}));
  clip.options = {.start = 70};
  EXPECT_EQ(plan_frames(clip, {}).error().message,
            "clip.mp4: nothing between 70 and 60 s, expected a part of its 60.00 s");
  clip.options = {.start = 59.95};  // the last frame, which began before
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{599}));
}

TEST(VideoPrompt, APartOfUnevenFramesIsFoundByTheirTimes) {
  std::vector<double> times;
  for (int i = 0; i < 60; ++i) times.push_back(i / 20.0);
  for (int i = 0; i < 12; ++i) times.push_back(3 + 5.0 * i);  // then one in five seconds
  times.push_back(60);
  media::Clip clip = {std::make_shared<FakeVideo>(times), {.start = 30, .end = 50}};
  const FramePlan plan = plan_frames(clip, {}).value();
  EXPECT_EQ(plan.frames, (std::vector<int64_t>{66, 67, 68, 69}));
  EXPECT_EQ(plan.times, (std::vector<double>{33, 38, 43, 48}));
  clip.options = {.start = 34, .end = 36};  // within one frame
  EXPECT_EQ(plan_frames(clip, {}).value().frames, (std::vector<int64_t>{66}));
  clip.options = {};  // the whole one, as the reference has it: frames of equal length
  EXPECT_EQ(plan_frames(clip, {}).value().times.back(), 71 / (72 / 60.0));
}

}  // namespace
}  // namespace onsight::models::smolvlm
