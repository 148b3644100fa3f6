#include "text/json_schema.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace onsight::text {
namespace {

JsonSchema compiled(const std::string& json) {
  auto schema = JsonSchema::compile(json, "s");
  EXPECT_TRUE(schema) << json << ": " << (schema ? "" : schema.error().message);
  return schema ? *schema : JsonSchema::compile("true", "s").value();
}

struct Case {
  const char* schema;
  std::vector<const char*> allowed, refused;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const JsonSchema schema = compiled(c.schema);
    for (const char* value : c.allowed) {
      EXPECT_TRUE(schema.allows(value)) << c.schema << "  " << value;
      EXPECT_TRUE(nlohmann::json::accept(value)) << value;
    }
    for (const char* value : c.refused) EXPECT_FALSE(schema.allows(value)) << c.schema << "  " << value;
  }
}

std::string schema_refusal(const std::string& json) {
  auto schema = JsonSchema::compile(json, "s");
  return schema ? "" : schema.error().message;
}

TEST(JsonSchema, AnyValue) {
  for (const char* schema : {"true", "{}", R"({"title": "x", "$comment": "y", "default": 1, "x-more": []})"})
    check({{schema,
            {"null", "true", "false", "0", "-1.5", "\"\"", "[]", "{}", "[1,2, 3]", R"({"a":1, "b": [{}]})", " 1",
             R"("\"\\\b\f\n\r\t/")", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "12.25"},
            {"",
             " ",
             "  1",
             "1 ",
             "nul",
             "[1,]",
             "{\"a\"}",
             "{\"a\":}",
             "{,}",
             "\"a",
             "01",
             "-0",
             "1.",
             ".5",
             "1e5",
             "+1",
             "[1 ,2]",
             "[1,  2]",
             "[\n1]",
             "\"\t\"",
             "\"\xc0\x80\"",
             "\"\xed\xa0\x80\"",
             "\"\xff\"",
             "\"\xc3\"",
             R"("\u0041")",
             R"("\/")",
             R"("\x")"}}});
  EXPECT_TRUE(compiled("{}").allows("[[[[1]]]]"));
  EXPECT_FALSE(compiled("{}").allows("[[[[[1]]]]]"));  // nesting is bounded
}

TEST(JsonSchema, Types) {
  check({{R"({"type": "null"})", {"null"}, {"0", "\"\"", "false"}},
         {R"({"type": "boolean"})", {"true", "false"}, {"null", "0", "\"true\""}},
         {R"({"type": "integer"})", {"0", "7", "-12", "123456789012345"}, {"1.0", "1.5", "\"1\"", "1234567890123456"}},
         {R"({"type": "number"})",
          {"0", "7", "-0.5", "3.14", "1.0"},
          {"\"1\"", "-0", "-0.0", "1e3", "1.000000000000000"}},
         {R"({"type": "string"})", {"\"\"", "\"a\""}, {"a", "1"}},
         {R"({"type": "array"})", {"[]", "[1,\"a\"]"}, {"{}"}},
         {R"({"type": "object"})", {"{}", R"({"a":1})"}, {"[]"}},
         {R"({"type": ["integer", "null"]})", {"1", "null"}, {"1.5", "\"\""}},
         {R"({"type": "string", "nullable": true})", {"null", "\"x\""}, {"1"}},
         {R"({"type": "object", "properties": {"a": false}})", {"{}"}, {R"({"a":1})"}}});
}

