// Result<T>: a value, or an Error that says what, where, and what was expected.
//
//   Result<int> parse(std::string_view text);
//   Result<int> doubled(std::string_view text) {
//     TRY(int value, parse(text));   // returns the error of parse() from doubled()
//     return value * 2;
//   }
//   return bad_input("{}: expected a number, found '{}'", path, text);
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace onsight {

// What kind of failure an Error is; exit_code() in base/exit_code.h maps each to the documented exit code.
enum class ErrorCode {
  kUsage,        // the caller asked for something that makes no sense: exit 2
  kBadInput,     // a file, picture or model that cannot be used: exit 3
  kOutOfMemory,  // exit 4
  kInterrupted,  // Ctrl-C: exit 130
  kIo,           // output could not be written: exit 1
  kBusy,         // too much is asked for at once; later it may go: exit 1
};

struct Error {
  ErrorCode code = ErrorCode::kBadInput;
  std::string message;  // one sentence without a final full stop
  // For programs that asked over a wire: which of their fields it is, as "messages[0].role", and what is wrong with it,
  // as "invalid_type". Empty where nothing is said.
  std::string field = {};
  std::string_view reason = {};  // a literal
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

template <class... Args>
tl::unexpected<Error> make_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}
template <class... Args>
tl::unexpected<Error> bad_input(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::kBadInput, format, std::forward<Args>(args)...);
}

}  // namespace onsight

#define ONSIGHT_CONCAT_(a, b) a##b
#define ONSIGHT_CONCAT(a, b) ONSIGHT_CONCAT_(a, b)
#define ONSIGHT_TRY_(tmp, decl, ...)                                           \
  auto tmp = (__VA_ARGS__);                                                    \
  if (!tmp) return ::tl::unexpected<::onsight::Error>(std::move(tmp).error()); \
  decl = std::move(tmp).value()
// TRY(declaration, expression): declares the value of a Result, or returns its error from the enclosing function.
#define TRY(decl, ...) ONSIGHT_TRY_(ONSIGHT_CONCAT(result_, __COUNTER__), decl, __VA_ARGS__)
// TRY_STATUS(expression): the same for a Status.
#define ONSIGHT_TRY_STATUS_(tmp, ...)                                                                      \
  do {                                                                                                     \
    if (auto tmp = (__VA_ARGS__); !tmp) return ::tl::unexpected<::onsight::Error>(std::move(tmp).error()); \
  } while (false)
#define TRY_STATUS(...) ONSIGHT_TRY_STATUS_(ONSIGHT_CONCAT(status_, __COUNTER__), __VA_ARGS__)
