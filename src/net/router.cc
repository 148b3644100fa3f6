#include "net/router.h"

#include "net/target.h"

namespace onsight::net {
namespace {

std::string with_slashes(std::string name) {
  for (size_t at = name.find(kEncodedSlash); at != std::string::npos; at = name.find(kEncodedSlash, at))
    name.replace(at, kEncodedSlash.size(), "/");
  return name;
}

}  // namespace

bool match_path(std::string_view pattern, std::string_view path, PathNames& names) {
  while (!pattern.empty()) {
    if (pattern.front() != '{') {
      if (path.empty() || path.front() != pattern.front()) return false;
      pattern.remove_prefix(1);
      path.remove_prefix(1);
      continue;
    }
    const size_t close = pattern.find('}');
    const bool spans = pattern[1] == '+';
    const std::string_view name = pattern.substr(spans ? 2 : 1, close - (spans ? 2 : 1));
    pattern.remove_prefix(close + 1);
    const std::string_view literal = pattern.substr(0, pattern.find_first_of("{/"));
    const std::string_view rest = spans ? path : path.substr(0, path.find('/'));
    // A literal that ends the segment stands at its end; others at their first place.
    const bool ends = literal.size() == pattern.size() || pattern[literal.size()] == '/';
    size_t length = 0;
    if (literal.empty()) {
      length = rest.size();
    } else if (ends) {
      if (!rest.ends_with(literal)) return false;
      length = rest.size() - literal.size();
    } else {
      length = rest.find(literal, 1);
      if (length == std::string_view::npos) return false;
    }
    if (length == 0) return false;
    std::string value(rest.substr(0, length));
    names.insert_or_assign(std::string(name), spans ? with_slashes(std::move(value)) : std::move(value));
    path.remove_prefix(length);
  }
  return path.empty();
}

}  // namespace onsight::net
