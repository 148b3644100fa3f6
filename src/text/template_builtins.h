// Filters, tests, methods and functions of chat templates.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template_value.h"

namespace onsight::text {

enum class BuiltinKind : uint8_t { kFilter, kTest, kMethod, kFunction };

struct Builtin {
  BuiltinKind kind;
  std::string_view name;
  int min_args, max_args;     // beside the input or object
  std::string_view keywords;  // names of arguments that may be given by name, each with a space behind; "*" any
};

// Null if there is none of that name.
const Builtin* find_builtin(BuiltinKind kind, std::string_view name);
// Names that Jinja defines: only calls to the supported ones make sense.
bool is_global_name(std::string_view name);

using Keywords = std::span<const std::pair<std::string, Value>>;

// The arguments fit the Builtin's numbers. Errors are the end of a sentence: the interpreter puts the place before
// them.
Result<Value> call_filter(std::string_view name, const Value& input, std::span<const Value> args, Keywords keywords);
Result<bool> call_test(std::string_view name, const Value& input, std::span<const Value> args);
Result<Value> call_method(std::string_view name, const Value& object, std::span<const Value> args);
Result<Value> call_function(std::string_view name, std::span<const Value> args, Keywords keywords);

Result<bool> contains(const Value& container, const Value& item);  // Python's `in`

}  // namespace onsight::text
