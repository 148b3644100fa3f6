// Fields: an object of a request's JSON, read with errors that name the place of a value.
//
//   TRY(Json body, parse_body(request.body));
//   Fields fields(body, "");
//   TRY(double temperature, fields.number("temperature", 0, 0, 2));   // absent or null: 0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::server {

// Keeps the order of keys, which is the order of a schema's properties.
using Json = nlohmann::ordered_json;

// As text; bytes that are not UTF-8 become U+FFFD.
std::string to_text(const Json& json);

// The error of one field, which its message begins with: "temperature: expected a number, found string". The reason is
// one of OpenAI's codes.
template <class... Args>
tl::unexpected<Error> bad_field(std::string field, std::string_view reason, fmt::format_string<Args...> format,
                                Args&&... args) {
  std::string message = fmt::format("{}: {}", field, fmt::format(format, std::forward<Args>(args)...));
  return tl::unexpected<Error>({.message = std::move(message), .field = std::move(field), .reason = reason});
}

// The same of an error that others found in the value of a field, and whose message names it already.
template <class T>
Result<T> of_field(Result<T> result, std::string_view field, std::string_view reason) {
  if (!result && result.error().code == ErrorCode::kBadInput && result.error().field.empty()) {
    result.error().field = field;
    result.error().reason = reason;
  }
  return result;
}

// An object; refuses anything else, nesting deeper than 256 levels, and more than 1000 names in one object.
Result<Json> parse_body(std::string_view body);

class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {}
  Fields(Json&&, std::string) = delete;  // it would outlive the document

  const Json& json() const { return *object_; }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const Json* find(std::string_view key) const;  // null if it is not there, or JSON's null
  std::string place(std::string_view key) const;
  // The error of a value that is not what was expected, or that is not there.
  tl::unexpected<Error> wrong_type(std::string_view key, std::string_view expected) const;

  Result<double> number(std::string_view key, double otherwise, double min, double max) const;
  Result<int64_t> integer(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const;
  Result<bool> boolean(std::string_view key, bool otherwise) const;
  Result<std::string> string(std::string_view key) const;
  Result<std::string> string_or(std::string_view key, std::string otherwise) const;
  Result<Fields> object(std::string_view key) const;
  Result<const Json*> array(std::string_view key) const;

 private:
  const Json* object_;
  std::string where_;
};

// "messages[0]"
std::string item_of(std::string_view place, size_t index);

}  // namespace onsight::server