TEST(JsonSchema, NumberRanges) {
  check({{R"({"type": "integer", "minimum": 3, "maximum": 120})",
          {"3", "4", "9", "10", "57", "99", "100", "119", "120"},
          {"2", "0", "121", "130", "200", "1000", "-5", "03"}},
         {R"({"type": "integer", "minimum": -15, "maximum": 5})",
          {"-15", "-9", "-1", "0", "5"},
          {"-16", "-20", "6", "10", "-0"}},
         {R"({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10})", {"1", "9"}, {"0", "10", "-1", "-0"}},
         {R"({"minimum": 1.1})", {"1.1", "1.10", "1.11", "2", "15.5"}, {"1.0", "1.09", "1", "0", "-3"}},
         {R"({"maximum": 3.0})", {"3", "3.0", "2.99", "-100"}, {"3.1", "3.01", "4", "10"}},
         {R"({"exclusiveMinimum": 1.1})", {"1.11", "2", "1.2"}, {"1.1", "1.10", "1"}},
         {R"({"exclusiveMaximum": 3.0})", {"2.2", "2.999", "0"}, {"3", "3.0", "3.5"}},
         {R"({"minimum": -2.5, "maximum": -0.5})",
          {"-2.5", "-2.4", "-1", "-0.5", "-0.50", "-0.51"},
          {"-2.51", "-3", "-0.4", "0", "1", "-0.49"}},
         {R"({"minimum": 0.1, "maximum": 0.2})",
          {"0.1", "0.15", "0.2", "0.20"},
          {"0", "0.09", "0.21", "1", "0.3", "0.201"}},
         {R"({"type": "integer", "minimum": 0.5, "maximum": 2.5})", {"1", "2"}, {"0", "3"}},
         {R"({"type": "integer", "minimum": 100000000000000000})",
          {"100000000000000000", "999999999999999999"},
          {"99999999999999999"}},
         {R"({"type": "number", "minimum": -1e300, "maximum": 1e300})", {"0", "1.5", "-99"}, {}},
         {R"({"minimum": 1e-7, "maximum": 1})", {"0.0000001", "0.5", "1"}, {"0.00000009", "0"}},
         {R"({"multipleOf": 7, "minimum": 10, "maximum": 100})", {"14", "21", "98"}, {"7", "15", "100", "105", "14.0"}},
         {R"({"type": "integer", "multipleOf": 5})", {"0", "5", "-10", "12345"}, {"1", "-7", "12"}},
         {R"({"allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "minimum": 1, "maximum": 30})",
          {"12", "24"},
          {"4", "6", "18"}}});
  // Every integer of every small range, against arithmetic.
  for (int low = -12; low <= 12; low += 3)
    for (int high = low; high <= 112; high += 37) {
      const JsonSchema schema =
          compiled(nlohmann::json({{"type", "integer"}, {"minimum", low}, {"maximum", high}}).dump());
      for (int i = -130; i <= 130; ++i)
        EXPECT_EQ(schema.allows(std::to_string(i)), low <= i && i <= high) << low << " " << high << " " << i;
    }
}

TEST(JsonSchema, DecimalRangesAgainstArithmetic) {
  for (int low = -250; low <= 250; low += 83)
    for (int width : {0, 1, 7, 95, 312}) {
      const auto text = [](int hundredths) {
        return fmt::format("{}{}.{:02}", hundredths < 0 ? "-" : "", std::abs(hundredths) / 100,
                           std::abs(hundredths) % 100);
      };
      for (const bool open : {false, true}) {
        const JsonSchema schema = compiled(fmt::format(R"({{"type": ["number", "null"], "{}": {}, "{}": {}}})",
                                                       open ? "exclusiveMinimum" : "minimum", text(low),
                                                       open ? "exclusiveMaximum" : "maximum", text(low + width)));
        for (int i = -700; i <= 700; ++i) {
          const bool inside = open ? low < i && i < low + width : low <= i && i <= low + width;
          EXPECT_EQ(schema.allows(text(i)), inside && text(i) != "-0.00") << low << " " << width << " " << text(i);
        }
      }
    }
}

