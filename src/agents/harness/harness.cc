#include "agents/harness/harness.h"

#include <algorithm>
#include <regex>
#include <set>

#include "agents/config/toml_reader.h"

namespace onsight::agents::harness {
namespace {

using config::TomlReader;

constexpr std::string_view kPlaceholders[] = {"task", "model", "name", "role", "home", "placeholder"};
constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz", kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                           kDigits = "0123456789";
constexpr size_t kMaxPatternBytes = 1000;
// What the container's environment says by itself, and what would take the program's place.
constexpr std::string_view kTaken[] = {"HOME",        "TERM",     "HTTP_PROXY", "HTTPS_PROXY", "http_proxy",
                                       "https_proxy", "NO_PROXY", "no_proxy",   "LD_PRELOAD"};

bool made_of(std::string_view text, std::initializer_list<std::string_view> sets) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return std::any_of(sets.begin(), sets.end(), [&](std::string_view set) { return set.find(c) != set.npos; });
  });
}

// A relative path that stays where it begins.
bool stays_inside(std::string_view path) {
  if (path.empty() || path.size() > 500 || path.front() == '/' || path.back() == '/') return false;
  for (std::string_view rest = path;;) {
    const std::string_view part = rest.substr(0, rest.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    if (std::any_of(part.begin(), part.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }))
      return false;
    if (part.size() == rest.size()) return true;
    rest.remove_prefix(part.size() + 1);
  }
}

// The first {word} that stands for nothing; empty: there is none.
std::string unknown_placeholder(std::string_view text) {
  for (size_t at = 0; (at = text.find('{', at)) != std::string_view::npos; ++at) {
    const size_t end = text.find('}', at);
    if (end == std::string_view::npos) break;
    const std::string_view word = text.substr(at + 1, end - at - 1);
    if (!word.empty() && made_of(word, {kLower, "_"}) &&
        std::find(std::begin(kPlaceholders), std::end(kPlaceholders), word) == std::end(kPlaceholders))
      return std::string(text.substr(at, end - at + 1));
  }
  return {};
}

Result<std::vector<std::string>> read_command(TomlReader& table, std::string_view key) {
  TRY(std::vector<std::string> command, table.strings_or(key, {}));
  for (const std::string& argument : command)
    if (const std::string unknown = unknown_placeholder(argument); !unknown.empty())
      return table.error(key, fmt::format("{}: expected one of {{{}}}", unknown, fmt::join(kPlaceholders, "}, {")));
  if (!command.empty() && (command[0].empty() || command[0].find('{') != std::string::npos))
    return table.error(key, "expected a program first");
  return command;
}

Result<std::map<std::string, std::string>> read_map(TomlReader& table, std::string_view key) {
  TRY(const auto entries, table.string_table(key));
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : entries) {
    if (value.find('\0') != std::string::npos) return table.error(key, fmt::format("{}: expected no zero bytes", name));
    out.emplace(name, value);
  }
  return out;
}

Result<std::map<std::string, std::string>> read_variables(TomlReader& table, std::string_view key) {
  TRY(auto variables, read_map(table, key));
  for (const auto& [name, value] : variables) {
    if (name.empty() || !made_of(name, {kLower, kUpper, kDigits, "_"}) || made_of(name.substr(0, 1), {kDigits}))
      return table.error(key, fmt::format("'{}': expected the name of a variable", name));
    if (name.starts_with("ONSIGHT_") || std::find(std::begin(kTaken), std::end(kTaken), name) != std::end(kTaken))
      return table.error(key, fmt::format("{} is set for every agent, and cannot be set here", name));
    if (const std::string unknown = unknown_placeholder(value); !unknown.empty())
      return table.error(
          key, fmt::format("{}: {}: expected one of {{{}}}", name, unknown, fmt::join(kPlaceholders, "}, {")));
  }
  return variables;
}

Result<std::string> read_pattern(TomlReader& table, std::string_view key) {
  TRY(std::string pattern, table.string_or(key, ""));
  if (pattern.size() > kMaxPatternBytes)
    return table.error(key, fmt::format("expected at most {} bytes", kMaxPatternBytes));
  try {
    const std::regex compiled(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error& e) {
    return table.error(key, fmt::format("expected a regular expression ({})", e.what()));
  }
  return pattern;
}

Status read_install(TomlReader& table, Harness::Install& install) {
  TRY(install.npm, table.string_or("npm", ""));
  const std::string_view rest = std::string_view(install.npm).substr(install.npm.starts_with('@') ? 1 : 0);
  if (!made_of(install.npm, {kLower, kUpper, kDigits, "@/._~{}-"}) || rest.starts_with('-') || rest.starts_with('.') ||
      rest.starts_with('/') || (!install.npm.empty() && rest.empty()) || rest.find("..") != rest.npos)
    return table.error("npm", fmt::format("expected the name of a package of npm, found \"{}\"", install.npm));
  TRY(install.node, table.string_or("node", ""));
  if (!made_of(install.node, {kDigits, "."}))
    return table.error("node", fmt::format("expected a version such as \"22.23.3\", found \"{}\"", install.node));
  TRY(install.packages, table.strings_or("packages", {}));
  for (const std::string& package : install.packages)
    if (package.size() < 2 || !made_of(package, {kLower, kDigits, "+.-"}) ||
        !made_of(package.substr(0, 1), {kLower, kDigits}))
      return table.error("packages", fmt::format("'{}': expected the name of a Debian package", package));
  TRY(install.links, read_map(table, "links"));
  for (const auto& [name, target] : install.links)
    if (!stays_inside(name) || name.find('/') != name.npos || !stays_inside(target))
      return table.error(
          "links", fmt::format("{} = \"{}\": expected a program's name and a path below node_modules", name, target));
  return {};
}

}  // namespace

