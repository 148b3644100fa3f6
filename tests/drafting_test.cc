// An answer is the same with and without drafting, however it is chosen and whatever the weights are in memory.
#include <gtest/gtest.h>

#include "base/json.h"
#include "engine/engine.h"

namespace onsight {
namespace {

using engine::Quantisation;

TEST(Drafting, ChangesNoAnswer) {
  int accepted = 0, drafted = 0;
  for (const char* name : {"single", "text", "idefics3"})
    for (const auto& [quantisation, kv] :
         {std::pair<Quantisation, std::optional<compute::DType>>{Quantisation::kNone, {}},
          {Quantisation::kQ8, {}},
          {Quantisation::kQ8, compute::DType::kI8},
          {Quantisation::kQ4, {}}}) {
      const Path folder = Path(ONSIGHT_SOURCE_DIR) / "tests/golden" / name;
      const Json golden = load_json(folder / "case.json").value();
      Result<std::unique_ptr<engine::Engine>> loaded = engine::Engine::load(
          folder / "model", {.threads = 2, .text = quantisation, .vision = Quantisation::kNone, .kv = kv});
      ASSERT_TRUE(loaded) << loaded.error().message;
      for (const engine::Sampling& sampling :
           {engine::Sampling{}, {.repetition_penalty = 1.05f}, {.temperature = 0.2f, .top_k = 5, .seed = 3}})
        for (const int max_tokens : {37, 300}) {
          engine::Request request;
          request.messages = {
              engine::user_message({}, "one two three one two three one two " + golden["prompt"].get<std::string>())
                  .value()};
          request.sampling = sampling;
          request.max_tokens = max_tokens;
          std::vector<engine::Reply> replies;
          // The first leaves the state of the prompt, so that all others start alike.
          for (const bool draft : {false, false, true, true, false}) {
            request.draft = draft;
            Result<engine::Reply> reply = (*loaded)->generate(request, {});
            ASSERT_TRUE(reply) << reply.error().message;
            replies.push_back(*std::move(reply));
          }
          replies.erase(replies.begin());
          for (const engine::Reply& reply : replies) {
            EXPECT_EQ(reply.tokens, replies[0].tokens) << name << " " << static_cast<int>(quantisation);
            EXPECT_EQ(reply.text, replies[0].text);
            EXPECT_EQ(reply.finish_reason, replies[0].finish_reason);
            EXPECT_LE(reply.accepted_tokens, reply.drafted_tokens);
            EXPECT_LE(reply.accepted_tokens, reply.completion_tokens);
            drafted += reply.drafted_tokens;
            accepted += reply.accepted_tokens;
          }
          EXPECT_EQ(replies[0].drafted_tokens, 0);
        }
    }
  EXPECT_GT(accepted, 20);            // there was something to get right,
  EXPECT_GT(drafted, accepted + 20);  // and something to get wrong
}

}  // namespace
}  // namespace onsight