TEST(JsonSchema, Strings) {
  check({{R"({"type": "string", "minLength": 2, "maxLength": 3})",
          {"\"ab\"", "\"abc\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", R"("\n\"")"},
          {"\"a\"", "\"abcd\"", "\"\"", R"("\n")"}},
         {R"({"maxLength": 0})", {"\"\""}, {"\" \""}},
         {R"({"minLength": 1.0})", {"\"a\""}, {"\"\""}},
         {R"({"type": "string", "maxLength": 100})", {"\"abc\""}, {}},
         {R"({"pattern": "^a*$"})", {"\"\"", "\"a\"", "\"aaa\""}, {"\"b\"", "\"ab\""}},
         {R"({"pattern": "a+"})", {"\"xxaayy\"", "\"a\""}, {"\"\"", "\"xyz\""}},
         {R"({"pattern": "^[A-Z]{2}-\\d{3,4}$"})",
          {"\"AB-123\"", "\"AB-1234\""},
          {"\"AB-12\"", "\"AB-12345\"", "\"aB-123\""}},
         {R"({"pattern": "^(?:yes|no)$"})", {"\"yes\"", "\"no\""}, {"\"yess\"", "\"\"", "\"n\""}},
         {R"({"pattern": "^(a|^b)c"})", {"\"ac\"", "\"bcx\""}, {"\"cc\""}},
         {R"({"pattern": "x$|^y"})", {"\"ax\"", "\"yb\""}, {"\"xa\"", "\"by\""}},
         {R"({"pattern": "^[^\\s]+$"})", {"\"a\xc3\xa9\""}, {"\"a b\"", "\"\xc2\xa0\"", "\"\""}},
         {R"({"pattern": "^\\W$"})", {"\"-\""}, {"\"a\"", "\"\xc3\xa9\""}},
         {R"({"pattern": "^[^\\W]$"})", {"\"a\"", "\"_\""}, {"\"-\"", "\"\xc3\xa9\""}},
         {R"({"pattern": "^\\u00e9\\x41[\\u{1F600}-\\u{1F610}]$"})",
          {"\"\xc3\xa9"
           "A\xf0\x9f\x98\x80\""},
          {"\"eA\""}},
         {R"({"pattern": "^\\D\\S\\.$"})", {"\"ab.\""}, {"\"1b.\"", "\"a .\"", "\"abc\""}},
         {R"({"pattern": "^.$"})", {"\"\xf0\x9f\x98\x80\"", R"("\t")"}, {R"("\n")", "\"ab\""}},
         {R"({"pattern": "^[a-c]+$", "minLength": 2, "maxLength": 4})",
          {"\"ab\"", "\"abca\""},
          {"\"a\"", "\"abcab\"", "\"ad\""}},
         {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}], "maxLength": 3})",
          {"\"ab\"", "\"bxa\""},
          {"\"a\"", "\"b\"", "\"axxb\""}},
         {R"({"pattern": "^\"\\\\$"})", {R"("\"\\")"}, {}}});
}

TEST(JsonSchema, Formats) {
  check({{R"({"format": "date"})",
          {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\"", "\"0001-01-01\"", "\"2023-04-30\"", "\"0004-02-29\""},
          {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"2023-13-01\"", "\"2023-00-10\"", "\"2023-01-00\"",
           "\"0000-01-01\"", "\"0000-02-29\"", "\"2023-1-1\"", "\"2023-01-32\"", "\"2100-02-29\""}},
         {R"({"format": "time"})",
          {"\"23:59:59Z\"", "\"00:00:00.123456+23:59\"", "\"08:30:06-08:00\""},
          {"\"24:00:00Z\"", "\"23:60:00Z\"", "\"12:00:00\"", "\"12:00Z\"", "\"12:00:60Z\"", "\"12:00:00+24:00\""}},
         {R"({"format": "date-time"})",
          {"\"2024-02-29T23:59:59Z\"", "\"1963-06-19T08:30:06.283185Z\""},
          {"\"2024-02-30T23:59:59Z\"", "\"2024-02-29 23:59:59Z\"", "\"2024-02-29\""}},
         {R"({"format": "uuid"})",
          {"\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\"", "\"2EB8AA08-AA98-11EA-B4AA-73B441D16380\""},
          {"\"2eb8aa08-aa98-11ea-b4aa-73b441d1638\"", "\"2eb8aa08aa9811eab4aa73b441d16380\""}},
         {R"({"format": "date", "pattern": "^2024"})", {"\"2024-01-01\""}, {"\"2023-01-01\""}}});
  // Every day of some years, against the calendar.
  const JsonSchema schema = compiled(R"({"format": "date"})");
  for (const int year : {1900, 2000, 2023, 2024, 9999})
    for (int month = 1; month <= 12; ++month)
      for (int day = 1; day <= 31; ++day) {
        const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        const int last = month == 2                                              ? (leap ? 29 : 28)
                         : month == 4 || month == 6 || month == 9 || month == 11 ? 30
                                                                                 : 31;
        EXPECT_EQ(schema.allows(fmt::format("\"{:04}-{:02}-{:02}\"", year, month, day)), day <= last);
      }
}

