#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "base/json.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

using Ids = std::vector<int32_t>;

const std::string kFolder = std::string(ONSIGHT_SOURCE_DIR) + "/tests/data/text";

const Tokenizer& small() {
  static const Tokenizer tokenizer = Tokenizer::load(kFolder).value();
  return tokenizer;
}

// A tokenizer of a few letters, to be broken.
Json tiny() {
  return parse_json(R"({"added_tokens": [{"id": 5, "content": "<x>", "special": true, "normalized": false}],
    "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, "merges": ["a b", "ab c"]}})",
                    "tiny")
      .value();
}

std::string error_of(const Json& json) {
  auto tokenizer = Tokenizer::from_json(json.dump(), "t.json");
  return tokenizer ? "" : tokenizer.error().message;
}

Json with(const char* pointer, Json value) {
  Json json = tiny();
  json[Json::json_pointer(pointer)] = std::move(value);
  return json;
}

Ids encode(const Json& json, std::string_view text) {
  auto tokenizer = Tokenizer::from_json(json.dump(), "t.json");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return tokenizer->encode(text, SpecialTokens::kParse);
}

TEST(Tokenizer, SpecialTokensTypedAsTextStayText) {
  int32_t image = small().token_to_id("<image>").value();
  Ids parsed = small().encode("See <image> here", SpecialTokens::kParse);
  EXPECT_EQ(std::count(parsed.begin(), parsed.end(), image), 1);
  Ids text = small().encode("See <image> here");
  EXPECT_EQ(std::count(text.begin(), text.end(), image), 0);
  EXPECT_EQ(small().decode(text), "See <image> here");
  EXPECT_EQ(small().decode(parsed), "See  here");
  EXPECT_EQ(small().decode(parsed, false), "See <image> here");
}

TEST(Tokenizer, NoTokenTouchesALiteralRange) {
  std::string text = "<image><image><|im_end|>";
  int32_t image = small().token_to_id("<image>").value(), end = small().token_to_id("<|im_end|>").value();
  auto count = [&](std::vector<ByteRange> literal) {
    Ids ids = small().encode(text, literal);
    EXPECT_EQ(small().decode(ids, false), text);
    return std::count(ids.begin(), ids.end(), image) + 10 * std::count(ids.begin(), ids.end(), end);
  };
  EXPECT_EQ(count({}), 12);
  EXPECT_EQ(count({{0, 7}}), 11);
  EXPECT_EQ(count({{6, 8}}), 10);
  EXPECT_EQ(count({{6, 7}}), 11);
  EXPECT_EQ(count({{3, 3}}), 12);
  EXPECT_EQ(count({{0, 1}, {23, 24}}), 1);
  EXPECT_EQ(count({{0, text.size()}}), 0);
}

TEST(Tokenizer, LiteralRangesFollowRepairedText) {
  // Two bad bytes become six; the range still covers what the user typed, and only that.
  std::string text = "\xff\xff<image><image>";
  std::vector<ByteRange> literal{{0, 9}};
  Ids ids = small().encode(text, literal);
  EXPECT_EQ(ids.back(), small().token_to_id("<image>").value());
  EXPECT_EQ(std::count(ids.begin(), ids.end(), ids.back()), 1);
  EXPECT_EQ(small().decode(ids, false), "\xef\xbf\xbd\xef\xbf\xbd<image><image>");
}

TEST(Tokenizer, PretokenisationCrossesTheBordersOfRanges) {
  std::string text = "Answer: forty-two apples";
  std::vector<ByteRange> literal{{10, 15}};
  EXPECT_EQ(small().encode(text, literal), small().encode(text));
}

TEST(Tokenizer, EveryTextComesBack) {
  for (std::string_view text :
       {"", " ", "It's 1234 o'clock.\r\n\tDone", "日本語 🙂‍ é\u0301", "\x01\x7f", "  x  y", "a\u00a0b"}) {
    EXPECT_EQ(small().decode(small().encode(text), false), text);
    std::string joined;
    for (int32_t id : small().encode(text, SpecialTokens::kParse)) joined += small().token_bytes(id);
    EXPECT_EQ(joined, text);
  }
}

