// What is reused, of the request before or of an earlier run through --cache, changes no number: neither of an answer
// nor of the state that is kept.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/json.h"
#include "engine/engine.h"
#include "media/image.h"

namespace onsight {
namespace {

namespace fs = std::filesystem;

using engine::Engine;
using engine::Quantisation;
using engine::Reply;
using engine::Request;

class Reuse : public testing::TestWithParam<Quantisation> {
 protected:
  Reuse() : folder_(Path(testing::TempDir()) / ("onsight-reuse-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    auto picture = media::decode_image(read_file(golden() / "picture0.png").value(), "picture0.png").value();
    pictures_.push_back(std::make_shared<const media::Image>(picture));
    std::reverse(picture.rgb.begin(), picture.rgb.end());
    pictures_.push_back(std::make_shared<const media::Image>(std::move(picture)));
  }
  ~Reuse() override { fs::remove_all(folder_); }

  static Path golden() { return Path(ONSIGHT_SOURCE_DIR) / "tests/golden/tiles"; }
  std::unique_ptr<Engine> load(const char* cache = nullptr) const {
    return Engine::load(golden() / "model", {.threads = 2,
                                             .text = GetParam(),
                                             .vision = Quantisation::kNone,
                                             .cache = cache ? folder_ / cache : Path()})
        .value();
  }
  static engine::Message said(const char* role, std::string text) {
    return {.role = role, .content = {{engine::Part::Kind::kText, std::move(text), nullptr}}};
  }
  engine::Message asked(size_t picture, std::string_view text) const {
    return engine::user_message({pictures_[picture]}, text).value();
  }
  // More than one chunk of the prefill, and not a whole number of them.
  static engine::Message long_start() {
    std::string text;
    for (int i = 0; i < 180; ++i) text += std::to_string(i * 37 % 100) + " ";
    return said("system", std::move(text));
  }
  static Reply ask(Engine& engine, std::vector<engine::Message> messages) {
    Request request;
    request.messages = std::move(messages);
    request.max_tokens = 30;
    return engine.generate(request, {}).value();
  }
  // What the folder holds of states: name → bytes.
  std::map<std::string, std::string> states(const char* cache) const {
    std::map<std::string, std::string> out;
    for (const auto& file : fs::directory_iterator(folder_ / cache))
      if (file.path().extension() == ".kv") out[file.path().filename()] = read_file(file.path()).value();
    return out;
  }

  Path folder_;
  std::vector<std::shared_ptr<const media::Image>> pictures_;
};

TEST_P(Reuse, AnotherQuestionIsAnsweredAsIfItWereTheFirst) {
  const std::vector<engine::Message> first = {long_start(), asked(0, "What 12 is this?")},
                                     second = {long_start(), asked(0, "And that on the left, is it 21?")};
  const Reply want = ask(*load(), second);
  EXPECT_GT(want.prompt_tokens, 600);
  EXPECT_EQ(want.reused_tokens, 0);

  const auto plain = load();
  ask(*plain, first);
  const Reply same_run = ask(*plain, second);
  EXPECT_EQ(same_run.tokens, want.tokens);
  EXPECT_GT(same_run.reused_tokens, 256);
  EXPECT_LT(same_run.prompt_tokens - same_run.reused_tokens, 50);

  const Reply unkept = ask(*load("a"), first);
  EXPECT_EQ(unkept.reused_tokens, 0);
  EXPECT_EQ(unkept.tokens, ask(*load(), first).tokens);
  ASSERT_EQ(states("a").size(), 1u);
  const auto later = load("a");
  const Reply other_run = ask(*later, second);
  EXPECT_EQ(other_run.tokens, want.tokens);
  EXPECT_EQ(other_run.reused_tokens, same_run.reused_tokens);
  EXPECT_GT(other_run.cached_tiles, 1);
  EXPECT_EQ(ask(*later, first).reused_tokens, other_run.reused_tokens);
  EXPECT_EQ(states("a").size(), 1u);
  ask(*load("b"), second);
  EXPECT_EQ(states("a"), states("b"));  // nothing of the question, and no bit that depends on it
}

TEST_P(Reuse, AConversationKeepsWhatAFreshRunWould) {
  std::vector<engine::Message> messages = {long_start(), asked(0, "What 12 is this?")};
  const auto talking = load("a");
  messages.push_back(said("assistant", ask(*talking, messages).text));
  messages.push_back(asked(1, "And this?"));
  const Reply turn = ask(*talking, messages);
  EXPECT_EQ(turn.reused_tokens, 512);
  const Reply fresh = ask(*load("b"), messages);
  EXPECT_EQ(turn.tokens, fresh.tokens);
  const auto all = states("a"), one = states("b");
  EXPECT_EQ(all.size(), 2u);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(all.at(one.begin()->first), one.begin()->second);

  // The pictures are named though nothing of them was read: the next turn goes on from there.
  const auto resumed = load("b");
  EXPECT_GT(ask(*resumed, messages).cached_tiles, 1);
  messages.push_back(said("assistant", turn.text));
  messages.push_back(said("user", "Again?"));
  EXPECT_GT(ask(*resumed, messages).reused_tokens, turn.prompt_tokens - 20);
}

TEST_P(Reuse, HarmedStatesAreMadeAnew) {
  const std::vector<engine::Message> messages = {long_start(), asked(0, "What 12 is this?")};
  const Reply want = ask(*load("a"), messages);
  const auto whole = states("a");
  const Path file = folder_ / "a" / whole.begin()->first;
  const std::string& bytes = whole.begin()->second;
  for (const std::string& harmed : {std::string(), bytes.substr(1), bytes.substr(0, bytes.size() - 1), bytes + "x",
                                    std::string(bytes.size(), '\xff')}) {
    ASSERT_TRUE(write_file_atomically(file, harmed));
    const Reply reply = ask(*load("a"), messages);
    EXPECT_EQ(reply.tokens, want.tokens);
    EXPECT_EQ(reply.reused_tokens, 0);
    EXPECT_EQ(states("a"), whole);
  }
}

TEST_P(Reuse, WithoutPicturesNothingIsKept) {
  ask(*load("a"), {said("user", "Hello")});
  EXPECT_TRUE(fs::is_empty(folder_ / "a"));
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Reuse, testing::Values(Quantisation::kNone, Quantisation::kQ8, Quantisation::kQ4), [](const auto& format) {
      return std::string(format.param == Quantisation::kQ8 ? "q8" : format.param == Quantisation::kQ4 ? "q4" : "none");
    });

}  // namespace
}  // namespace onsight