TEST(JsonSchema, EnumAndConst) {
  check({{R"({"enum": ["a", 1, null, [1, {"b": "\u00e9"}], 2.5, true]})",
          {"\"a\"", "1", "null", "[1,{\"b\":\"\xc3\xa9\"}]", "2.5", "true"},
          {"\"b\"", "2", "[]", "false"}},
         {R"({"const": {"a": [false]}})", {R"({"a":[false]})"}, {"{}", "{\"a\":[true]}"}},
         {R"({"enum": [1, "x", 12, 2.5], "type": "integer"})", {"1", "12"}, {"\"x\"", "2.5"}},
         {R"({"enum": ["ab", "abc", "b"], "pattern": "^a", "maxLength": 2})", {"\"ab\""}, {"\"abc\"", "\"b\""}},
         {R"({"enum": [1, 5, 9], "minimum": 2, "anyOf": [{"maximum": 6}, {"const": 9}]})", {"5", "9"}, {"1"}},
         {R"({"enum": [{"a": 1}, {"b": 2}], "required": ["a"]})", {R"({"a":1})"}, {R"({"b":2})"}},
         {R"({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]})", {"2"}, {"1", "3"}},
         {R"({"enum": ["\n\u0001\""]})", {R"("\n\u0001\"")"}, {}},
         {R"({"enum": ["a", "abc", "abd", "a", ""]})", {"\"\"", "\"a\"", "\"abc\"", "\"abd\""}, {"\"ab\"", "\"b\""}}});
}

// Beyond 2^53 doubles stand for several whole numbers: the one that is meant must be written.
TEST(JsonSchema, LargeNumbersKeepTheirDigits) {
  check({{R"({"const": 9007199254740993})", {"9007199254740993"}, {"9007199254740992"}},
         {R"({"enum": [9223372036854775807, -9223372036854775807]})",
          {"9223372036854775807", "-9223372036854775807"},
          {"9223372036854775808"}},
         {R"({"enum": [9007199254740992, 9007199254740993], "multipleOf": 3})",
          {"9007199254740993"},
          {"9007199254740992"}},
         {R"({"enum": [9007199254740992, 9007199254740993], "exclusiveMinimum": 9007199254740992})",
          {"9007199254740993"},
          {"9007199254740992"}},
         {R"({"allOf": [{"const": 5.0}, {"enum": [5, 6]}]})", {"5.0"}, {"6"}},
         {R"({"type": "integer", "minimum": 500000000000000064.0})", {"500000000000000064"}, {"500000000000000063"}},
         {R"({"type": "integer", "maximum": 12345678901234567890123})", {"5"}, {}},
         {R"({"type": "integer", "exclusiveMaximum": 9007199254740992})", {"5"}, {}}});
  const std::vector<std::pair<const char*, std::vector<const char*>>> cases = {
      {R"({"const": 12345678901234567890123})", {"s#/const:", "2^63"}},
      {R"({"const": 9223372036854775808})", {"s#/const:", "2^63"}},
      {R"({"properties": {"a": {"enum": [1, [{"b": -1e19}]]}}})", {"s#/properties/a/enum:", "2^63"}},
      {R"({"const": 9007199254740993, "enum": [9007199254740992.0]})", {"no value"}},
      {R"({"type": "integer", "exclusiveMinimum": 9007199254740992})", {"exclusive", "16 digits"}}};
  for (const auto& [schema, words] : cases)
    for (const char* word : words)
      EXPECT_NE(schema_refusal(schema).find(word), std::string::npos) << schema << ": " << schema_refusal(schema);
}

