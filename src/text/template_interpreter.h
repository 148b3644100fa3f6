// Runs the syntax tree of a chat template.
#pragma once

#include <string_view>

#include "text/template_parser.h"

namespace onsight::text {

// What the template writes, given the variables. `where` begins error messages. Time and memory are bounded.
Result<MarkedText> run_template(const Node& root, Dict variables, std::string_view where);

}  // namespace onsight::text
