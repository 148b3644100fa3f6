#include "text/json_schema.h"

#include "text/automaton.h"
#include "text/schema_compiler.h"

namespace onsight::text {

Result<JsonSchema> JsonSchema::compile(std::string_view json, std::string_view where) {
  WorkBudget work;
  TRY(SchemaDocument document, SchemaDocument::open(json, where, work));
  TRY(std::shared_ptr<const ByteGrammar> grammar, compile_schema(document, work));
  return JsonSchema(std::move(grammar));
}

bool JsonSchema::allows(std::string_view bytes) const {
  Automaton automaton(grammar_);
  Automaton::State state = automaton.start();
  for (const char c : bytes) {
    state = automaton.next(state, static_cast<uint8_t>(c));
    if (state == Automaton::kDead) return false;
  }
  return automaton.accepts(state);
}

}  // namespace onsight::text
