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

// How a slash that was percent-encoded stands in a path: "/models/a%2fb" is of two segments.
inline constexpr std::string_view kEncodedSlash = "%2F";

// Refuses what has no place in a path: the names "." and "..", between encoded slashes too, empty ones but the last
// segment, control characters, bytes that are not UTF-8. Absolute targets ("http://host/path") lose their host; "*" is
// itself.
Result<Target> parse_target(std::string_view target);

// Who is meant by "host", "host:port" or "[::1]:port"; the port is that of the scheme where none is said, and 0 without
// a scheme. Refuses "user@host", and names that are none.
struct Authority {
  std::string host;  // lower case, an IPv6 address without brackets
  int port = 0;
};
Result<Authority> parse_authority(std::string_view text, std::string_view scheme = {});
// The same; of one that is refused `out` has what was understood before: whole segments of its path.
Status read_target(std::string_view target, Target& out);

}  // namespace onsight::net
