// What an engine says of an answer and of a request that it refuses, as programs rely on it.
#include <gtest/gtest.h>

#include "engine/engine.h"

namespace onsight {
namespace {

using engine::Engine;
using engine::Message;
using engine::Request;

std::unique_ptr<Engine> load() {
  return Engine::load(Path(ONSIGHT_SOURCE_DIR) / "tests/golden/text/model", {.threads = 2}).value();
}

Message said(const char* role, std::string text) { return {.role = role, .content = {{.text = std::move(text)}}}; }

TEST(Answer, ATurnWithoutPartsIsAnEmptyText) {
  const auto engine = load();
  Request request;
  request.max_tokens = 8;
  const auto tokens_of = [&](Message turn) {
    request.messages = {said("user", "Hello"), std::move(turn), said("user", "And?")};
    const auto reply = engine->generate(request, {});
    return reply ? std::pair(reply->prompt_tokens, reply->tokens) : std::pair(0, std::vector<int32_t>());
  };
  for (const char* role : {"assistant", "user", "system"}) {
    const auto empty = tokens_of({.role = role});
    EXPECT_GT(empty.first, 0);
    EXPECT_EQ(empty, tokens_of(said(role, "")));
  }
}

TEST(Answer, APromptThatIsTooLongSaysSo) {
  const auto engine = load();
  Request request;
  std::string text;
  for (int i = 0; i < engine->info().context_length; ++i) text += "word ";
  request.messages = {said("user", text)};
  const auto reply = engine->generate(request, {});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().field, "messages");
  EXPECT_EQ(reply.error().reason, "context_length_exceeded");
}

}  // namespace
}  // namespace onsight
