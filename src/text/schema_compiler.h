// From a checked schema to a grammar.
//
//   WorkBudget work;
//   TRY(SchemaDocument document, SchemaDocument::open(json, where, work));
//   TRY(std::shared_ptr<const ByteGrammar> grammar, compile_schema(document, work));
#pragma once

#include <memory>

#include "text/byte_grammar.h"
#include "text/schema_document.h"

namespace onsight::text {

Result<std::shared_ptr<const ByteGrammar>> compile_schema(const SchemaDocument& document, WorkBudget& work);

}  // namespace onsight::text