TEST(JsonSchema, Arrays) {
  check({{R"({"items": {"type": "integer"}})", {"[]", "[1]", "[1,2]", "[1, 2,3]"}, {"[\"a\"]", "[1.5]", "[1"}},
         {R"({"items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
          {"[1,2]", "[1,2,3]"},
          {"[]", "[1]", "[1,2,3,4]"}},
         {R"({"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false})",
          {"[]", "[1]", "[1,\"a\"]"},
          {"[\"a\"]", "[1,\"a\",1]"}},
         {R"({"prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}, "minItems": 2})",
          {"[1,true]", "[1,true,false]"},
          {"[1]", "[true]", "[1,2]"}},
         {R"({"items": [{"type": "integer"}], "additionalItems": {"type": "null"}})", {"[1,null]", "[]"}, {"[1,1]"}},
         {R"({"maxItems": 0})", {"[]"}, {"[1]"}},
         {R"({"type": "array", "items": false})", {"[]"}, {"[1]"}},
         {R"({"type": "array", "maxItems": 1, "uniqueItems": true})", {"[]", "[1]"}, {"[1,1]"}},
         {R"({"allOf": [{"items": {"minimum": 2, "type": "integer"}}, {"items": {"maximum": 4}}]})",
          {"[2,3]"},
          {"[1]", "[5]"}},
         {R"({"type": "array", "minItems": 2})", {"[1,\"a\"]", "[{},[],null]"}, {"[1]"}}});
}

TEST(JsonSchema, Objects) {
  check(
      {{R"({"properties": {"b": {"type": "integer"}, "a": {"type": "string"}}, "required": ["a"]})",
        {R"({"b":1,"a":"x"})", R"({"a":"x"})", R"({"b": 1, "a": ""})"},
        {"{}", R"({"b":1})", R"({"a":"x","b":1})", R"({"a":"x","c":1})", R"({"a":1})", R"({"a":"x",})",
         R"({ "a":"x"})"}},
       {R"({"type": "object", "properties": {"a": {}}, "additionalProperties": false})",
        {"{}", R"({"a":[1]})"},
        {R"({"b":1})"}},
       {R"({"properties": {"total": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}})",
        {"{}", R"({"total":1})", R"({"total":1,"x":true})", R"({"x":true,"y":false})", R"({"tota":true})",
         R"({"totals":true})", R"({"":true})"},
        {R"({"total":true})", R"({"x":1})", R"({"x":true,"total":1})", R"({"total":1,"total":true})",
         R"({"\u0074otal":true})"}},
       {R"({"type": "object", "additionalProperties": {"type": "null"}})",
        {"{}", R"({"a":null,"b":null})"},
        {R"({"a":1})"}},
       {R"({"required": ["x"]})", {R"({"x":1})", R"({"x":{}})"}, {"{}", R"({"y":1})"}},
       {R"({"required": ["x", "y"], "additionalProperties": {"type": "null"}})",
        {R"({"x":null,"y":null,"z":null})"},
        {R"({"x":null})", R"({"x":1,"y":null})"}},
       {R"({"properties": {"a\"\n": {"const": 1}}, "required": ["a\"\n"]})", {R"({"a\"\n":1})"}, {"{}"}},
       {R"({"properties": {"a": true, "b": true}, "additionalProperties": false, "maxProperties": 2, "minProperties": 0})",
        {R"({"a":1,"b":2})"},
        {}},
       {R"({"allOf": [{"properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"maximum": 4}, "b": {"const": 1}}, "required": ["b"]}]})",
        {R"({"a":3,"b":1})", R"({"b":1})"},
        {R"({"a":5,"b":1})", R"({"a":3})"}},
       {R"({"allOf": [{"properties": {"a": true}, "additionalProperties": {"type": "integer"}}, {"properties": {"b": true}}]})",
        {R"({"a":"x","b":2})"},
        {R"({"b":"x"})"}}});
}

