#include "net/router.h"

namespace onsight::net {

bool match_path(std::string_view pattern, std::string_view path, PathNames& names) {
  while (!pattern.empty()) {
    if (pattern.front() != '{') {
      if (path.empty() || path.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      path.remove_prefix(1);
      continue;
    }
    const size_t close = pattern.find('}');
    const std::string_view name = pattern.substr(1, close - 1);
    pattern.remove_prefix(close + 1);
    const std::string_view literal = pattern.substr(0, pattern.find_first_of("{/"));
    const std::string_view segment = path.substr(0, path.find('/'));
    // A literal that ends the segment stands at its end; others at their first place.
    const bool ends = literal.size() == pattern.size() || pattern[literal.size()] == '/';
    size_t length = 0;
    if (literal.empty()) {
      length = segment.size();
    } else if (ends) {
      if (!segment.ends_with(literal)) return false;
      length = segment.size() - literal.size();
    } else {
      length = segment.find(literal, 1);
      if (length == std::string_view::npos) return false;
    }
    if (length == 0) return false;
    names.insert_or_assign(std::string(name), std::string(segment.substr(0, length)));
    path.remove_prefix(length);
  }
  return path.empty();
}

}  // namespace onsight::net
