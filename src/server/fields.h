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

// An object; refuses anything else, and nesting deeper than 256 levels.
Result<Json> parse_body(std::string_view body);

class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {}
  Fields(Json&&, std::string) = delete;  // it would outlive the document

  const Json& json() const { return *object_; }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const Json* find(std::string_view key) const;  // null if it is not there, or JSON's null
  std::string place(std::string_view key) const;

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
