// Whether a value satisfies a schema: for the values of enum and const, beside which other keywords stand.
#include <algorithm>
#include <cmath>

#include "text/number_grammar.h"
#include "text/pattern.h"
#include "text/schema_document.h"

namespace onsight::text {
namespace {

bool is_of_type(const OrderedJson& value, const std::string& type) {
  if (type == "integer") return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

uint64_t code_points(const std::string& text) {
  return static_cast<uint64_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Whatever the order of properties.
bool same(const OrderedJson& a, const OrderedJson& b) { return nlohmann::json(a) == nlohmann::json(b); }

class Checker {
 public:
  Checker(const SchemaDocument& document, Schema schema, const OrderedJson& value)
      : document_(document), schema_(schema), value_(value) {}

  bool alone() const {
    return type_fits() && listed() && (!value_.is_number() || number_fits()) &&
           (!value_.is_string() || string_fits()) && (!value_.is_array() || array_fits()) &&
           (!value_.is_object() || object_fits());
  }

  bool combined() const {
    const auto fits = [this](Schema part) { return satisfies(document_, part, value_, false); };
    if (SchemaDocument::find(schema_, "$ref") && !fits(document_.target(schema_))) return false;
    const auto all = SchemaDocument::list(schema_, "allOf"), any = SchemaDocument::list(schema_, "anyOf"),
               one = SchemaDocument::list(schema_, "oneOf");
    return std::all_of(all.begin(), all.end(), fits) && (any.empty() || std::any_of(any.begin(), any.end(), fits)) &&
           (one.empty() || std::count_if(one.begin(), one.end(), fits) == 1);
  }

 private:
  Schema find(std::string_view keyword) const { return SchemaDocument::find(schema_, keyword); }
  bool holds(std::string_view keyword, auto test) const {
    const Schema found = find(keyword);
    return !found || test(*found);
  }
  bool within(std::string_view least, std::string_view most, uint64_t count) const {
    const double n = static_cast<double>(count);
    return holds(least, [n](const OrderedJson& v) { return n >= v.get<double>(); }) &&
           holds(most, [n](const OrderedJson& v) { return n <= v.get<double>(); });
  }

  bool type_fits() const {
    const Schema types = find("type");
    if (!types) return true;
    if (value_.is_null() && holds("nullable", [](const OrderedJson& v) { return v == true; }) && find("nullable"))
      return true;
    const auto fits = [this](const OrderedJson& type) {
      return is_of_type(value_, type.get_ref<const std::string&>());
    };
    return types->is_array() ? std::any_of(types->begin(), types->end(), fits) : fits(*types);
  }

  bool listed() const {
    return holds("const", [this](const OrderedJson& v) { return same(v, value_); }) &&
           holds("enum", [this](const OrderedJson& v) {
             return std::any_of(v.begin(), v.end(), [this](const OrderedJson& item) { return same(item, value_); });
           });
  }

  bool number_fits() const {
    const Decimal value = parse_decimal(value_.dump());
    const auto against = [&](const OrderedJson& bound) { return compare(value, parse_decimal(bound.dump())); };
    return holds("minimum", [&](const OrderedJson& v) { return against(v) >= 0; }) &&
           holds("maximum", [&](const OrderedJson& v) { return against(v) <= 0; }) &&
           holds("exclusiveMinimum", [&](const OrderedJson& v) { return against(v) > 0; }) &&
           holds("exclusiveMaximum", [&](const OrderedJson& v) { return against(v) < 0; }) &&
           holds("multipleOf",
                 [this](const OrderedJson& v) { return std::fmod(value_.get<double>(), v.get<double>()) == 0; });
  }

  bool string_fits() const {
    const std::string& text = value_.get_ref<const std::string&>();
    return within("minLength", "maxLength", code_points(text)) &&
           holds(
               "format",
               [&](const OrderedJson& v) { return texts_of_format(v.get_ref<const std::string&>())->matches(text); }) &&
           holds("pattern", [&](const OrderedJson& v) {
             return compile_pattern(v.get_ref<const std::string&>()).value().matches(text);
           });
  }

  bool array_fits() const {
    const std::vector<Schema> first = SchemaDocument::first_items(schema_);
    const Schema rest = SchemaDocument::rest_of_items(schema_);
    for (size_t i = 0; i < value_.size(); ++i) {
      const Schema item = i < first.size() ? first[i] : rest;
      if (item && !satisfies(document_, item, value_[i], false)) return false;
    }
    return within("minItems", "maxItems", value_.size());
  }

  bool object_fits() const {
    for (const Schema name : SchemaDocument::list(schema_, "required"))
      if (!value_.contains(name->get_ref<const std::string&>())) return false;
    const Schema properties = find("properties"), more = find("additionalProperties");
    for (const auto& [name, item] : value_.items()) {
      const Schema named = properties ? SchemaDocument::find(properties, name) : nullptr;
      const Schema own = named ? named : more;
      if (own && !satisfies(document_, own, item, false)) return false;
    }
    return true;
  }

  const SchemaDocument& document_;
  Schema schema_;
  const OrderedJson& value_;
};

}  // namespace

bool satisfies(const SchemaDocument& document, Schema schema, const OrderedJson& value, bool alone) {
  if (schema->is_boolean()) return schema->get<bool>();
  const Checker checker(document, schema, value);
  return checker.alone() && (alone || checker.combined());
}

}  // namespace onsight::text
