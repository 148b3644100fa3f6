// Whatever a schema says, to compile it takes a bounded number of steps and states. Counted, never timed.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "text/automaton.h"
#include "text/schema_compiler.h"

namespace onsight::text {
namespace {

using SchemaJson = nlohmann::json;

struct Compilation {
  std::string refusal;  // empty: it compiles
  uint64_t steps;
  std::shared_ptr<const ByteGrammar> grammar = nullptr;
};

Compilation compile_counted(const std::string& schema) {
  WorkBudget work;
  auto document = SchemaDocument::open(schema, "s", work);
  if (!document) return {document.error().message, work.spent()};
  auto grammar = compile_schema(*document, work);
  if (!grammar) return {grammar.error().message, work.spent()};
  return {"", work.spent(), *grammar};
}

// `count` schemas, each made of the next by `link`, down to `last`.
SchemaJson chain(int count, const SchemaJson& last, const std::function<SchemaJson(const SchemaJson& next)>& link) {
  SchemaJson out = {{"$ref", "#/$defs/a0"}, {"$defs", SchemaJson::object()}};
  for (int i = 0; i < count; ++i)
    out["$defs"][fmt::format("a{}", i)] = link({{"$ref", fmt::format("#/$defs/a{}", i + 1)}});
  out["$defs"][fmt::format("a{}", count)] = last;
  return out;
}

SchemaJson fan(int depth, int width) {
  return chain(depth, {{"type", "integer"}}, [width](const SchemaJson& next) {
    return SchemaJson{{"type", "array"},
                      {"prefixItems", std::vector<SchemaJson>(static_cast<size_t>(width), next)},
                      {"minItems", width}};
  });
}

SchemaJson strings(int count) {
  SchemaJson out = SchemaJson::array();
  for (int i = 0; i < count; ++i) out.push_back(fmt::format("x{}", i));
  return out;
}

TEST(SchemaBudget, TheShortestValueIsMeasuredWithoutBeingWritten) {
  EXPECT_EQ(compile_counted(fan(6, 4).dump()).refusal, "");
  for (const auto& [depth, bytes] : {std::pair{9, "takes 699049 bytes"}, std::pair{12, "takes 44739241 bytes"}}) {
    const Compilation done = compile_counted(fan(depth, 4).dump());
    EXPECT_NE(done.refusal.find(bytes), std::string::npos) << done.refusal;
    EXPECT_NE(done.refusal.find("expected at most 65536"), std::string::npos) << done.refusal;
    EXPECT_LT(done.steps, 1'000'000u);
  }
  // Beyond all numbers: neither "no value", nor an overflow.
  const Compilation done = compile_counted(fan(200, 4).dump());
  EXPECT_NE(done.refusal.find("s#: the shortest value that satisfies it takes over"), std::string::npos)
      << done.refusal;
  // Where it need not be written, it is left out.
  SchemaJson both = fan(12, 4);
  both.erase("$ref");
  both["anyOf"] = {{{"type", "null"}}, {{"$ref", "#/$defs/a0"}}};
  const Compilation left_out = compile_counted(both.dump());
  ASSERT_EQ(left_out.refusal, "");
  Automaton automaton(left_out.grammar);
  EXPECT_EQ(automaton.next(automaton.start(), '['), Automaton::kDead);
}

TEST(SchemaBudget, EnumCostsWhatItsTextsDo) {
  const uint64_t small = compile_counted(SchemaJson{{"enum", strings(1'000)}}.dump()).steps;
  const Compilation large = compile_counted(SchemaJson{{"enum", strings(50'000)}}.dump());
  ASSERT_EQ(large.refusal, "");
  EXPECT_LT(large.steps, 60 * small);
  EXPECT_LT(large.grammar->size(), 150'000u);  // beginnings are shared
  Automaton automaton(large.grammar);
  for (Automaton::State state = automaton.start(); automaton.distance(state) > 0;)
    state = automaton.next(state, automaton.closing_byte(state));
  EXPECT_LT(automaton.places(), 20u);
}

TEST(SchemaBudget, WhateverASchemaSays) {
  const SchemaJson any = SchemaJson::object(), one = {{"minLength", 1}};
  std::string object = "{";
  for (int i = 0; i < 60'000; ++i) object += fmt::format("\"x-{}\":0,", i);
  SchemaJson terms = SchemaJson::array(), references = SchemaJson::object();
  for (int i = 0; i < 300; ++i) {
    SchemaJson properties;
    for (int k = 0; k < 50; ++k) properties[fmt::format("p{}", i * 50 + k)] = one;
    terms.push_back({{"properties", properties}});
    references[fmt::format("p{:03}", i)] = {{"$ref", fmt::format("#/$defs/a{}", 9'000 - i * 30)}};
  }
  SchemaJson long_chain = chain(9'000, {{"type", "null"}}, [](const SchemaJson& next) { return next; });
  long_chain.erase("$ref");
  long_chain["properties"] = references;
  SchemaJson deep_value = 1;
  for (int i = 0; i < 250; ++i) deep_value = SchemaJson::array({deep_value});
  SchemaJson deep = chain(200, {{"items", {{"$ref", "#/$defs/a0"}}}}, [](const SchemaJson& next) { return next; });
  deep["const"] = deep_value;
  SchemaJson subsets = {{"$ref", "#/$defs/s0"}};
  for (int i = 0; i < 30; ++i)
    subsets["$defs"][fmt::format("s{}", i)] = {{"properties",
                                                {{"a",
                                                  {{"allOf",
                                                    {{{"$ref", fmt::format("#/$defs/s{}", (i * 3 + 1) % 30)}},
                                                     {{"$ref", fmt::format("#/$defs/s{}", (i * 7 + 2) % 30)}}}}}},
                                                 {"b", {{"$ref", fmt::format("#/$defs/s{}", (i + 1) % 30)}}}}}};
  const auto pattern = [](const std::string& text) { return SchemaJson{{"pattern", text}}.dump(); };
  const auto repeated = [](std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {object + "\"type\":\"null\"}", ""},
      {SchemaJson{{"allOf", std::vector<SchemaJson>(50'000, one)}}.dump(), "steps"},
      {SchemaJson{{"allOf", std::vector<SchemaJson>(20'000, {{"anyOf", {one}}})}}.dump(), "steps"},
      {SchemaJson{{"oneOf", std::vector<SchemaJson>(30'000, one)}}.dump(), "branches"},
      {SchemaJson{{"allOf", terms}}.dump(), "steps"},
      {SchemaJson{{"prefixItems", std::vector<SchemaJson>(100'000, any)}}.dump(), ""},
      {SchemaJson{{"properties", {{std::string(500'000, 'p'), one}}}, {"additionalProperties", true}}.dump(),
       "too large"},
      {SchemaJson{{"type", "array"}, {"minItems", 1'000'000'000'000}}.dump(), "minItems"},
      {SchemaJson{{"const", 1},
                  {"$ref", "#/$defs/a0"},
                  {"$defs", chain(20, one,
                                  [](const SchemaJson& next) {
                                    return SchemaJson{{"allOf", std::vector<SchemaJson>(4, next)}};
                                  })["$defs"]}}
           .dump(),
       ""},
      {SchemaJson{{"const", {1}},
                  {"items", {{"$ref", "#/$defs/a0"}}},
                  {"$defs", chain(20, {{"type", "integer"}},
                                  [](const SchemaJson& next) {
                                    return SchemaJson{{"allOf", std::vector<SchemaJson>(4, next)}};
                                  })["$defs"]}}
           .dump(),
       "steps"},
      {long_chain.dump(), "stand for one another"},
      {deep.dump(), "steps"},
      {subsets.dump(), "steps"},
      {pattern("^(a{1,1000}b{1,1000}){1,1000}$"), "too many states"},
      {pattern("((((a{1000}){1000}){1000}){1000}){1000}"), "too many states"},
      {pattern("(((){1000}){1000}){1000}"), "too many states"},
      {pattern("(a|b)*a(a|b){20}"), "too many states"},
      {pattern("(\\W*\\D\\S){400}"), "steps"},
      {pattern(fmt::format("[{}]", repeated("ab", 9'000))), ""},
      {pattern(fmt::format("[{}]", repeated("\\D", 9'000))), ""},
      {pattern(repeated("\\D", 9'000)), "steps"},
      {pattern(repeated("a", 300'000)), "expected at most 20000"},
      {SchemaJson{{"pattern", "^(\\D\\d){0,900}$"}, {"maxLength", 20'000}}.dump(), "too large"},
      {std::string(1'100'000, ' ') + "{}", "expected at most 1048576"},
  };
  for (const auto& [schema, words] : cases) {
    const Compilation done = compile_counted(schema);
    EXPECT_EQ(done.refusal.empty(), words.empty()) << schema.substr(0, 100) << ": " << done.refusal.substr(0, 200);
    EXPECT_NE(done.refusal.find(words), std::string::npos)
        << schema.substr(0, 100) << ": " << done.refusal.substr(0, 200);
    if (done.grammar) {
      EXPECT_LT(done.steps, WorkBudget::kSteps) << schema.substr(0, 100);
    }
  }
}

// Two lists that begin alike, each of the same again: a walk must not keep every way through them.
TEST(SchemaBudget, WhatBeginsAlikeIsWalkedOnce) {
  const Compilation done = compile_counted(
      R"({"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "array", "items": {"$ref": "#"}, "maxItems": 5},
                    {"type": "null"}]})");
  ASSERT_EQ(done.refusal, "");
  Automaton automaton(done.grammar);
  Automaton::State state = automaton.start();
  for (int i = 0; i < 40; ++i) state = automaton.next(state, '[');
  ASSERT_NE(state, Automaton::kDead);
  EXPECT_EQ(automaton.distance(state), 40);
  EXPECT_LT(automaton.places(), 1'000u);
  for (int i = 0; i < 40; ++i) state = automaton.next(state, ']');
  ASSERT_NE(state, Automaton::kDead);
  EXPECT_TRUE(automaton.accepts(state));
  EXPECT_TRUE(automaton.ends(state));
}

}  // namespace
}  // namespace onsight::text