TEST(JsonSchema, Combinations) {
  check(
      {{R"({"anyOf": [{"type": "integer"}, {"minimum": 2, "type": "number"}]})", {"1", "2.5", "3"}, {"1.5", "\"a\""}},
       {R"({"anyOf": [{"type": "string", "maxLength": 2}, {"const": "abc"}]})", {"\"ab\"", "\"abc\""}, {"\"abd\""}},
       {R"({"anyOf": [true, {"type": "null"}]})", {"1", "null"}, {}},
       {R"({"anyOf": [false, {"type": "null"}]})", {"null"}, {"1"}},
       {R"({"type": "object", "properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})",
        {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":1})"},
        {"{}"}},
       {R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"1", "\"x\""}, {"null"}},
       {R"({"oneOf": [{"minimum": 5, "type": "number"}, {"exclusiveMaximum": 5, "type": "number"}]})",
        {"5", "4.9"},
        {"\"\""}},
       {R"({"oneOf": [{"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind", "x"]},
                        {"properties": {"kind": {"const": "b"}, "y": {"type": "string"}}, "required": ["kind", "y"]}]})",
        {R"({"kind":"a","x":1})", R"({"kind":"b","y":"z"})"},
        {R"({"kind":"a","y":"z"})", R"({"kind":"c"})"}},
       {R"({"allOf": [{"type": ["integer", "string"]}, {"type": ["string", "null"]}]})", {"\"a\""}, {"1", "null"}},
       {R"({"allOf": [{"anyOf": [{"minimum": 3}, {"maximum": 0}]}, {"type": "integer", "maximum": 4}]})",
        {"3", "4", "0", "-7"},
        {"1", "2", "5"}}});
}

