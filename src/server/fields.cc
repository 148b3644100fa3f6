#include "server/fields.h"

#include <cmath>

#include "base/json.h"

namespace onsight::server {

std::string to_text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Result<Json> parse_body(std::string_view body) {
  constexpr size_t kMaxNames = 1000;
  TRY(Json out, parse_json_as<Json>(body, "the body", kMaxNames));
  if (!out.is_object()) return bad_input("the body: expected a JSON object, found {}", out.type_name());
  return out;
}

const Json* Fields::find(std::string_view key) const {
  if (!object_->is_object()) return nullptr;
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::place(std::string_view key) const {
  return where_.empty() ? std::string(key) : fmt::format("{}.{}", where_, key);
}

tl::unexpected<Error> Fields::wrong_type(std::string_view key, std::string_view expected) const {
  const Json* value = find(key);
  return bad_field(place(key), value ? "invalid_type" : "missing_required_parameter", "expected {}, found {}", expected,
                   value ? value->type_name() : "nothing");
}

Result<double> Fields::number(std::string_view key, double otherwise, double min, double max) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is_number()) return wrong_type(key, "a number");
  const auto number = value->get<double>();
  if (!(number >= min && number <= max))
    return bad_field(place(key), number < min ? "decimal_below_min_value" : "decimal_above_max_value",
                     "expected a number from {} to {}, found {}", min, max, number);
  return number;
}

Result<int64_t> Fields::integer(std::string_view key, int64_t otherwise, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is_number()) return wrong_type(key, "an integer");
  const auto number = value->get<double>();
  if (!(number == std::floor(number)))
    return bad_field(place(key), "invalid_type", "expected an integer, found {}", value->dump());
  if (number < static_cast<double>(min) || number > static_cast<double>(max))
    return bad_field(place(key),
                     number < static_cast<double>(min) ? "integer_below_min_value" : "integer_above_max_value",
                     "expected an integer from {} to {}, found {}", min, max, value->dump());
  // Of a large one the double has lost digits.
  if (value->is_number_unsigned()) return static_cast<int64_t>(value->get<uint64_t>());
  if (value->is_number_integer()) return value->get<int64_t>();
  if (std::abs(number) > 9e15)
    return bad_field(place(key), "invalid_type", "expected an integer, found {}", value->dump());
  return static_cast<int64_t>(number);
}

Result<bool> Fields::boolean(std::string_view key, bool otherwise) const {
  const Json* value = find(key);
  if (!value) return otherwise;
  if (!value->is_boolean()) return wrong_type(key, "true or false");
  return value->get<bool>();
}

Result<std::string> Fields::string(std::string_view key) const {
  const Json* value = find(key);
  if (!value || !value->is_string()) return wrong_type(key, "a string");
  return value->get<std::string>();
}

Result<std::string> Fields::string_or(std::string_view key, std::string otherwise) const {
  if (!has(key)) return otherwise;
  return string(key);
}

Result<Fields> Fields::object(std::string_view key) const {
  const Json* value = find(key);
  if (!value || !value->is_object()) return wrong_type(key, "an object");
  return Fields(*value, place(key));
}

Result<const Json*> Fields::array(std::string_view key) const {
  const Json* value = find(key);
  if (!value || !value->is_array()) return wrong_type(key, "a list");
  return value;
}

std::string item_of(std::string_view place, size_t index) { return fmt::format("{}[{}]", place, index); }

}  // namespace onsight::server