TEST(Tokenizer, InvalidUtf8IsReplacedAsPythonDoes) {
  EXPECT_EQ(replace_invalid_utf8("a\xffz"), "a\xef\xbf\xbdz");
  EXPECT_EQ(replace_invalid_utf8("\xe2\x82"), "\xef\xbf\xbd");
  EXPECT_EQ(replace_invalid_utf8("\xe2\x82\xac"), "\xe2\x82\xac");
  EXPECT_EQ(replace_invalid_utf8("\xf0\x9f\x98z"), "\xef\xbf\xbdz");
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(replace_invalid_utf8("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(small().encode("a\xff"), small().encode("a\xef\xbf\xbd"));
  // Half a character at the end of a stream.
  Ids ids = small().encode("\xf0\x9f\xa5\x9e");
  EXPECT_GT(ids.size(), 1u);
  EXPECT_EQ(small().decode(Ids(ids.begin(), ids.end() - 1)), "\xef\xbf\xbd");
}

TEST(Tokenizer, UnknownIdsAreNothing) {
  EXPECT_EQ(small().token_bytes(-1), "");
  EXPECT_EQ(small().token_bytes(small().vocabulary_size()), "");
  EXPECT_FALSE(small().is_special(-1));
  EXPECT_FALSE(small().is_special(1 << 30));
  EXPECT_EQ(small().decode(Ids{-5, 1 << 30}), "");
  EXPECT_EQ(small().token_to_id("no such token"), std::nullopt);
}

TEST(Tokenizer, MergesInTheirOrder) {
  EXPECT_EQ(encode(tiny(), "abcab<x>c"), (Ids{4, 3, 5, 2}));
  Json pairs = with("/model/merges", Json::array({Json::array({"a", "b"}), Json::array({"ab", "c"})}));
  EXPECT_EQ(encode(pairs, "abcab<x>c"), (Ids{4, 3, 5, 2}));
}

TEST(Tokenizer, UnknownBytesAreDroppedOrUnknown) {
  EXPECT_EQ(encode(tiny(), "azb"), (Ids{3}));
  Json json = with("/model/unk_token", "c");
  EXPECT_EQ(encode(json, "azzb"), (Ids{0, 2, 2, 1}));
  json["model"]["fuse_unk"] = true;
  EXPECT_EQ(encode(json, "azzb"), (Ids{0, 2, 1}));
}

TEST(Tokenizer, IgnoreMergesTakesWholeWords) {
  Json json = with("/model/merges", Json::array());
  EXPECT_EQ(encode(json, "abc"), (Ids{0, 1, 2}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(json, "abc"), (Ids{4}));
}

TEST(Tokenizer, BadFilesAreRefusedByName) {
  auto has = [](const std::string& message, std::string_view part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find("t.json"), 0u) << message;
  };
  has(error_of(with("/model", nullptr)), "model: expected an object");
  has(error_of(with("/model/type", "Unigram")), "'Unigram' is not supported");
  has(error_of(with("/model/vocab", nullptr)), "vocab: expected");
  has(error_of(with("/model/vocab", Json::array({1}))), "vocab: expected");
  has(error_of(with("/model/vocab", Json::object())), "at least one token");
  has(error_of(with("/model/vocab/a", -1)), "token 'a' has the negative id -1");
  has(error_of(with("/model/vocab/a", 10'000'000)), "token 'a' has the id 10000000");
  has(error_of(with("/model/vocab/a", 1.5)), "token 'a' has no whole number");
  has(error_of(with("/model/vocab/a", "1")), "token 'a' has no whole number");
  has(error_of(with("/model/vocab/a", Json::object())), "token 'a' has no whole number");
  has(error_of(with("/model/vocab/a", 1)), "have the same id 1");
  has(error_of(with("/model/merges", 3)), "merges: expected an array");
  has(error_of(with("/model/merges", {1})), "merges[0]: expected a string or a pair");
  has(error_of(with("/model/merges", {"ab"})), "merges[0]: expected two tokens");
  has(error_of(with("/model/merges", {"a b", "a  b"})), "merges[1]: expected two tokens");
  has(error_of(with("/model/merges", {"a b", "b z"})), "merges[1]: token 'z' is not in the vocabulary");
  has(error_of(with("/model/merges", {"a c"})), "merges[0]: token 'ac' is not in the vocabulary");
  has(error_of(with("/model/merges", Json::array({Json::array({"a"})}))), "merges[0]: expected a pair");
  has(error_of(with("/model/merges", Json::array({Json::array({"a", "b", "c"})}))), "merges[0]: expected a pair");
  has(error_of(with("/model/byte_fallback", true)), "byte_fallback: true");
  has(error_of(with("/model/byte_fallback", "no")), "expected true or false");
  has(error_of(with("/model/dropout", 0.1)), "dropout: 0.1");
  has(error_of(with("/model/continuing_subword_prefix", "##")), "continuing_subword_prefix: '##'");
  has(error_of(with("/model/end_of_word_suffix", "</w>")), "end_of_word_suffix: '</w>'");
  has(error_of(with("/model/unk_token", "<unk>")), "unk_token: '<unk>' is not in the vocabulary");
  has(error_of(with("/normalizer", {{"type", "NFC"}})), "normalizer 'NFC' is not supported");
  has(error_of(with("/pre_tokenizer", nullptr)), "pre_tokenizer: expected an object");
  has(error_of(with("/pre_tokenizer/type", "Whitespace")), "'Whitespace' is not supported");
  has(error_of(with("/pre_tokenizer", {{"type", "Digits"}})), "expected a ByteLevel");
  has(error_of(
          with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "[a-z]"}}}, {"behavior", "Isolated"}})),
      "'[a-z]' is not one of those supported");
  has(error_of(with("/post_processor", {{"type", "BertProcessing"}})), "'BertProcessing' is not supported");
  has(error_of(with("/decoder/type", "WordPiece")), "decoder 'WordPiece' is not supported");
  has(error_of(with("/added_tokens", 1)), "added_tokens: expected an array");
  has(error_of(with("/added_tokens/0/id", 9)), "has the id 9, expected 5");
  has(error_of(with("/added_tokens/0/id", nullptr)), "id: missing");
  has(error_of(with("/added_tokens/0/content", nullptr)), "content: expected a string");
  has(error_of(with("/added_tokens/0/content", "")), "content has 0 bytes");
  has(error_of(with("/added_tokens/0/content", std::string(2000, 'a'))), "content has 2000 bytes");
  has(error_of(with("/added_tokens/0/special", 1)), "special: expected true or false");
  Json twice = tiny();
  twice["added_tokens"].push_back(twice["added_tokens"][0]);
  has(error_of(twice), "'<x>' occurs twice");
}

