#include "tasks.h"

#include <sstream>

#include "base/toml.h"

namespace onsight::guest {
namespace {

Json json_of(const toml::node& node) {
  if (const toml::table* table = node.as_table()) {
    Json out = Json::object();
    for (const auto& [key, value] : *table) out[std::string(key.str())] = json_of(value);
    return out;
  }
  if (const toml::array* array = node.as_array()) {
    Json out = Json::array();
    for (const toml::node& value : *array) out.push_back(json_of(value));
    return out;
  }
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  std::ostringstream out;  // dates and times, as TOML writes them
  if (const auto* value = node.as_date()) out << value->get();
  if (const auto* value = node.as_time()) out << value->get();
  if (const auto* value = node.as_date_time()) out << value->get();
  return out.str();
}

}  // namespace

Result<Json> tasks_of(std::string_view text, std::string_view where) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  // A list of JSON and a table of TOML can both begin with [, but not with [[ or [name].
  const bool toml = first == std::string_view::npos || (text[first] != '{' && text[first] != '[') ||
                    text.substr(first).starts_with("[[task");
  Json whole;
  if (toml) {
    if (const size_t line = line_beyond_ascii(text))
      return bad_input("{}, line {}: expected ASCII outside of strings and comments", where, line);
    toml::parse_result parsed = toml::parse(text, where);
    if (!parsed)
      return bad_input("{}, line {}: {}", where, parsed.error().source().begin.line, parsed.error().description());
    whole = json_of(parsed.table());
  } else {
    TRY(whole, parse_outside(text, where));
  }
  Json tasks = std::move(whole);
  if (tasks.is_object()) {
    Json inner = tasks.contains("tasks") ? tasks["tasks"] : tasks.value("task", Json());
    tasks = std::move(inner);
  }
  if (!tasks.is_array() || tasks.empty()) return bad_input("{}: expected a list of tasks, [[tasks]] in TOML", where);
  for (size_t i = 0; i < tasks.size(); ++i)
    if (!tasks[i].is_object()) return bad_input("{}: task {}: expected an object", where, i + 1);
  return tasks;
}

}  // namespace onsight::guest
