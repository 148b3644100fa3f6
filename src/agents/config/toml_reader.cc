#include "agents/config/toml_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace onsight::agents::config {
namespace {

size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

struct TomlUnit {
  std::string_view name;
  double factor;
};
constexpr std::array kByteUnits = {TomlUnit{"", 1},          TomlUnit{"B", 1},        TomlUnit{"kB", 1e3},
                                   TomlUnit{"MB", 1e6},      TomlUnit{"GB", 1e9},     TomlUnit{"KiB", 1 << 10},
                                   TomlUnit{"MiB", 1 << 20}, TomlUnit{"GiB", 1 << 30}};
constexpr std::array kTimeUnits = {TomlUnit{"ms", 1}, TomlUnit{"s", 1e3}, TomlUnit{"m", 6e4}, TomlUnit{"h", 3.6e6},
                                   TomlUnit{"d", 8.64e7}};

template <size_t N>
std::optional<double> number_with_unit(std::string_view text, const std::array<TomlUnit, N>& units) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  if (digits == 0 || digits > 15 || text.front() == '.') return std::nullopt;
  double value = 0, scale = 0;
  for (const char c : text.substr(0, digits)) {
    if (c == '.') {
      if (scale != 0) return std::nullopt;
      scale = 1;
    } else {
      value = value * 10 + (c - '0');
      scale *= 10;
    }
  }
  if (scale != 0) value /= scale;
  std::string_view unit = text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  for (const TomlUnit& known : units)
    if (known.name == unit) return value * known.factor;
  return std::nullopt;
}

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

}  // namespace

std::string did_you_mean(std::string_view typed, const std::vector<std::string>& candidates) {
  const std::string* best = nullptr;
  size_t least = std::max<size_t>(1, typed.size() / 3) + 1;
  if (typed.size() > 64) return "";
  for (const std::string& candidate : candidates) {
    const size_t edits = edits_between(typed, candidate);
    if (edits >= least) continue;
    least = edits;
    best = &candidate;
  }
  return best ? fmt::format(", did you mean '{}'?", *best) : "";
}

Result<uint64_t> parse_bytes(std::string_view text) {
  const auto value = number_with_unit(text, kByteUnits);
  if (!value || *value > 1e18) return bad_input("a size such as \"512MiB\" or \"2GB\", found \"{}\"", text);
  return static_cast<uint64_t>(std::llround(*value));
}

Result<std::chrono::milliseconds> parse_time(std::string_view text) {
  const auto value = number_with_unit(text, kTimeUnits);
  if (!value || *value > 1e13) return bad_input("a time such as \"90s\", \"5m\" or \"2h\", found \"{}\"", text);
  return std::chrono::milliseconds(std::llround(*value));
}

Result<toml::table> parse_toml(std::string_view text, std::string_view where) {
  if (const size_t line = line_beyond_ascii(text))
    return bad_input("{}, line {}: expected ASCII outside of strings and comments", where, line);
  toml::parse_result result = toml::parse(text, where);
  if (!result)
    return bad_input("{}, line {}: {}", where, result.error().source().begin.line, result.error().description());
  return std::move(result).table();
}

const toml::node* TomlReader::find(std::string_view key) {
  known_.emplace(key);
  return table_->get(key);
}

tl::unexpected<Error> TomlReader::error(std::string_view key, std::string_view sentence) const {
  const toml::node* node = key.empty() ? nullptr : table_->get(key);
  const auto line = (node ? node->source() : table_->source()).begin.line;
  std::string name = name_;
  if (!key.empty()) name += (name.empty() ? "" : ".") + std::string(key);
  return bad_input("{}{}: {}{}{}", where_, line ? fmt::format(", line {}", line) : "", name, name.empty() ? "" : ": ",
                   sentence);
}