TEST(Tokenizer, BrokenJsonIsRefused) {
  for (std::string_view text : {"", "{", "[]", "1", "{\"model\": {\"vocab\": {\"a\": 1, \"a\": 2}}}",
                                "{\"model\": {\"vocab\": {}, \"vocab\": {}}}", "{\"model\": {\"merges\": [[\"a\""}) {
    auto tokenizer = Tokenizer::from_json(text, "t.json");
    ASSERT_FALSE(tokenizer) << text;
    EXPECT_EQ(tokenizer.error().message.find("t.json: "), 0u) << tokenizer.error().message;
  }
  std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_NE(Tokenizer::from_json(deep, "t.json").error().message.find("nested deeper"), std::string::npos);
  std::string whole = tiny().dump();
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(Tokenizer::from_json(whole.substr(0, size), "t.json"));
}

TEST(Tokenizer, MissingFolderIsNamed) {
  auto tokenizer = Tokenizer::load("/nonexistent/model");
  ASSERT_FALSE(tokenizer);
  EXPECT_NE(tokenizer.error().message.find("/nonexistent/model/tokenizer.json"), std::string::npos);
}

TEST(Tokenizer, OtherFilesAddTokens) {
  Path folder = std::filesystem::temp_directory_path() / fmt::format("onsight_tokenizer_{}", ::getpid());
  std::filesystem::create_directories(folder);
  auto write = [&](const char* name, const Json& json) {
    ASSERT_TRUE(write_file_atomically(folder / name, json.dump()));
  };
  write("tokenizer.json", tiny());
  Json added = {{"5", {{"content", "<x>"}, {"special", false}, {"lstrip", true}}},
                {"6", {{"content", "<y>"}, {"special", true}}}};
  write("tokenizer_config.json", {{"added_tokens_decoder", added}, {"eos_token", "<z>"}, {"image_token", "abc"}});
  Tokenizer tokenizer = Tokenizer::load(folder).value();
  EXPECT_EQ(tokenizer.encode("a <x>b<y><z>abc", SpecialTokens::kParse), (Ids{0, 5, 1, 6, 7, 4}));
  EXPECT_FALSE(tokenizer.is_special(5));
  EXPECT_TRUE(tokenizer.is_special(7));
  EXPECT_TRUE(tokenizer.is_special(4));
  EXPECT_EQ(tokenizer.vocabulary_size(), 8);
  write("tokenizer_config.json", {{"added_tokens_decoder", {{"7", {{"content", "<y>"}}}}}});
  EXPECT_NE(Tokenizer::load(folder).error().message.find("'<y>' has the id 7, expected 6"), std::string::npos);
  write("tokenizer_config.json", {{"added_tokens_decoder", {{"x", {{"content", "<y>"}}}}}});
  EXPECT_NE(Tokenizer::load(folder).error().message.find("expected ids as keys"), std::string::npos);
  write("tokenizer_config.json", {{"eos_token", 3}});
  EXPECT_NE(Tokenizer::load(folder).error().message.find("eos_token: expected a string"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(Tokenizer, TemplateProcessingIsReadButNotApplied) {
  Json single =
      Json::array({{{"SpecialToken", {{"id", "<x>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}});
  Json json =
      with("/post_processor", {{"type", "TemplateProcessing"},
                               {"single", single},
                               {"special_tokens", {{"<x>", {{"id", "<x>"}, {"ids", {5}}, {"tokens", {"<x>"}}}}}}});
  Tokenizer tokenizer = Tokenizer::from_json(json.dump(), "t.json").value();
  EXPECT_EQ(tokenizer.encode("abc"), (Ids{4}));
  EXPECT_EQ(tokenizer.tokens_before().size(), 1u);
  EXPECT_EQ(tokenizer.tokens_before()[0], 5);
  EXPECT_TRUE(tokenizer.tokens_after().empty());
  json["post_processor"]["special_tokens"]["<x>"]["ids"] = {99};
  EXPECT_NE(error_of(json).find("the id 99 is not a token's"), std::string::npos);
}

// A word of 2 MB must not take quadratic time; the bound is wide because tests also run under sanitizers.
TEST(Tokenizer, LongWordsAreNotQuadratic) {
  auto start = std::chrono::steady_clock::now();
  for (const std::string& word :
       {std::string(2'000'000, 'a'), std::string(2'000'000, ' '), std::string(2'000'000, '<')})
    EXPECT_FALSE(small().encode(word, SpecialTokens::kParse).empty());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace onsight::text
