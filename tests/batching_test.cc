// Many requests at once: each gets the answer that it would get alone, none waits for ever, and who goes away takes
// nothing along.
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <thread>

#include "engine/engine.h"
#include "media/image.h"

namespace onsight {
namespace {

using engine::Engine;
using engine::Quantisation;
using engine::Reply;
using engine::Request;

using Outcome = Result<Reply>;

// Outcomes in the order in which they come.
class Outcomes {
 public:
  std::function<void(Outcome)> slot(size_t number) {
    return [this, number](Outcome outcome) {
      const std::scoped_lock lock(mutex_);
      ended_.push_back(number);
      outcomes_.emplace(number, std::move(outcome));
      changed_.notify_all();
    };
  }
  void wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return ended_.size() >= count; }));
  }
  const Outcome& operator[](size_t number) const { return outcomes_.at(number); }
  const std::vector<size_t>& order() const { return ended_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<size_t> ended_;
  std::map<size_t, Outcome> outcomes_;
};

class Batching : public testing::TestWithParam<Quantisation> {
 protected:
  static Path golden() { return Path(ONSIGHT_SOURCE_DIR) / "tests/golden/tiles"; }
  std::unique_ptr<Engine> load(engine::Limits limits) const {
    return Engine::load(
               golden() / "model",
               {.threads = 2, .text = GetParam(), .vision = Quantisation::kNone, .cache = {}, .limits = limits})
        .value();
  }
  static Request text(const std::string& words, int max_tokens = 24) {
    Request request;
    request.messages = {{.role = "user", .content = {{engine::Part::Kind::kText, words, nullptr}}}};
    request.max_tokens = max_tokens;
    return request;
  }
  static Request picture(const std::string& words, bool other = false) {
    auto image = media::decode_image(read_file(golden() / "picture0.png").value(), "picture0.png").value();
    if (other) std::reverse(image.rgb.begin(), image.rgb.end());
    Request request = text(words);
    request.messages = {engine::user_message({std::make_shared<const media::Image>(std::move(image))}, words).value()};
    return request;
  }
  static std::jthread start(Engine& engine) {
    return std::jthread([&engine](const std::stop_token& stop) { engine.run(stop); });
  }
};

TEST_P(Batching, EveryAnswerIsTheOneThatItWouldBeAlone) {
  std::vector<Request> requests;
  for (int i = 0; i < 12; ++i) {
    requests.push_back(i % 4 == 3
                           ? picture(std::to_string(i * 37) + " of what?", i % 8 == 3)
                           : text(std::to_string(i * 7919 % 1000) + " and what else is there to be said of 12?"));
    if (i % 3 == 1) requests.back().sampling = {.temperature = 1.5f, .top_p = 0.9f, .seed = static_cast<uint64_t>(i)};
    if (i % 5 == 2)
      requests.back().schema = std::make_shared<const text::JsonSchema>(
          text::JsonSchema::compile(R"({"type": "array", "items": {"type": "integer"}})", "schema").value());
  }
  std::vector<Reply> alone;
  for (const Request& request : requests) alone.push_back(load({})->generate(request, {}).value());

  const auto engine = load({.active = 10});
  const auto worker = start(*engine);
  Outcomes outcomes;
  std::vector<std::string> streamed(requests.size());
  for (size_t i = 0; i < requests.size(); ++i)
    ASSERT_TRUE(engine->submit(
        requests[i], {.on_text = [&streamed, i](std::string_view piece) { streamed[i] += piece; }}, outcomes.slot(i)));
  outcomes.wait_for(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(outcomes[i]) << outcomes[i].error().message;
    EXPECT_EQ(outcomes[i]->tokens, alone[i].tokens) << i;
    EXPECT_EQ(outcomes[i]->text, alone[i].text);
    EXPECT_EQ(streamed[i], alone[i].text);
    EXPECT_EQ(outcomes[i]->finish_reason, alone[i].finish_reason);
  }
  const engine::Activity activity = engine->activity();
  EXPECT_EQ(activity.requests, 12);
  EXPECT_EQ(activity.active + activity.queued, 0);
  EXPECT_GT(activity.memory_bytes, 0);  // what is kept for who begins alike
  EXPECT_LE(activity.memory_bytes, activity.memory_limit_bytes);
}