Result<std::string> TomlReader::string_or(std::string_view key, std::string otherwise) {
  const toml::node* node = find(key);
  if (!node) return otherwise;
  if (!node->is_string()) return error(key, fmt::format("expected a string, found {}", kind_of(*node)));
  const std::string& value = node->as_string()->get();
  if (value.find('\0') != std::string::npos) return error(key, "expected no zero bytes");
  return value;
}

Result<std::string> TomlReader::string(std::string_view key) {
  if (!find(key)) return error("", fmt::format("expected {} = \"…\"", key));
  return string_or(key, "");
}

Result<int64_t> TomlReader::integer_or(std::string_view key, int64_t otherwise, int64_t min, int64_t max) {
  const toml::node* node = find(key);
  if (!node) return otherwise;
  if (!node->is_integer()) return error(key, fmt::format("expected a whole number, found {}", kind_of(*node)));
  const int64_t value = node->as_integer()->get();
  if (value < min || value > max) return error(key, fmt::format("expected {} to {}, found {}", min, max, value));
  return value;
}

Result<double> TomlReader::number_or(std::string_view key, double otherwise, double min, double max) {
  const toml::node* node = find(key);
  if (!node) return otherwise;
  if (!node->is_number()) return error(key, fmt::format("expected a number, found {}", kind_of(*node)));
  const double value =
      node->is_integer() ? static_cast<double>(node->as_integer()->get()) : node->as_floating_point()->get();
  if (!(value >= min && value <= max)) return error(key, fmt::format("expected {} to {}, found {}", min, max, value));
  return value;
}

Result<bool> TomlReader::boolean_or(std::string_view key, bool otherwise) {
  const toml::node* node = find(key);
  if (!node) return otherwise;
  if (!node->is_boolean()) return error(key, fmt::format("expected true or false, found {}", kind_of(*node)));
  return node->as_boolean()->get();
}

Result<std::vector<std::string>> TomlReader::strings_or(std::string_view key, std::vector<std::string> otherwise) {
  const toml::node* node = find(key);
  if (!node) return otherwise;
  const toml::array* array = node->as_array();
  if (!array) return error(key, fmt::format("expected a list of strings, found {}", kind_of(*node)));
  std::vector<std::string> out;
  for (const toml::node& element : *array) {
    if (!element.is_string()) return error(key, fmt::format("expected strings only, found {}", kind_of(element)));
    out.push_back(element.as_string()->get());
    if (out.back().find('\0') != std::string::npos) return error(key, "expected no zero bytes");
  }
  return out;
}

Result<std::vector<std::vector<std::string>>> TomlReader::commands_or_none(std::string_view key) {
  std::vector<std::vector<std::string>> out;
  const toml::node* node = find(key);
  if (!node) return out;
  const std::string expected = "expected a list of commands such as [[\"make\", \"test\"]]";
  const toml::array* array = node->as_array();
  if (!array) return error(key, fmt::format("{}, found {}", expected, kind_of(*node)));
  for (const toml::node& element : *array) {
    const toml::array* words = element.as_array();
    if (!words || words->empty()) return error(key, fmt::format("{}, found {}", expected, kind_of(element)));
    std::vector<std::string> command;
    for (const toml::node& word : *words) {
      if (!word.is_string()) return error(key, fmt::format("expected strings only, found {}", kind_of(word)));
      command.push_back(word.as_string()->get());
      if (command.back().find('\0') != std::string::npos) return error(key, "expected no zero bytes");
    }
    if (command[0].empty()) return error(key, "expected the name of a program, found an empty one");
    out.push_back(std::move(command));
  }
  return out;
}

Result<uint64_t> TomlReader::bytes_or(std::string_view key, uint64_t otherwise, uint64_t min, uint64_t max) {
  const toml::node* node = find(key);
  if (!node) return otherwise;
  uint64_t value = 0;
  if (node->is_integer() && node->as_integer()->get() >= 0) {
    value = static_cast<uint64_t>(node->as_integer()->get());
  } else {
    if (!node->is_string())
      return error(key, fmt::format("expected a size such as \"512MiB\", found {}", kind_of(*node)));
    auto parsed = parse_bytes(node->as_string()->get());
    if (!parsed) return error(key, "expected " + parsed.error().message);
    value = *parsed;
  }
  if (value < min || value > max) return error(key, fmt::format("expected {} to {} bytes, found {}", min, max, value));
  return value;
}

