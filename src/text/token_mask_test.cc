#include "text/token_mask.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/file.h"

namespace onsight::text {
namespace {

// The bytes alone, but for those of `without`; then `words`; then "<end>", special.
Tokenizer tokenizer_of(const std::vector<std::string>& words, const std::string& without = "") {
  nlohmann::json vocabulary = nlohmann::json::object();
  const auto alphabet = [](int byte) {  // as GPT-2 writes bytes
    const auto shown = [](int b) { return (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173; };
    int code = byte;
    if (!shown(byte)) {
      code = 256;
      for (int b = 0; b < byte; ++b) code += !shown(b);
    }
    return code < 0x80 ? std::string(1, static_cast<char>(code))
                       : std::string{static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  };
  for (int byte = 0; byte < 256; ++byte)
    if (without.find(static_cast<char>(byte)) == std::string::npos) vocabulary[alphabet(byte)] = vocabulary.size();
  for (const std::string& word : words) {
    std::string spelled;
    for (const char c : word) spelled += alphabet(static_cast<unsigned char>(c));
    vocabulary[spelled] = vocabulary.size();
  }
  nlohmann::json file;
  file["model"] = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}};
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  file["decoder"] = {{"type", "ByteLevel"}};
  file["added_tokens"] = nlohmann::json::array();
  file["added_tokens"].push_back({{"id", vocabulary.size()},
                                  {"content", "<end>"},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
  auto tokenizer = Tokenizer::from_json(file.dump(), "t");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return *tokenizer;
}

struct Fixture {
  Tokenizer tokenizer;
  int32_t end;
  std::shared_ptr<const TokenTrie> trie;
  explicit Fixture(const std::vector<std::string>& words, const std::string& without = "")
      : tokenizer(tokenizer_of(words, without)), end(*tokenizer.token_to_id("<end>")) {
    const int32_t ends[] = {end};
    // A model's vocabulary may be larger than its tokenizer's.
    trie = std::make_shared<const TokenTrie>(tokenizer, tokenizer.vocabulary_size() + 100, ends);
  }
  Result<TokenMask> mask(const std::string& schema) const {
    return TokenMask::make(JsonSchema::compile(schema, "s").value(), trie);
  }
};

bool is_set(std::span<const uint64_t> bits, int32_t token) {
  return bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1;
}

std::vector<int32_t> list(std::span<const uint64_t> bits) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < bits.size() * 64; ++i)
    if (is_set(bits, static_cast<int32_t>(i))) out.push_back(static_cast<int32_t>(i));
  return out;
}

const std::vector<std::string> kWords = {"{\"", "\":", "\": ",        "\",",   "\"}",   "ab",   "abc",
                                         "12",  "1.5", "{\"total\":", " {",    "true",  "null", "[[",
                                         "]]",  "},{", "\xc3\xa9",    "\xa9x", "total", "\\n",  std::string(40, 'a')};

TEST(TokenMask, AllowsATokenIfAllItsBytesAreAllowed) {
  const Fixture f(kWords);
  for (const std::string schema :
       {R"({"type": "object", "properties": {"total": {"type": "number"}, "ab": {"type": "string"}}})",
        R"({"type": "array", "items": {"type": ["array", "boolean"]}})", R"({"type": "string", "maxLength": 70})",
        R"({"enum": ["abc", "ab", 12, 121]})"}) {
    TokenMask mask = f.mask(schema).value();
    std::mt19937 random(1);
    std::string written;
    for (int i = 0; i < 60 && !mask.ended(); ++i) {
      const std::vector<int32_t> allowed = list(mask.allowed(100'000));
      // Against the automaton, token by token.
      Automaton automaton(JsonSchema::compile(schema, "s")->grammar());
      Automaton::State state = automaton.start();
      for (const char c : written) state = automaton.next(state, static_cast<uint8_t>(c));
      std::vector<int32_t> expected;
      for (int32_t token = 0; token < f.tokenizer.vocabulary_size(); ++token) {
        const std::string_view bytes = f.tokenizer.token_bytes(token);
        Automaton::State at = state;
        for (size_t k = 0; k < bytes.size() && at != Automaton::kDead; ++k)
          at = automaton.next(at, static_cast<uint8_t>(bytes[k]));
        if (token == f.end ? automaton.accepts(state)
                           : at != Automaton::kDead && !bytes.empty() && bytes.size() <= ByteGrammar::kSight)
          expected.push_back(token);
      }
      EXPECT_EQ(allowed, expected) << schema << " " << written;
      const int32_t token = allowed[random() % allowed.size()];
      if (token == f.end) break;
      mask.accept(token);
      written += f.tokenizer.token_bytes(token);
    }
  }
}

// Random answers of every length that is enough, and of one less.
TEST(TokenMask, ComesToAWholeValueInTime) {
  for (const std::string& without : {std::string(), std::string("\x04\xf1\xf2")}) {
    const Fixture f(kWords, without);
    for (
        const std::string schema :
        {"true", R"({"type": "object", "properties": {"total": {"type": "number", "minimum": 0.5, "maximum": 2.25},
                     "ab": {"type": "string", "minLength": 3}}, "required": ["total", "ab"]})",
         R"({"items": {"$ref": "#"}})", R"({"type": "string"})", R"({"type": "integer"})",
         R"({"type": "array", "minItems": 3, "items": {"format": "date"}})",
         R"({"additionalProperties": {"$ref": "#"}, "type": "object"})",
         R"({"properties": {"v": {"enum": ["\u00e9", "abc"]}}, "required": ["v"], "additionalProperties": {"pattern": "^a+b$"}})"}) {
      const JsonSchema compiled = JsonSchema::compile(schema, "s").value();
      TokenMask mask = f.mask(schema).value();
      const int64_t least = mask.least_tokens();
      std::mt19937 random(7);
      for (int run = 0; run < 40; ++run) {
        const int64_t most = least + run / 2 * (run / 2);
        mask.restart();
        std::string written;
        bool ended = false;
        for (int64_t left = most; left > 0 && !mask.ended() && !ended; --left) {
          const std::vector<int32_t> allowed = list(mask.allowed(left));
          ASSERT_FALSE(allowed.empty()) << schema << " " << written;
          const int32_t token = allowed[random() % allowed.size()];
          ended = token == f.end;
          if (ended) break;
          ASSERT_FALSE(f.tokenizer.is_special(token));
          mask.accept(token);
          written += f.tokenizer.token_bytes(token);
        }
        ASSERT_TRUE(mask.complete()) << schema << " " << most << " " << written;
        EXPECT_TRUE(compiled.allows(written)) << schema << " " << written;
        EXPECT_TRUE(nlohmann::json::accept(written)) << written;
      }
    }
  }
}

TEST(TokenMask, CountsTheTokensOfTheShortestValue) {
  const Fixture f(kWords);
  const std::string total = R"({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]})";
  EXPECT_EQ(f.mask(total)->least_tokens(), 3);  // {"total": 0 }
  EXPECT_EQ(f.mask(R"({"type": "null"})")->least_tokens(), 1);
  EXPECT_EQ(f.mask(R"({"type": "string", "minLength": 3, "maxLength": 3})")->least_tokens(), 5);
}

TEST(TokenMask, RefusesWhatTheVocabularyCannotSpell) {
  const Fixture f({}, "\xa9");
  auto refused = f.mask(R"({"const": "\u00e9"})");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("vocabulary"), std::string::npos);
  EXPECT_TRUE(f.mask(R"({"enum": ["\u00e9", "e"]})"));
}

}  // namespace
}  // namespace onsight::text
