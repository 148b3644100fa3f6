#include "text/schema_value.h"

#include <algorithm>
#include <cmath>

namespace onsight::text {
namespace {

constexpr int kMaxChecks = 1000;  // within one another
constexpr uint64_t kStepsPerCheck = 60, kStepsPerListed = 100;

bool is_of_type(const OrderedJson& value, const std::string& type) {
  if (type == "integer") return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

uint64_t code_points(const std::string& text) {
  return static_cast<uint64_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Equal values have one spelling, whatever the order of their properties and the form of their numbers.
void spell(const OrderedJson& value, std::string& out) {
  if (value.is_number()) {
    const Decimal number = exact_decimal(value);
    out += fmt::format("{}{}.{}", number.negative ? "-" : "", number.whole, number.part);
  } else if (value.is_array()) {
    out += '[';
    for (const OrderedJson& item : value) {
      spell(item, out);
      out += ',';
    }
    out += ']';
  } else if (value.is_object()) {
    std::vector<std::pair<std::string_view, const OrderedJson*>> items;
    for (const auto& [name, item] : value.items()) items.emplace_back(name, &item);
    std::sort(items.begin(), items.end());
    out += '{';
    for (const auto& [name, item] : items) {
      out += OrderedJson(name).dump() + ':';
      spell(*item, out);
      out += ',';
    }
    out += '}';
  } else {
    out += value.dump();
  }
}

bool is_multiple(const Decimal& number, int64_t of) {
  int64_t rest = 0;
  for (const char c : number.whole) rest = (rest * 10 + (c - '0')) % of;
  return number.part.empty() && rest == 0;
}

bool holds(Schema schema, std::string_view keyword, auto test) {
  const Schema found = SchemaDocument::find(schema, keyword);
  return !found || test(*found);
}

bool within(Schema schema, std::string_view least, std::string_view most, uint64_t count) {
  const double n = static_cast<double>(count);
  return holds(schema, least, [n](const OrderedJson& v) { return n >= v.get<double>(); }) &&
         holds(schema, most, [n](const OrderedJson& v) { return n <= v.get<double>(); });
}

bool type_fits(Schema schema, const OrderedJson& value) {
  const Schema types = SchemaDocument::find(schema, "type"), nullable = SchemaDocument::find(schema, "nullable");
  if (!types || (value.is_null() && nullable && *nullable == true)) return true;
  const auto fits = [&](const OrderedJson& type) { return is_of_type(value, type.get_ref<const std::string&>()); };
  return types->is_array() ? std::any_of(types->begin(), types->end(), fits) : fits(*types);
}

bool number_fits(Schema schema, const OrderedJson& value) {
  const Decimal number = exact_decimal(value);
  const auto against = [&](const OrderedJson& bound) { return compare(number, exact_decimal(bound)); };
  return holds(schema, "minimum", [&](const OrderedJson& v) { return against(v) >= 0; }) &&
         holds(schema, "maximum", [&](const OrderedJson& v) { return against(v) <= 0; }) &&
         holds(schema, "exclusiveMinimum", [&](const OrderedJson& v) { return against(v) > 0; }) &&
         holds(schema, "exclusiveMaximum", [&](const OrderedJson& v) { return against(v) < 0; }) &&
         holds(schema, "multipleOf", [&](const OrderedJson& v) { return is_multiple(number, v.get<int64_t>()); });
}

}  // namespace

bool ValueChecker::satisfies(Schema schema, const OrderedJson& value, bool alone) {
  if (depth_ > kMaxChecks) work_.exhaust();
  if (!work_.spend(kStepsPerCheck)) return false;
  if (schema->is_boolean()) return schema->get<bool>();
  ++depth_;
  const bool fits = alone_fits(schema, value) && (alone || combined_fits(schema, value));
  --depth_;
  return fits;
}

bool ValueChecker::alone_fits(Schema schema, const OrderedJson& value) {
  return type_fits(schema, value) && listed(schema, value) && (!value.is_number() || number_fits(schema, value)) &&
         (!value.is_string() || string_fits(schema, value.get_ref<const std::string&>())) &&
         (!value.is_array() || array_fits(schema, value)) && (!value.is_object() || object_fits(schema, value));
}

bool ValueChecker::combined_fits(Schema schema, const OrderedJson& value) {
  const auto fits = [&](Schema part) { return satisfies(part, value, false); };
  if (SchemaDocument::find(schema, "$ref") && !fits(document_.target(schema))) return false;
  const auto all = SchemaDocument::list(schema, "allOf"), any = SchemaDocument::list(schema, "anyOf"),
             one = SchemaDocument::list(schema, "oneOf");
  work_.spend(all.size() + any.size() + one.size());
  return std::all_of(all.begin(), all.end(), fits) && (any.empty() || std::any_of(any.begin(), any.end(), fits)) &&
         (one.empty() || std::count_if(one.begin(), one.end(), fits) == 1);
}

bool ValueChecker::listed(Schema schema, const OrderedJson& value) {
  const Schema one = SchemaDocument::find(schema, "const"), list = SchemaDocument::find(schema, "enum");
  if (!one && !list) return true;
  const auto spelled = [this](const OrderedJson& v) {
    std::string out;
    spell(v, out);
    work_.spend(2 * out.size());
    return out;
  };
  const std::string own = spelled(value);
  if (one && spelled(*one) != own) return false;
  if (!list) return true;
  const auto [known, is_new] = lists_.try_emplace(schema);
  for (size_t i = 0; is_new && i < list->size() && work_.spend(kStepsPerListed); ++i)
    known->second.insert(spelled((*list)[i]));
  return known->second.contains(own);
}

bool ValueChecker::string_fits(Schema schema, const std::string& text) {
  const bool matched = SchemaDocument::find(schema, "format") || SchemaDocument::find(schema, "pattern");
  work_.spend(text.size() * (matched ? 20 : 1));
  return within(schema, "minLength", "maxLength", code_points(text)) &&
         holds(schema, "format", [&](const OrderedJson&) { return SchemaDocument::format(schema).matches(text); }) &&
         holds(schema, "pattern", [&](const OrderedJson&) { return document_.pattern(schema).matches(text); });
}

bool ValueChecker::array_fits(Schema schema, const OrderedJson& value) {
  const std::vector<Schema> first = SchemaDocument::first_items(schema);
  const Schema rest = SchemaDocument::rest_of_items(schema);
  work_.spend(first.size() + value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    const Schema item = i < first.size() ? first[i] : rest;
    if (item && !satisfies(item, value[i], false)) return false;
  }
  return within(schema, "minItems", "maxItems", value.size());
}

bool ValueChecker::object_fits(Schema schema, const OrderedJson& value) {
  const Schema properties = SchemaDocument::find(schema, "properties"),
               more = SchemaDocument::find(schema, "additionalProperties");
  for (const Schema name : SchemaDocument::list(schema, "required"))
    if (!work_.spend(kStepsPerCheck) || !value.contains(name->get_ref<const std::string&>())) return false;
  for (const auto& [name, item] : value.items()) {
    const Schema named = properties ? SchemaDocument::find(properties, name) : nullptr;
    const Schema own = named ? named : more;
    if (own && !satisfies(own, item, false)) return false;
  }
  return true;
}

}  // namespace onsight::text
