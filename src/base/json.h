// JSON of outside origin: parsed without exceptions, read with errors that name the file and the key.
//
//   TRY(Json config, load_json(folder / "config.json"));
//   JsonView view(config, "config.json");
//   TRY(int64_t width, view.at("text_config").integer("hidden_size", 1, 1 << 20));      // required
//   TRY(double theta, view.at("text_config").number_or("rope_theta", 10000.0));          // with a default
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace onsight {

using Json = nlohmann::json;

// Refuses a text with more nesting, or with more names in an object, before it is parsed: a callback of the library's
// parser could too, but with one it looks through a whole list at the end of each object in it.
Status check_json_shape(std::string_view text, std::string_view where, size_t max_names);

// As parse_json, of any of the library's kinds of JSON. The kind that keeps the order of names looks through all of an
// object's for each of them; `max_names` bounds that.
template <class J>
Result<J> parse_json_as(std::string_view text, std::string_view where, size_t max_names = SIZE_MAX) {
  TRY_STATUS(check_json_shape(text, where, max_names));
  J out = J::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (out.is_discarded()) return bad_input("{}: expected valid JSON", where);
  return out;
}

// `where` names the source in error messages. Refuses nesting deeper than 256 levels and anything that is not JSON.
Result<Json> parse_json(std::string_view text, std::string_view where);
Result<Json> load_json(const Path& path);

// A place inside a document, with its path for error messages. A missing object reads as empty, so chains of at() never
// fail.
class JsonView {
 public:
  JsonView(const Json& value, std::string where) : value_(&value), where_(std::move(where)) {}
  JsonView(Json&&, std::string) = delete;  // the view would outlive the document

  const Json& json() const { return *value_; }
  const std::string& where() const { return where_; }
  bool has(std::string_view key) const;  // present and not null
  JsonView at(std::string_view key) const;

  Result<int64_t> integer(std::string_view key, int64_t min, int64_t max) const;
  Result<int64_t> integer_or(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const;
  Result<double> number_or(std::string_view key, double otherwise) const;
  Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  Result<std::string> string(std::string_view key) const;
  Result<std::string> string_or(std::string_view key, std::string otherwise) const;

 private:
  const Json* value_;
  std::string where_;
};

}  // namespace onsight