TEST(JsonSchema, References) {
  check({{R"({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}})", {"[1,2]"}, {"[\"a\"]"}},
         {R"({"definitions": {"a/b~c d": {"const": 1}}, "$ref": "#/definitions/a~1b~0c%20d"})", {"1"}, {"2"}},
         {R"({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "minimum": 3})", {"3"}, {"2", "3.5"}},
         {R"({"properties": {"child": {"$ref": "#"}, "v": {"const": 1}}, "additionalProperties": false})",
          {"{}", R"({"child":{"child":{"v":1}}})", R"({"child":{},"v":1})"},
          {R"({"child":1})"}},
         {R"({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]})",
          {"1", "[]", "[1,[2,[]]]"},
          {"\"a\"", "[null]"}},
         {R"({"prefixItems": [{"type": "integer"}, {"$ref": "#/prefixItems/0"}], "items": false, "minItems": 2})",
          {"[1,2]"},
          {"[1]", "[1,null]"}},
         {R"({"properties": {"properties": {"$ref": "#/properties/x"}, "x": {"const": 2}}})",
          {R"({"properties":2})"},
          {}}});
}

TEST(JsonSchema, NestingEndsSomewhere) {
  const JsonSchema schema = compiled(R"({"items": {"$ref": "#"}})");
  const auto nested = [](int n) {
    return std::string(static_cast<size_t>(n), '[') + std::string(static_cast<size_t>(n), ']');
  };
  EXPECT_TRUE(schema.allows(nested(60)));
  EXPECT_FALSE(schema.allows(nested(70)));
}

TEST(JsonSchema, WhatIsNotSupportedIsRefusedByNameAndPlace) {
  const std::vector<std::pair<const char*, std::vector<const char*>>> cases = {
      {R"({"not": {}})", {"s#", "'not'"}},
      {R"({"properties": {"a/b": {"if": true}}})", {"s#/properties/a~1b:", "'if'"}},
      {R"({"patternProperties": {"a": {}}})", {"'patternProperties'"}},
      {R"({"minProperties": 1})", {"'minProperties'"}},
      {R"({"maxProperties": 1})", {"'maxProperties'"}},
      {R"({"propertyNames": {"maxLength": 2}})", {"'propertyNames'"}},
      {R"({"contains": {}})", {"'contains'"}},
      {R"({"dependentRequired": {}})", {"'dependentRequired'"}},
      {R"({"unevaluatedProperties": false})", {"'unevaluatedProperties'"}},
      {R"({"uniqueItems": true})", {"'uniqueItems'"}},
      {R"({"maxlength": 3})", {"'maxlength'"}},
      {R"({"multipleOf": 0.01})", {"s#/multipleOf", "0.01"}},
      {R"({"multipleOf": 0})", {"multipleOf"}},
      {R"({"format": "email"})", {"email", "date-time"}},
      {R"j({"pattern": "(?=a)"})j", {"s#/pattern", "(?=a)", "group"}},
      {R"j({"pattern": "(a)\\1"})j", {"escape"}},
      {R"({"pattern": "\\bword"})", {"escape"}},
      {R"({"pattern": "["})", {"pattern"}},
      {R"({"pattern": "a{2"})", {"pattern"}},
      {R"({"pattern": "a**"})", {"pattern"}},
      {R"({"pattern": "((a{900}){900}){900}"})", {"too many states"}},
      {R"({"$ref": "other.json#/a"})", {"other.json"}},
      {R"({"$ref": "#/nowhere"})", {"leads nowhere"}},
      {R"({"$ref": "#"})", {"itself"}},
      {R"({"anyOf": [{"type": "null"}, {"$ref": "#"}]})", {"itself"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", {"s#/oneOf", "exclude"}},
      {R"({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]})", {"exclude"}},
      {R"({"oneOf": [{"minimum": 5}, {"minLength": 2, "type": "string"}]})", {"exclude"}},
      {R"({"type": "thing"})", {"s#/type", "\"thing\""}},
      {R"({"type": []})", {"s#/type"}},
      {R"({"minLength": -1})", {"s#/minLength", "-1"}},
      {R"({"minimum": "1"})", {"s#/minimum"}},
      {R"({"exclusiveMinimum": true})", {"s#/exclusiveMinimum"}},
      {R"({"required": "a"})", {"s#/required"}},
      {R"({"enum": []})", {"s#/enum", "expected a list of values, found an empty list"}},
      {R"({"anyOf": []})", {"s#/anyOf", "found an empty list"}},
      {R"({"items": 3})", {"s#/items", "schema"}},
      {R"({"properties": {"a": {"$id": "http://x/y", "type": "null"}}})", {"'$id'"}},
      {"[]", {"expected a schema"}},
      {"{", {"valid JSON"}},
      {"false", {"no value"}},
      {R"({"type": "integer", "minimum": 3, "maximum": 2})", {"no value"}},
      {R"({"minLength": 3, "maxLength": 2})", {"no value"}},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", {"no value"}},
      {R"({"minItems": 2, "maxItems": 1})", {"no value"}},
      {R"({"allOf": [{"const": 1}, {"const": 2}]})", {"no value"}},
      {R"({"pattern": "^a$", "minLength": 2})", {"no value"}},
      {R"({"minimum": 1e30, "type": "number"})", {"31 digits"}}};
  for (const auto& [schema, words] : cases) {
    const std::string message = schema_refusal(schema);
    EXPECT_FALSE(message.empty()) << schema;
    for (const char* word : words) EXPECT_NE(message.find(word), std::string::npos) << schema << ": " << message;
  }
}

TEST(JsonSchema, UnreachableSchemasNeedNotBeSupported) {
  EXPECT_EQ(schema_refusal(R"({"type": "null", "$defs": {"a": {"not": {}}}})"), "");
}

}  // namespace
}  // namespace onsight::text