Result<Harness> parse(std::string_view text, std::string_view name, std::string_view where) {
  TRY(const toml::table document, config::parse_toml(text, where));
  TomlReader top(document, std::string(where));
  Harness harness;
  harness.name = name;
  TRY(harness.about, top.string_or("about", ""));
  TRY(harness.version, top.string_or("version", "1"));
  if (harness.version.empty() || harness.version.size() > 60 ||
      !made_of(harness.version, {kLower, kUpper, kDigits, "._-"}) ||
      !made_of(harness.version.substr(0, 1), {kLower, kUpper, kDigits}))
    return top.error("version",
                     fmt::format("expected letters, digits, dots and dashes, found \"{}\"", harness.version));
  TRY(harness.command, read_command(top, "command"));
  if (harness.command.empty()) return top.error("command", "expected command = [\"program\", \"{task}\"]");
  TRY(harness.resume, read_command(top, "resume"));
  TRY(harness.messages, top.string_or("messages", harness.messages));
  if (harness.messages != "terminal" && harness.messages != "hook" && harness.messages != "none")
    return top.error("messages", fmt::format("expected terminal, hook or none, found \"{}\"", harness.messages));
  TRY(harness.thinking, read_pattern(top, "thinking"));
  TRY(harness.waiting, read_pattern(top, "waiting"));
  TRY(harness.blocked, read_pattern(top, "blocked"));
  TRY_STATUS(top.table("install", [&](TomlReader& table) { return read_install(table, harness.install); }));
  TRY(harness.environment, read_variables(top, "environment"));
  TRY(harness.files, read_map(top, "files"));
  for (const auto& [path, contents] : harness.files) {
    if (!stays_inside(path)) return top.error("files", fmt::format("\"{}\": expected a path below HOME", path));
    // What a file means is not known here, so what a human wrote must not become part of it.
    if (contents.find("{task}") != contents.npos)
      return top.error("files", fmt::format("\"{}\": {{task}} can stand in commands and in [environment] only", path));
  }
  TRY(harness.base_urls, read_variables(top, "base_urls"));
  TRY(harness.keys, read_variables(top, "keys"));
  TRY_STATUS(top.tables("providers", [&](std::string_view provider, TomlReader& table) -> Status {
    TRY(config::Provider read, config::parse_provider(provider, table));
    harness.own_providers.emplace(std::string(provider), std::move(read));
    return {};
  }));
  TRY_STATUS(top.finish());
  std::set<std::string> providers;
  for (const auto& [provider, row] : harness.own_providers) providers.insert(provider);
  for (const auto* each : {&harness.base_urls, &harness.keys})
    for (const auto& [variable, provider] : *each) providers.insert(provider);
  harness.providers.assign(providers.begin(), providers.end());
  return harness;
}

std::string fill(std::string_view text, const Values& values) {
  const std::string* const by_placeholder[] = {&values.task, &values.model, &values.name,
                                               &values.role, &values.home,  &values.placeholder};
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t open = std::min(text.find('{', at), text.size());
    out.append(text, at, open - at);
    at = open;
    if (at == text.size()) break;
    size_t taken = 0;
    for (size_t i = 0; i < std::size(kPlaceholders) && taken == 0; ++i) {
      const std::string_view word = kPlaceholders[i];
      if (text.substr(at + 1, word.size()) != word || text.substr(at + 1 + word.size(), 1) != "}") continue;
      out += *by_placeholder[i];
      taken = word.size() + 2;
    }
    if (taken == 0) out += text[at];
    at += std::max<size_t>(taken, 1);
  }
  return out;
}

std::vector<std::string> fill(const std::vector<std::string>& command, const Values& values) {
  std::vector<std::string> out;
  for (const std::string& argument : command) {
    if (argument == "{model}" && values.model.empty()) {
      if (out.size() > 1) out.pop_back();
      continue;
    }
    out.push_back(fill(std::string_view(argument), values));
  }
  return out;
}

}  // namespace onsight::agents::harness