Result<std::optional<std::chrono::milliseconds>> TomlReader::time(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (!node->is_string()) return error(key, fmt::format("expected a time such as \"5m\", found {}", kind_of(*node)));
  auto parsed = parse_time(node->as_string()->get());
  if (!parsed) return error(key, "expected " + parsed.error().message);
  return *parsed;
}

Status TomlReader::tables(std::string_view key,
                          const std::function<Status(std::string_view name, TomlReader& table)>& read) {
  const toml::node* node = find(key);
  if (!node) return {};
  const toml::table* parent = node->as_table();
  if (!parent) return error(key, fmt::format("expected tables, found {}", kind_of(*node)));
  for (const auto& [name, child] : *parent) {
    const std::string path = (name_.empty() ? "" : name_ + ".") + std::string(key) + "." + std::string(name.str());
    const toml::table* table = child.as_table();
    if (!table)
      return bad_input("{}, line {}: {}: expected a table, found {}", where_, child.source().begin.line, path,
                       kind_of(child));
    TomlReader reader(*table, where_, path);
    TRY_STATUS(read(name.str(), reader));
    TRY_STATUS(reader.finish());
  }
  return {};
}

Status TomlReader::table(std::string_view key, const std::function<Status(TomlReader& table)>& read) {
  static const toml::table kEmpty;
  const toml::node* node = find(key);
  const toml::table* table = node ? node->as_table() : &kEmpty;
  if (!table) return error(key, fmt::format("expected a table, found {}", kind_of(*node)));
  TomlReader reader(*table, where_, (name_.empty() ? "" : name_ + ".") + std::string(key));
  TRY_STATUS(read(reader));
  return reader.finish();
}

Status TomlReader::list(std::string_view key, const std::function<Status(TomlReader& table)>& read) {
  const toml::node* node = find(key);
  if (!node) return {};
  const toml::array* array = node->as_array();
  if (!array) return error(key, fmt::format("expected [[{}]], found {}", key, kind_of(*node)));
  for (size_t i = 0; i < array->size(); ++i) {
    const toml::table* table = (*array)[i].as_table();
    const std::string path = fmt::format("{}{}{}[{}]", name_, name_.empty() ? "" : ".", key, i);
    if (!table)
      return bad_input("{}, line {}: {}: expected a table, found {}", where_, (*array)[i].source().begin.line, path,
                       kind_of((*array)[i]));
    TomlReader reader(*table, where_, path);
    TRY_STATUS(read(reader));
    TRY_STATUS(reader.finish());
  }
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> TomlReader::string_table(std::string_view key) {
  std::vector<std::pair<std::string, std::string>> out;
  const toml::node* node = find(key);
  if (!node) return out;
  const toml::table* table = node->as_table();
  if (!table) return error(key, fmt::format("expected a table of strings, found {}", kind_of(*node)));
  for (const auto& [name, child] : *table) {
    if (!child.is_string())
      return bad_input("{}, line {}: {}.{}: expected a string, found {}", where_, child.source().begin.line, key,
                       name.str(), kind_of(child));
    out.emplace_back(name.str(), child.as_string()->get());
  }
  return out;
}

Status TomlReader::finish() const {
  for (const auto& [key, node] : *table_) {
    if (known_.count(key.str())) continue;
    const std::string meant = did_you_mean(key.str(), {known_.begin(), known_.end()});
    return bad_input(
        "{}, line {}: unknown name '{}{}{}'{}", where_, key.source().begin.line, name_, name_.empty() ? "" : ".",
        key.str(),
        !meant.empty() ? meant : fmt::format(": expected {}", fmt::join(known_.begin(), known_.end(), ", ")));
  }
  return {};
}

}  // namespace onsight::agents::config
