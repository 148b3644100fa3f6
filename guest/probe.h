// Probe: tries from within a container what it must not be able to do, for `onsight agents doctor`.
//
//   probe({"memory", "536870912"});   // prints what happened as one line of JSON
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace onsight::guest {

// 0: it was refused, or held to its limit; 1: it went through.
Result<int> probe(const std::vector<std::string>& words);
std::string_view probe_help();

}  // namespace onsight::guest
