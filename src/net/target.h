// The target of a request: its path and its query, decoded and made harmless.
//
//   TRY(Target target, parse_target("/v1/models/a%20b?key=x"));   // path "/v1/models/a b", query {{"key", "x"}}
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onsight::net {

struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
};

// Refuses what has no place in a path: segments "." and "..", empty ones but the last, an encoded slash, control
// characters, bytes that are not UTF-8. Absolute targets ("http://host/path") lose their host; "*" is itself.
Result<Target> parse_target(std::string_view target);

}  // namespace onsight::net
