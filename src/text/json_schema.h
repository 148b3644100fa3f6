// JsonSchema: a JSON schema as a grammar of the bytes of values that it allows. Nothing of it is left out in silence: a
// keyword that is not supported is refused by name and place (docs/structured_output.md has the list).
//
//   TRY(JsonSchema schema, JsonSchema::compile(R"({"type": "object", "properties": {"total": {"type": "number"}},
//                                                  "required": ["total"]})", "schema.json"));
//   schema.allows(R"({"total": 3.5})");     // true
//   TokenMask mask(schema, trie);           // token_mask.h
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "text/byte_grammar.h"

namespace onsight::text {

class JsonSchema {
 public:
  // `where` names the source in errors. Refuses what no value satisfies too, and what takes too long to compile: about
  // a second or 100 MB are enough for any schema.
  static Result<JsonSchema> compile(std::string_view json, std::string_view where);

  // Whether `bytes` are a value as the grammar writes it: no whitespace but one space behind , and :, and one at the
  // begin; properties in the schema's order; one spelling a string. All that it allows, the schema allows.
  bool allows(std::string_view bytes) const;
  const std::shared_ptr<const ByteGrammar>& grammar() const { return grammar_; }

 private:
  explicit JsonSchema(std::shared_ptr<const ByteGrammar> grammar) : grammar_(std::move(grammar)) {}
  std::shared_ptr<const ByteGrammar> grammar_;
};

}  // namespace onsight::text
