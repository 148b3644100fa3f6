#include "base/json.h"

#include <cmath>
#include <vector>

namespace onsight {
namespace {

const Json kMissing = Json::object();

std::string join(const std::string& where, std::string_view key) { return fmt::format("{}: {}", where, key); }

std::string_view kind(const Json& value) { return value.type_name(); }

}  // namespace

Status check_json_shape(std::string_view text, std::string_view where, size_t max_names) {
  constexpr size_t kMaxDepth = 256;
  std::vector<size_t> names;  // of each object that is open; of a list 0
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string) {
      if (c == '\\') ++i;
    } else if (c == '{' || c == '[') {
      if (names.size() == kMaxDepth) return bad_input("{}: nested deeper than {} levels", where, kMaxDepth);
      names.push_back(0);
    } else if ((c == '}' || c == ']') && !names.empty()) {
      names.pop_back();
    } else if (c == ':' && !names.empty() && ++names.back() > max_names) {
      return bad_input("{}: expected at most {} names in an object, found more", where, max_names);
    }
  }
  return {};
}

Result<Json> parse_json(std::string_view text, std::string_view where) { return parse_json_as<Json>(text, where); }

Result<Json> load_json(const Path& path) {
  TRY(std::string text, read_file(path, uint64_t{256} << 20));
  return parse_json(text, path.string());
}

bool JsonView::has(std::string_view key) const {
  if (!value_->is_object()) return false;
  auto it = value_->find(key);
  return it != value_->end() && !it->is_null();
}

JsonView JsonView::at(std::string_view key) const {
  std::string where = where_.find(": ") == std::string::npos ? join(where_, key) : fmt::format("{}.{}", where_, key);
  return JsonView(has(key) ? *value_->find(key) : kMissing, std::move(where));
}

Result<int64_t> JsonView::integer(std::string_view key, int64_t min, int64_t max) const {
  JsonView view = at(key);
  if (!has(key)) return bad_input("{}: missing, expected an integer", view.where_);
  const Json& v = view.json();
  double d = v.is_number() ? v.get<double>() : NAN;
  // Whole numbers written as 4.0 are accepted, as Python's json does downstream.
  if (!(d == std::floor(d)) || d < -9e15 || d > 9e15)
    return bad_input("{}: expected an integer, found {}", view.where_, v.is_number() ? v.dump() : std::string(kind(v)));
  int64_t i = static_cast<int64_t>(d);
  if (i < min || i > max) return bad_input("{}: expected an integer from {} to {}, found {}", view.where_, min, max, i);
  return i;
}

Result<int64_t> JsonView::integer_or(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const {
  if (!has(key)) return otherwise;
  return integer(key, min, max);
}

Result<double> JsonView::number_or(std::string_view key, double otherwise) const {
  if (!has(key)) return otherwise;
  JsonView view = at(key);
  if (!view.json().is_number()) return bad_input("{}: expected a number, found {}", view.where_, kind(view.json()));
  return view.json().get<double>();
}

Result<bool> JsonView::boolean_or(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  JsonView view = at(key);
  if (!view.json().is_boolean())
    return bad_input("{}: expected true or false, found {}", view.where_, kind(view.json()));
  return view.json().get<bool>();
}

Result<std::string> JsonView::string(std::string_view key) const {
  JsonView view = at(key);
  if (!has(key) || !view.json().is_string())
    return bad_input("{}: expected a string, found {}", view.where_, has(key) ? kind(view.json()) : "nothing");
  return view.json().get<std::string>();
}

Result<std::string> JsonView::string_or(std::string_view key, std::string otherwise) const {
  if (!has(key)) return otherwise;
  return string(key);
}

}  // namespace onsight
