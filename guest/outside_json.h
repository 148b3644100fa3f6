// JSON of outside origin in the program that runs in containers, and text of outside origin on a terminal.
//
//   TRY(Json request, parse_outside(line, "request"));
//   std::puts(printable(message_of_another_agent, true).c_str());
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::guest {

using Json = nlohmann::json;

// Refuses what is no JSON, and nesting deeper than 64 levels: what prints JSON again goes down level by level.
Result<Json> parse_outside(std::string_view text, std::string_view where);
// As text; bytes that are no UTF-8 become U+FFFD.
std::string to_text(const Json& value, int indent = -1);
// A field of an object that is a string; empty where there is none.
std::string string_of(const Json& object, std::string_view key);
// Without the control characters that a terminal would obey; `lines`: line ends and tabs stay.
std::string printable(std::string_view text, bool lines);

}  // namespace onsight::guest
