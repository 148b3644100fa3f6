#include "server/gemini/schema.h"

#include <algorithm>
#include <map>

#include "server/gemini/names.h"

namespace onsight::server::gemini {
namespace {

Result<Json> type_of(const Json& value, const std::string& where) {
  static const std::map<std::string, std::string, std::less<>> kTypes = {
      {"STRING", "string"}, {"NUMBER", "number"}, {"INTEGER", "integer"}, {"BOOLEAN", "boolean"},
      {"ARRAY", "array"},   {"OBJECT", "object"}, {"NULL", "null"}};
  if (!value.is_string()) return bad_input("{}: expected the name of a type, found {}", where, value.type_name());
  std::string name = value.get<std::string>();
  for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  const auto found = kTypes.find(name);
  if (found == kTypes.end())
    return bad_input("{}: expected STRING, NUMBER, INTEGER, BOOLEAN, ARRAY, OBJECT or NULL, found '{}'", where, name);
  return Json(found->second);
}

// Counts have 64 bits, and such numbers may be strings in this API's JSON.
Json count_of(std::string_view name, const Json& value) {
  const bool count = name.starts_with("min") || name.starts_with("max");
  if (!count || !value.is_string()) return value;
  Json number = Json::parse(value.get<std::string>(), nullptr, false);
  return number.is_number() ? number : value;
}

// What a format says beyond the type. Others than these are refused where the schema is compiled.
void add_format(const Json& format, Json& out) {
  const std::string name = format.is_string() ? format.get<std::string>() : std::string();
  if (name == "enum" || name == "int64" || name == "float" || name == "double") return;
  if (name == "int32") {
    if (!out.contains("minimum")) out["minimum"] = INT32_MIN;
    if (!out.contains("maximum")) out["maximum"] = INT32_MAX;
    return;
  }
  out["format"] = format;
}

Result<Json> properties_of(const Json& properties, const Json* ordering, const std::string& where) {
  if (!properties.is_object()) return bad_input("{}.properties: expected an object", where);
  Json out = Json::object();
  if (ordering && !ordering->is_array()) return bad_input("{}.propertyOrdering: expected a list of names", where);
  if (ordering)
    for (const Json& name : *ordering) {
      if (!name.is_string() || !properties.contains(name.get<std::string>()))
        return bad_input("{}.propertyOrdering: expected names of the properties, found {}", where, to_text(name));
      out[name.get<std::string>()] = nullptr;
    }
  for (const auto& [name, schema] : properties.items()) {
    TRY(out[name], to_json_schema(schema, fmt::format("{}.properties.{}", where, name)));
  }
  return out;
}

Result<Json> list_of(const Json& schemas, const std::string& where) {
  if (!schemas.is_array()) return bad_input("{}: expected a list of schemas", where);
  Json out = Json::array();
  for (size_t i = 0; i < schemas.size(); ++i) {
    TRY(Json schema, to_json_schema(schemas[i], item_of(where, i)));
    out.push_back(std::move(schema));
  }
  return out;
}

}  // namespace

Result<Json> to_json_schema(const Json& schema, std::string_view where) {
  const std::string place(where);
  if (schema.is_boolean()) return schema;
  if (!schema.is_object()) return bad_input("{}: expected a schema, found {}", place, schema.type_name());
  Json out = Json::object();
  const Json *ordering = nullptr, *properties = nullptr, *format = nullptr;
  bool nullable = false;
  for (const auto& [written, value] : schema.items()) {
    const std::string name = camel_case(written);
    const std::string here = fmt::format("{}.{}", place, name);
    if (value.is_null() || name == "example" || name == "default") continue;
    if (name == "type") {
      if (value == "TYPE_UNSPECIFIED") continue;
      TRY(out["type"], type_of(value, here));
    } else if (name == "nullable") {
      if (!value.is_boolean()) return bad_input("{}: expected true or false", here);
      nullable = value.get<bool>();
    } else if (name == "propertyOrdering") {
      ordering = &value;
    } else if (name == "properties") {
      properties = &value;
    } else if (name == "format") {
      format = &value;
    } else if (name == "items" || name == "additionalProperties") {
      TRY(out[name], to_json_schema(value, here));
    } else if (name == "anyOf" || name == "prefixItems") {
      TRY(out[name], list_of(value, here));
    } else if (name == "defs" || name == "$defs") {
      TRY(out["$defs"], properties_of(value, nullptr, here));
    } else if (name == "ref") {
      out["$ref"] = value;
    } else {
      // Names that JSON Schema has too; those that neither has are refused where it is compiled.
      out[name] = count_of(name, value);
    }
  }
  if (format) add_format(*format, out);
  if (properties) {
    TRY(out["properties"], properties_of(*properties, ordering, place));
  } else if (ordering && !ordering->empty()) {
    return bad_input("{}.propertyOrdering: expected properties beside it", place);
  }
  if (!nullable) return out;
  // References are looked up from the root, which must keep its definitions.
  Json outer = {{"anyOf", Json::array({out, {{"type", "null"}}})}};
  if (out.contains("$defs")) {
    outer["$defs"] = out["$defs"];
    outer["anyOf"][0].erase("$defs");
  }
  return outer;
}

}  // namespace onsight::server::gemini
