#include "server/openai/names.h"

#include <algorithm>

namespace onsight::server::openai {
namespace {

// Of what is refused, the values that ask for nothing.
bool asks_for_nothing(const Json& value) {
  if (value.is_null() || (value.is_structured() && value.empty())) return true;
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_boolean()) return !value.get<bool>();
  return value.is_string() && (value.get<std::string>() == "none" || value.get<std::string>() == "auto");
}

bool contains(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Status check_texts(const Fields& fields, std::string_view key) {
  TRY(const Fields texts, fields.object(key));
  for (const auto& [name, value] : texts.json().items())
    if (!value.is_string()) return texts.wrong_type(name, "a string");
  return {};
}

Status check_shape(const Fields& fields, const Harmless& field) {
  const Json* value = fields.find(field.name);
  if (!value) return {};
  switch (field.shape) {
    case Shape::kAny:
      return {};
    case Shape::kString:
      if (!value->is_string()) return fields.wrong_type(field.name, "a string");
      return {};
    case Shape::kBoolean:
      if (!value->is_boolean()) return fields.wrong_type(field.name, "true or false");
      return {};
    case Shape::kInteger:
      if (!value->is_number_integer()) return fields.wrong_type(field.name, "an integer");
      return {};
    case Shape::kList:
      if (!value->is_array()) return fields.wrong_type(field.name, "a list");
      return {};
    case Shape::kObject:
      if (!value->is_object()) return fields.wrong_type(field.name, "an object");
      return {};
    case Shape::kTexts:
      return check_texts(fields, field.name);
  }
  return {};
}

}  // namespace

Status check_names(const Fields& fields, std::initializer_list<std::string_view> handled,
                   std::initializer_list<Harmless> harmless, std::initializer_list<std::string_view> refused) {
  for (const auto& [name, value] : fields.json().items()) {
    if (contains(handled, name)) continue;
    const auto* known = std::find_if(harmless.begin(), harmless.end(),
                                     [&name = name](const Harmless& field) { return field.name == name; });
    if (known != harmless.end()) {
      TRY_STATUS(check_shape(fields, *known));
      continue;
    }
    const std::string place = fields.place(name);
    if (!contains(refused, name))
      return tl::unexpected<Error>(
          {.message = fmt::format("Unknown parameter: '{}'", place), .field = place, .reason = "unknown_parameter"});
    if (!asks_for_nothing(value))
      return bad_field(place, value.is_number() ? "unsupported_value" : "unsupported_parameter",
                       "expected nothing, this server does not support it");
  }
  return {};
}

}  // namespace onsight::server::openai