TEST_P(Batching, APromptThatSeveralShareIsReadOnce) {
  const auto engine = load({.active = 4});
  Outcomes outcomes;
  for (size_t i = 0; i < 4; ++i) {
    Request request = picture("What 12 is this?");
    request.sampling = {.temperature = 1, .seed = i};
    ASSERT_TRUE(engine->submit(request, {}, outcomes.slot(i)));
  }
  const auto worker = start(*engine);
  outcomes.wait_for(4);
  int prompt = 0, reused = 0;
  for (size_t i = 0; i < 4; ++i) {
    prompt += outcomes[i]->prompt_tokens;
    reused += outcomes[i]->reused_tokens;
  }
  EXPECT_GT(reused, prompt / 2);
  EXPECT_EQ(engine->activity().reused_tokens, reused);
}

TEST_P(Batching, WhoGoesAwayFreesTheSlotAtOnce) {
  const auto engine = load({.active = 1});
  const auto worker = start(*engine);
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  Request endless = text("On and on", 400);
  endless.cancelled = gone;
  Outcomes outcomes;
  int pieces = 0;
  ASSERT_TRUE(engine->submit(endless,
                             {.on_text =
                                  [&](std::string_view) {
                                    ++pieces;
                                    *gone = true;
                                  }},
                             outcomes.slot(0)));
  Request waiting = text("Never read");
  waiting.cancelled = gone;
  ASSERT_TRUE(engine->submit(waiting, {}, outcomes.slot(1)));
  ASSERT_TRUE(engine->submit(text("And now?"), {}, outcomes.slot(2)));
  outcomes.wait_for(3);
  EXPECT_LE(pieces, 2);  // the second: what was held back of the first token
  EXPECT_EQ(outcomes[0]->finish_reason, engine::FinishReason::kCancelled);
  EXPECT_EQ(outcomes[1]->finish_reason, engine::FinishReason::kCancelled);
  EXPECT_EQ(outcomes[1]->completion_tokens, 0);
  EXPECT_GT(outcomes[2]->completion_tokens, 0);
  EXPECT_EQ(engine->activity().cancelled, 2);
}

TEST_P(Batching, ClientsTakeTurns) {
  const auto engine = load({.active = 1});
  Outcomes outcomes;
  for (size_t i = 0; i < 6; ++i) {
    Request request = text("Question " + std::to_string(i), 4);
    request.client = i < 5 ? "many" : "one";
    ASSERT_TRUE(engine->submit(request, {}, outcomes.slot(i)));
  }
  const auto worker = start(*engine);
  outcomes.wait_for(6);
  EXPECT_EQ(outcomes.order(), (std::vector<size_t>{0, 5, 1, 2, 3, 4}));
}

TEST_P(Batching, WhatDoesNotFitIsRefusedAndWhatWaitsIsBounded) {
  const int64_t page = [&] {
    const auto engine = load({.active = 1});
    (void)engine->generate(text("A"), {}).value();
    return engine->activity().memory_bytes;
  }();
  const auto engine = load({.active = 8, .queued = 2, .memory_bytes = 3 * page});
  Outcomes outcomes;
  const Status large = engine->submit(text("A", 500), {}, outcomes.slot(9));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::kOutOfMemory) << large.error().message;
  ASSERT_TRUE(engine->submit(text("A"), {}, outcomes.slot(0)));
  ASSERT_TRUE(engine->submit(text("B"), {}, outcomes.slot(1)));
  const Status third = engine->submit(text("C"), {}, outcomes.slot(9));
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::kBusy);
  EXPECT_EQ(engine->activity().refused, 2);
  EXPECT_EQ(engine->activity().queued, 2);
  const auto worker = start(*engine);
  outcomes.wait_for(2);
  EXPECT_LE(engine->activity().memory_bytes, 3 * page);
}

