// Tasks that a planner proposes, out of a file: JSON (a list, or an object with "tasks") or TOML ([[task]] or
// [[tasks]]).
//
//   TRY(Json tasks, tasks_of(R"([[task]]
//   name = "parser"
//   text = "Write the parser")", "plan.toml"));
#pragma once

#include <string_view>

#include "outside_json.h"

namespace onsight::guest {

// A list of objects, at least one; what is in them is the broker's to judge.
Result<Json> tasks_of(std::string_view text, std::string_view where);

}  // namespace onsight::guest
