// TomlReader: a table of a TOML file, read name by name, with errors that say the line and what was expected; names
// that nobody read are refused.
//
//   TRY(const toml::table document, parse_toml(text, "agents.toml"));
//   TomlReader top(document, "agents.toml");
//   TRY(std::string engine, top.string_or("engine", "auto"));
//   TRY_STATUS(top.finish());
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/toml.h"

namespace onsight::agents::config {

Result<toml::table> parse_toml(std::string_view text, std::string_view where);

class TomlReader {
 public:
  // `name`: of the table, for errors ("roles.coder"); empty at the top.
  TomlReader(const toml::table& table, std::string where, std::string name = "")
      : table_(&table), where_(std::move(where)), name_(std::move(name)) {}

  bool has(std::string_view key) const { return table_->contains(key); }
  Result<std::string> string_or(std::string_view key, std::string otherwise);
  Result<std::string> string(std::string_view key);
  Result<int64_t> integer_or(std::string_view key, int64_t otherwise, int64_t min, int64_t max);
  Result<double> number_or(std::string_view key, double otherwise, double min, double max);
  Result<bool> boolean_or(std::string_view key, bool otherwise);
  Result<std::vector<std::string>> strings_or(std::string_view key, std::vector<std::string> otherwise);
  // Commands, each a list of a program and its arguments: [["make", "test"]].
  Result<std::vector<std::vector<std::string>>> commands_or_none(std::string_view key);
  // "512MiB", "2GiB", "100kB"; a bare number is bytes.
  Result<uint64_t> bytes_or(std::string_view key, uint64_t otherwise, uint64_t min, uint64_t max);
  // "500ms", "30s", "5m", "2h".
  Result<std::optional<std::chrono::milliseconds>> time(std::string_view key);
  // Calls `read` for each table of the table `key`, by name, if there is one.
  Status tables(std::string_view key, const std::function<Status(std::string_view name, TomlReader& table)>& read);
  // The table `key`; an empty one where there is none.
  Status table(std::string_view key, const std::function<Status(TomlReader& table)>& read);
  // The tables of the list `key` ([[tasks]]).
  Status list(std::string_view key, const std::function<Status(TomlReader& table)>& read);
  // All strings of the table `key`, by name.
  Result<std::vector<std::pair<std::string, std::string>>> string_table(std::string_view key);

  // Another reader's: it counts as read here.
  void pass(std::string_view key) { find(key); }

  // "agents.toml, line 12: roles.coder.memory: expected …". Of a key that is not there, the table's line.
  tl::unexpected<Error> error(std::string_view key, std::string_view sentence) const;
  // Refuses the first name that was not asked for, with the nearest of those that were.
  Status finish() const;

 private:
  const toml::node* find(std::string_view key);
  const toml::table* table_;
  std::string where_, name_;
  std::set<std::string, std::less<>> known_;
};

// Of "2GiB"; what it says is wrong comes back as the sentence after "expected".
Result<uint64_t> parse_bytes(std::string_view text);
Result<std::chrono::milliseconds> parse_time(std::string_view text);
// The candidate that was most likely meant, in ", did you mean 'x'?"; empty if none is near.
std::string did_you_mean(std::string_view typed, const std::vector<std::string>& candidates);

}  // namespace onsight::agents::config