TEST_P(Batching, StoppingEndsWhatIsLeft) {
  const auto engine = load({.active = 2});
  Outcomes outcomes;
  {
    const auto worker = start(*engine);
    for (size_t i = 0; i < 5; ++i) ASSERT_TRUE(engine->submit(text("On and on", 400), {}, outcomes.slot(i)));
  }
  outcomes.wait_for(5);
  for (size_t i = 0; i < 5; ++i) ASSERT_TRUE(outcomes[i]);
  EXPECT_EQ(outcomes[4]->finish_reason, engine::FinishReason::kCancelled);
}

TEST_P(Batching, ProbabilitiesAreTold) {
  Request request = text("What is 12?", 6);
  request.logprobs = 3;
  std::vector<int32_t> told;
  const Reply reply =
      load({})
          ->generate(request,
                     {.on_token =
                          [&](const engine::TokenProbability& token, std::span<const engine::TokenProbability> top) {
                            told.push_back(token.token);
                            ASSERT_EQ(top.size(), 3u);
                            EXPECT_EQ(top[0].token, token.token);  // greedy
                            EXPECT_EQ(top[0].logprob, token.logprob);
                            EXPECT_GE(top[0].logprob, top[1].logprob);
                            EXPECT_LE(std::exp(top[0].logprob) + std::exp(top[1].logprob), 1.0001);
                          }})
          .value();
  EXPECT_EQ(told, reply.tokens);
}

TEST_P(Batching, EstimatesCountWhatIsThenRead) {
  const auto engine = load({});
  const Request request = picture("What 12 is this?");
  const engine::Estimate estimate = engine->estimate(request, 1).value();
  const Reply reply = engine->generate(request, {}).value();
  EXPECT_EQ(estimate.prompt_tokens, reply.prompt_tokens);
  EXPECT_GT(estimate.image_tokens, 0);
  EXPECT_EQ(estimate.image_tokens % estimate.tiles, 0);
  EXPECT_EQ(estimate.max_tokens, 24);
  EXPECT_GT(estimate.first_token_ms, 0);
  EXPECT_GT(estimate.token_ms, 0);
  EXPECT_GE(estimate.memory_bytes, engine->activity().memory_bytes);
}

TEST_P(Batching, EstimatesCountEachAnswer) {
  const auto engine = load({});
  Request request = picture("What 12 is this?");
  const engine::Estimate one = engine->estimate(request, 1).value(), three = engine->estimate(request, 3).value();
  EXPECT_EQ(three.prompt_tokens, one.prompt_tokens);
  EXPECT_EQ(three.tiles, one.tiles);
  EXPECT_GE(three.token_ms, one.token_ms);
  const int64_t answer = (three.memory_bytes - one.memory_bytes) / 2;
  EXPECT_EQ(three.memory_bytes, one.memory_bytes + 2 * answer);
  EXPECT_GT(answer, one.memory_bytes / 10);
  EXPECT_LT(answer, one.memory_bytes);  // the picture is there once
}

TEST_P(Batching, EstimatesRefuseWhatIsRefused) {
  const auto engine = load({});
  Request request = text("What is this?");
  const auto compiled = text::JsonSchema::compile(R"({"type": "object"})", "schema");
  request.schema = std::make_shared<const text::JsonSchema>(*compiled);
  request.max_tokens = 1;
  const auto estimate = engine->estimate(request, 1);
  ASSERT_FALSE(estimate);
  EXPECT_EQ(estimate.error().field, "schema");
  EXPECT_EQ(estimate.error().message, engine->submit(request, {}, [](Outcome) {}).error().message);
}

INSTANTIATE_TEST_SUITE_P(Formats, Batching, testing::Values(Quantisation::kNone, Quantisation::kQ8, Quantisation::kQ4),
                         [](const auto& tested) {
                           return tested.param == Quantisation::kNone ? "none"
                                  : tested.param == Quantisation::kQ8 ? "q8"
                                                                      : "q4";
                         });

}  // namespace
}  // namespace onsight
