// Router: patterns of paths, and what they lead to.
//
//   Router<int> router;
//   router.add("GET", "/v1/files/{name}", 7);
//   router.add("POST", "/v1beta/models/{+model}:generateContent", 8);
//   auto found = router.find("GET", "/v1/files/a.png");    // found.target: 7, found.names: {{"name", "a.png"}}
//   found = router.find("POST", "/v1beta/models/a/b:generateContent");   // 8, {{"model", "a/b"}}
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onsight::net {

using PathNames = std::map<std::string, std::string, std::less<>>;

// Whether `path` is of `pattern`, in which "{name}" stands for at least one character of a segment, and "{+name}", with
// which a pattern may end, for segments too, whose slashes may be encoded; two of them never touch.
bool match_path(std::string_view pattern, std::string_view path, PathNames& names);

template <class T>
class Router {
 public:
  struct Found {
    const T* target = nullptr;
    PathNames names;
    std::vector<std::string> allowed;  // methods of the path, if there is one but not for this method
  };

  void add(std::string method, std::string pattern, T target) {
    rows_.push_back({std::move(method), std::move(pattern), std::move(target)});
  }

  // Of several that match, the one that was added first. HEAD is answered as GET is.
  Found find(std::string_view method, std::string_view path) const {
    Found found;
    for (const Row& row : rows_) {
      PathNames names;
      if (!match_path(row.pattern, path, names)) continue;
      if (row.method == method || (method == "HEAD" && row.method == "GET")) {
        found.target = &row.target;
        found.names = std::move(names);
        return found;
      }
      if (std::find(found.allowed.begin(), found.allowed.end(), row.method) == found.allowed.end())
        found.allowed.push_back(row.method);
    }
    return found;
  }

 private:
  struct Row {
    std::string method, pattern;
    T target;
  };
  std::vector<Row> rows_;
};

}  // namespace onsight::net
