// Schemas, names and bodies of the Gemini API.
#include <gtest/gtest.h>

#include "server/gemini/names.h"
#include "server/gemini/schema.h"
#include "server/gemini/upload_body.h"
#include "server/service.h"

namespace onsight::server::gemini {
namespace {

std::string translated(std::string_view schema) {
  const auto out = to_json_schema(Json::parse(schema), "s");
  return out ? to_text(*out) : out.error().message;
}

TEST(Schema, TypesAndNames) {
  EXPECT_EQ(translated(R"({"type": "OBJECT", "properties": {"b": {"type": "STRING"}, "a": {"type": "integer"}},
                           "required": ["a"], "property_ordering": ["a", "b"]})"),
            R"({"type":"object","required":["a"],"properties":{"a":{"type":"integer"},"b":{"type":"string"}}})");
  EXPECT_EQ(translated(R"({"type": "ARRAY", "min_items": "1", "maxItems": 3, "items": {"type": "NUMBER"}})"),
            R"({"type":"array","minItems":1,"maxItems":3,"items":{"type":"number"}})");
  EXPECT_EQ(translated(R"({"type": "STRING", "format": "enum", "enum": ["x"], "title": "5", "example": 1})"),
            R"({"type":"string","enum":["x"],"title":"5"})");
  EXPECT_EQ(translated(R"({"any_of": [{"type": "NULL"}, {"type": "BOOLEAN"}]})"),
            R"({"anyOf":[{"type":"null"},{"type":"boolean"}]})");
  EXPECT_EQ(translated(R"({"type": "INTEGER", "format": "int32", "minimum": 0})"),
            R"({"type":"integer","minimum":0,"maximum":2147483647})");
}

TEST(Schema, Nullable) {
  EXPECT_EQ(translated(R"({"type": "STRING", "nullable": true, "enum": ["x"]})"),
            R"({"anyOf":[{"type":"string","enum":["x"]},{"type":"null"}]})");
  const auto schema = to_json_schema(
      Json::parse(R"({"defs": {"n": {"type": "NUMBER"}}, "nullable": true, "type": "ARRAY", "maxItems": "2",
                      "items": {"ref": "#/$defs/n"}})"),
      "s");
  ASSERT_TRUE(schema);
  const auto compiled = compile_schema(*schema, "s");
  ASSERT_TRUE(compiled) << compiled.error().message;
  EXPECT_TRUE((*compiled)->allows("null"));
  EXPECT_TRUE((*compiled)->allows("[1,2]"));
  EXPECT_FALSE((*compiled)->allows("[1,2,3]"));
}

TEST(Schema, Refuses) {
  EXPECT_EQ(translated(R"({"type": "TEXT"})"),
            "s.type: expected STRING, NUMBER, INTEGER, BOOLEAN, ARRAY, OBJECT or NULL, found 'TEXT'");
  EXPECT_EQ(translated(R"({"properties": {"a": 5}})"), "s.properties.a: expected a schema, found number");
  EXPECT_EQ(translated(R"({"type": "OBJECT", "properties": {}, "propertyOrdering": ["a"]})"),
            "s.propertyOrdering: expected names of the properties, found \"a\"");
  EXPECT_EQ(translated(R"({"anyOf": {}})"), "s.anyOf: expected a list of schemas");
}

TEST(Names, CamelCase) {
  EXPECT_EQ(camel_case("system_instruction"), "systemInstruction");
  EXPECT_EQ(camel_case("topK"), "topK");
  EXPECT_EQ(camel_case("_response_json_schema"), "_responseJsonSchema");
  Json json = Json::parse(R"({"a_b": [{"c_d": 1}], "response_schema": {"properties": {"x_y": {}}}})");
  ASSERT_TRUE(use_camel_case(json));
  EXPECT_EQ(to_text(json), R"({"aB":[{"cD":1}],"responseSchema":{"properties":{"x_y":{}}}})");
  json = Json::parse(R"({"a": {"top_k": 1, "topK": 2}})");
  EXPECT_EQ(use_camel_case(json).error().message, "a.topK: expected it once, found topK beside it");
  json = Json::parse(R"({"a_b": [0, {"c": [[{"top_k": 1, "topK": 2}]]}]})");
  EXPECT_EQ(use_camel_case(json).error().message, "aB[1].c[0][0].topK: expected it once, found topK beside it");
}

TEST(Names, NumbersInQuotes) {
  Json json = Json::parse(R"({"topK": "5", "a": [{"temperature": "-1e2"}], "seed": "18446744073709551615", "text": "7",
                              "fps": "x", "topP": " 1", "responseSchema": {"seed": "5"}})");
  unquote_numbers(json);
  EXPECT_EQ(to_text(json), R"({"topK":5,"a":[{"temperature":-100.0}],"seed":18446744073709551615,"text":"7","fps":"x",)"
                           R"("topP":" 1","responseSchema":{"seed":"5"}})");
}

TEST(UploadBody, Splits) {
  const auto split = split_upload(
      "--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\ncontent-type: "
      "image/png\r\n\r\na\r\n\r\nb\r\n--x--\r\n",
      "multipart/related; charset=utf-8; boundary=\"x\"");
  ASSERT_TRUE(split) << split.error().message;
  EXPECT_EQ(split->metadata, "{}");
  EXPECT_EQ(split->type, "image/png");
  EXPECT_EQ(split->bytes, "a\r\n\r\nb");
  EXPECT_EQ(split_upload("--x\r\n\r\n{}\r\n--x\r\n\r\n\r\n--x--", "m; boundary=x")->bytes, "");
}

TEST(UploadBody, RefusesHalves) {
  const std::string whole = "--x\r\nA: b\r\n\r\n{}\r\n--x\r\nC: d\r\n\r\nab\r\n--x--";
  ASSERT_TRUE(split_upload(whole, "m;boundary=x"));
  for (size_t length = 0; length + 2 < whole.size(); ++length)
    EXPECT_FALSE(split_upload(whole.substr(0, length), "m;boundary=x")) << length;
  EXPECT_FALSE(split_upload(whole, "multipart/related"));
  EXPECT_FALSE(split_upload(whole, "multipart/related; boundary="));
  EXPECT_FALSE(split_upload(whole, "multipart/related; boundary=y"));
}

}  // namespace
}  // namespace onsight::server::gemini
