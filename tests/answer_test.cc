// What an engine says of an answer and of a request that it refuses, as programs rely on it.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "text/utf8.h"

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

// The tiny model's answers are full of bytes that are no UTF-8, and of characters in pieces.
TEST(Answer, TheTokensThatAreToldJoinToTheText) {
  const auto engine = load();
  Request request;
  request.max_tokens = 60;
  request.logprobs = 1;
  const auto check = [&](const std::string& stop) {
    request.stop = stop.empty() ? std::vector<std::string>() : std::vector{stop};
    std::string joined, streamed;
    const auto reply = engine->generate(
        request, {.on_text = [&](std::string_view piece) { streamed += piece; },
                  .on_token =
                      [&](const engine::TokenProbability& token, std::span<const engine::TokenProbability> top) {
                        EXPECT_FALSE(token.bytes.empty());
                        EXPECT_EQ(top.size(), 1u);
                        joined += token.bytes;
                      }});
    EXPECT_TRUE(reply);
    EXPECT_EQ(text::replace_invalid_utf8(joined), reply->text) << stop;
    EXPECT_EQ(streamed, reply->text);
    return reply->text;
  };
  int cut = 0;
  for (const char* question : {"Hello", "What is 2 + 14?", "Äöü 你好 🙂", "a", " "}) {
    request.messages = {said("user", question)};
    const std::string whole = check("");
    for (size_t at = 0; at < whole.size(); at += 5) {
      // No whole character: it can be found nowhere, or in the middle of several tokens.
      const std::string stop = whole.substr(at, 1 + at % 4);
      if (text::utf8_sequence(stop) <= 0) continue;
      cut += check(stop).size() < whole.size();
    }
  }
  EXPECT_GT(cut, 10);
}

// Where the one space in front is a part of a token, or a token.
TEST(Answer, TheSpaceInFrontIsNotTold) {
  const auto engine = Engine::load(Path(ONSIGHT_SOURCE_DIR) / "models/onsight-nano", {.threads = 2}).value();
  Request request;
  request.max_tokens = 12;
  request.logprobs = 2;
  for (const char* question : {"Hello", "Hi", "What is this?"}) {
    request.messages = {said("user", question)};
    std::string joined;
    const auto reply = engine->generate(
        request, {.on_token = [&](const engine::TokenProbability& token, auto) { joined += token.bytes; }});
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(joined, reply->text);
    request.stop = {reply->text.substr(0, 1)};
    const auto none = engine->generate(
        request, {.on_token = [&](const engine::TokenProbability&, auto) { ADD_FAILURE() << question; }});
    EXPECT_EQ(none->text, "");
    request.stop.clear();
  }
}

}  // namespace
}  // namespace onsight
