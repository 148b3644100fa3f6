#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <numeric>

namespace onsight::cli {
namespace {

// Strict: the whole text is one number, in decimal, without a sign that the type cannot have.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string long_name(const std::string& names) { return names.substr(names.rfind(',') + 1); }

// Letters to put in, leave out, replace, or exchange with their neighbour.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1), above, two_above;
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    two_above = std::exchange(above, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], two_above[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view typed, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, typed.size() / 3) + 1;  // of a short word most must be right
  if (typed.size() > 64) return best;
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(typed, candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

struct Options::Parser {
  CLI::App app;
};

Options::Options(std::string verb) : parser_(std::make_unique<Parser>()), verb_(std::move(verb)) {
  parser_->app.set_help_flag();  // --help is answered before anything is parsed
  parser_->app.allow_extras();
}

Options::~Options() = default;

void Options::add(OptionRow row, Store store) {
  row.heading = heading_;
  std::string names = row.names.empty() ? row.value : row.names;
  CLI::callback_t callback = [this, store = std::move(store)](const CLI::results_t& values) {
    if (failed_) failed_ = store(values);
    return true;
  };
  if (!row.names.empty() && row.value.empty()) {
    parser_->app.add_flag_callback(names, [callback] { callback({}); })->disable_flag_override();
  } else {
    CLI::Option* option = parser_->app.add_option(names, callback);
    // One value after each name, so that `--image a.png "a prompt"` leaves the prompt alone.
    option->allow_extra_args(row.names.empty() && row.repeatable);
    option->multi_option_policy(row.repeatable ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
  }
  rows_.push_back(std::move(row));
}

void Options::flag(std::string names, bool& target, std::string help, bool value) {
  add({.names = std::move(names), .help = std::move(help)}, [&target, value](const auto&) -> Status {
    target = value;
    return {};
  });
}

void Options::text(std::string names, std::string value, std::optional<std::string>& target, std::string help) {
  add({.names = std::move(names), .value = std::move(value), .help = std::move(help)},
      [&target](const auto& values) -> Status {
        target = values.back();
        return {};
      });
}

void Options::choice(std::string names, std::string value, std::vector<std::string> choices, int& target,
                     std::string help) {
  const std::string option = names.substr(names.find_last_of(',') + 1);
  OptionRow row = {.names = std::move(names), .value = std::move(value), .help = std::move(help), .choices = choices};
  add(std::move(row), [&target, option, choices = std::move(choices)](const auto& values) -> Status {
    const auto found = std::find(choices.begin(), choices.end(), values.back());
    if (found == choices.end())
      return make_error(ErrorCode::kUsage, "{}: expected one of {}, found '{}'", option, fmt::join(choices, ", "),
                        values.back());
    target = static_cast<int>(found - choices.begin());
    return {};
  });
}

void Options::texts(std::string names, std::string value, std::vector<std::string>& target, std::string help) {
  add({.names = std::move(names), .value = std::move(value), .help = std::move(help), .repeatable = true},
      [&target](const auto& values) -> Status {
        target = values;
        return {};
      });
}

void Options::argument(std::string value, std::optional<std::string>& target, std::string help) {
  add({.value = std::move(value), .help = std::move(help)}, [&target](const auto& values) -> Status {
    target = values.back();
    return {};
  });
}

void Options::arguments(std::string value, std::vector<std::string>& target, std::string help) {
  many_arguments_ = true;
  add({.value = std::move(value), .help = std::move(help), .repeatable = true},
      [&target](const auto& values) -> Status {
        target = values;
        return {};
      });
}

void Options::number(std::string names, std::string value, int& target, Range range, std::string help) {
  std::string name = long_name(names);
  add({.names = std::move(names), .value = std::move(value), .help = std::move(help)},
      [&target, range, name](const auto& values) -> Status {
        std::optional<int> number = parse_number<int>(values.back());
        if (!number || *number < range.min || *number > range.max)
          return make_error(ErrorCode::kUsage, "{}: expected a whole number from {} to {}, found '{}'", name,
                            static_cast<int>(range.min), static_cast<int>(range.max), values.back());
        target = *number;
        return {};
      });
}

void Options::number(std::string names, std::string value, uint64_t& target, std::string help) {
  std::string name = long_name(names);
  add({.names = std::move(names), .value = std::move(value), .help = std::move(help)},
      [&target, name](const auto& values) -> Status {
        std::optional<uint64_t> number = parse_number<uint64_t>(values.back());
        if (!number)
          return make_error(ErrorCode::kUsage, "{}: expected a whole number from 0 to {}, found '{}'", name, UINT64_MAX,
                            values.back());
        target = *number;
        return {};
      });
}

template <class T>
void Options::add_real(std::string names, std::string value, T& target, Range range, std::string help) {
  std::string name = long_name(names);
  add({.names = std::move(names), .value = std::move(value), .help = std::move(help)},
      [&target, range, name](const auto& values) -> Status {
        std::optional<double> number = parse_number<double>(values.back());
        // Written so that NaN is refused as well.
        bool inside = number && *number <= range.max && (range.open_min ? *number > range.min : *number >= range.min);
        if (!inside)
          return make_error(ErrorCode::kUsage, "{}: expected a number {} {} and at most {}, found '{}'", name,
                            range.open_min ? "above" : "of at least", range.min, range.max, values.back());
        target = static_cast<T>(*number);
        return {};
      });
}

void Options::number(std::string names, std::string value, float& target, Range range, std::string help) {
  add_real(std::move(names), std::move(value), target, range, std::move(help));
}

void Options::number(std::string names, std::string value, double& target, Range range, std::string help) {
  add_real(std::move(names), std::move(value), target, range, std::move(help));
}

Status Options::refuse_unknown(const std::vector<std::string>& rest) const {
  for (const std::string& argument : rest) {
    if (argument.size() < 2 || argument[0] != '-' || argument == "--") continue;
    std::string typed = argument.substr(0, argument.find('='));
    std::vector<std::string> known = {"--help"};
    for (const OptionRow& row : rows_)
      if (!row.names.empty()) known.push_back(long_name(row.names));
    std::string meant = typed.size() > 2 ? nearest(typed, known) : std::string();
    if (!meant.empty()) return make_error(ErrorCode::kUsage, "unknown option '{}', did you mean '{}'?", typed, meant);
    return make_error(ErrorCode::kUsage, "unknown option '{}' (onsight {} --help lists the options)", typed, verb_);
  }
  const auto has = [&](std::string_view name) {
    return std::any_of(rows_.begin(), rows_.end(), [&](const OptionRow& row) { return long_name(row.names) == name; });
  };
  for (const std::string& argument : rest)
    if (argument != "--" && !many_arguments_)
      return make_error(ErrorCode::kUsage, "unexpected argument '{}': expected {} after the options{}", argument,
                        has("") ? "at most one" : "none",
                        has("--image") ? " (quote a text of several words; a picture goes after --image)" : "");
  return {};
}

// A flag that was given a value, or else an option at the end of the line that lacks its own.
Status Options::refuse_mismatch(std::span<const std::string> arguments) const {
  auto named = [](const OptionRow& row, const std::string& name) {
    return (',' + row.names + ',').find(',' + name + ',') != std::string::npos;
  };
  for (const OptionRow& row : rows_) {
    if (row.names.empty()) continue;
    for (const std::string& argument : arguments) {
      size_t equals = argument.find('=');
      if (row.value.empty() && equals != std::string::npos && named(row, argument.substr(0, equals)))
        return make_error(ErrorCode::kUsage, "{}: expected no value, found '{}'", argument.substr(0, equals),
                          argument.substr(equals + 1));
    }
    if (!row.value.empty() && named(row, arguments.back()))
      return make_error(ErrorCode::kUsage, "{}: expected {} after it", arguments.back(), row.value);
  }
  return make_error(ErrorCode::kUsage, "'{}': expected a value after it", arguments.back());
}

Status Options::parse(std::span<const std::string> arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // the order that CLI11 takes
  try {
    parser_->app.parse(std::move(reversed));
  } catch (const CLI::ArgumentMismatch&) {
    return refuse_mismatch(arguments);
  } catch (const CLI::Error& error) {
    return make_error(ErrorCode::kUsage, "{}", error.what());
  }
  TRY_STATUS(refuse_unknown(parser_->app.remaining()));
  return failed_;
}

}  // namespace onsight::cli
