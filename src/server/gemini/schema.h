// Gemini's own dialect of schemas, as JSON Schema.
#pragma once

#include <string_view>

#include "server/fields.h"

namespace onsight::server::gemini {

// {"type": "STRING", "nullable": true} -> {"anyOf": [{"type": "string"}, {"type": "null"}]}. Names may be in snake_case
// too; `where` is for errors.
Result<Json> to_json_schema(const Json& schema, std::string_view where);

}  // namespace onsight::server::gemini
