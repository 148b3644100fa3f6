#include "text/schema_document.h"

#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/json.h"
#include "text/pattern.h"

namespace onsight::text {
namespace {

enum class Form {
  kAnnotation,
  kSchema,
  kSchemas,
  kSchemaMap,
  kCount,
  kNumber,
  kBoolean,
  kNames,
  kType,
  kEnum,
  kConst,
  kPattern,
  kFormat,
  kMultiple,
  kItems,
  kRef,
  kTrivial,  // refused unless it says nothing
};

const std::map<std::string_view, Form>& forms() {
  static const std::map<std::string_view, Form> kForms = {
      {"$anchor", Form::kAnnotation},
      {"$comment", Form::kAnnotation},
      {"$defs", Form::kAnnotation},
      {"$id", Form::kAnnotation},
      {"$schema", Form::kAnnotation},
      {"default", Form::kAnnotation},
      {"definitions", Form::kAnnotation},
      {"deprecated", Form::kAnnotation},
      {"description", Form::kAnnotation},
      {"discriminator", Form::kAnnotation},
      {"example", Form::kAnnotation},
      {"examples", Form::kAnnotation},
      {"readOnly", Form::kAnnotation},
      {"title", Form::kAnnotation},
      {"writeOnly", Form::kAnnotation},
      {"$ref", Form::kRef},
      {"additionalItems", Form::kSchema},
      {"additionalProperties", Form::kSchema},
      {"allOf", Form::kSchemas},
      {"anyOf", Form::kSchemas},
      {"const", Form::kConst},
      {"enum", Form::kEnum},
      {"exclusiveMaximum", Form::kNumber},
      {"exclusiveMinimum", Form::kNumber},
      {"format", Form::kFormat},
      {"items", Form::kItems},
      {"maxItems", Form::kCount},
      {"maxLength", Form::kCount},
      {"maxProperties", Form::kTrivial},
      {"maximum", Form::kNumber},
      {"minItems", Form::kCount},
      {"minLength", Form::kCount},
      {"minProperties", Form::kTrivial},
      {"minimum", Form::kNumber},
      {"multipleOf", Form::kMultiple},
      {"nullable", Form::kBoolean},
      {"oneOf", Form::kSchemas},
      {"pattern", Form::kPattern},
      {"patternProperties", Form::kTrivial},
      {"prefixItems", Form::kSchemas},
      {"properties", Form::kSchemaMap},
      {"propertyNames", Form::kTrivial},
      {"required", Form::kNames},
      {"type", Form::kType},
      {"unevaluatedItems", Form::kTrivial},
      {"unevaluatedProperties", Form::kTrivial},
      {"uniqueItems", Form::kTrivial},
  };
  return kForms;
}

constexpr uint64_t kStepsPerSchema = 200;  // what is kept of each

bool is_annotation(std::string_view keyword) {
  const auto form = forms().find(keyword);
  return (form != forms().end() && form->second == Form::kAnnotation) || keyword.starts_with("x-");
}

bool is_count(const OrderedJson& value) {
  return value.is_number() && value.get<double>() >= 0 && value.get<double>() <= 1e15 &&
         value.get<double>() == std::floor(value.get<double>());
}

bool is_type(const OrderedJson& value) {
  static const std::set<std::string> kTypes = {"null", "boolean", "integer", "number", "string", "array", "object"};
  return value.is_string() && kTypes.contains(value.get_ref<const std::string&>());
}

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

}  // namespace

Result<SchemaDocument> SchemaDocument::open(std::string_view json, std::string_view where, WorkBudget& work) {
  if (json.size() > kMaxBytes) return bad_input("{}: {} bytes, expected at most {}", where, json.size(), kMaxBytes);
  SchemaDocument out(where, work);
  TRY(OrderedJson root, parse_json_as<OrderedJson>(json, where));
  out.root_ = std::make_unique<OrderedJson>(std::move(root));
  TRY_STATUS(out.check(out.root(), {}, 0));
  std::unordered_map<Schema, int> heights;
  for (const Schema schema : out.reached_) TRY_STATUS(out.check_cycles(schema, heights, 0));
  return out;
}

std::string SchemaDocument::place(Schema schema) const {
  std::vector<const Spot*> way;
  for (auto spot = spots_.find(schema); spot != spots_.end(); spot = spots_.find(spot->second.parent))
    way.push_back(&spot->second);
  std::string out = where_ + "#";
  for (; !way.empty(); way.pop_back()) {
    const Spot& spot = *way.back();
    if (!spot.reference.empty()) out += spot.reference.substr(1);
    if (!spot.keyword.empty()) out += "/" + escaped(spot.keyword);
    if (spot.name.data()) out += "/" + escaped(spot.name);
    if (spot.index >= 0) out += fmt::format("/{}", spot.index);
  }
  return out;
}

std::string SchemaDocument::place(Schema schema, std::string_view keyword) const {
  return place(schema) + "/" + escaped(keyword);
}

tl::unexpected<Error> SchemaDocument::too_much_work(Schema schema) const {
  return bad_input("{}: takes over {} steps to compile, expected a simpler schema", place(schema), WorkBudget::kSteps);
}

Schema SchemaDocument::find(Schema schema, std::string_view keyword) {
  if (!schema->is_object()) return nullptr;
  const auto found = schema->find(keyword);
  return found == schema->end() ? nullptr : &*found;
}

std::vector<Schema> SchemaDocument::list(Schema schema, std::string_view keyword) {
  std::vector<Schema> out;
  if (const Schema found = find(schema, keyword))
    for (const OrderedJson& item : *found) out.push_back(&item);
  return out;
}

Schema SchemaDocument::rest_of_items(Schema schema) {
  const Schema items = find(schema, "items");
  return items && items->is_array() ? find(schema, "additionalItems") : items;
}

std::vector<Schema> SchemaDocument::first_items(Schema schema) {
  const Schema items = find(schema, "items");
  return list(schema, items && items->is_array() ? "items" : "prefixItems");
}

const CharDfa& SchemaDocument::format(Schema schema) {
  return *texts_of_format(find(schema, "format")->get_ref<const std::string&>());
}

bool SchemaDocument::constrains(Schema schema) {
  if (!schema->is_object()) return !schema->get<bool>();
  for (const auto& [keyword, value] : schema->items())
    if (!is_annotation(keyword)) return true;
  return false;
}

Status SchemaDocument::check(Schema schema, const Spot& spot, int depth) {
  if (!spots_.try_emplace(schema, spot).second) return {};
  reached_.push_back(schema);
  if (!work_->spend(kStepsPerSchema + schema->size())) return too_much_work(schema);
  if (depth > kMaxDepth) return bad_input("{}: deeper than {} schemas", place(schema), kMaxDepth);
  if (schema->is_boolean()) return {};
  if (!schema->is_object()) return bad_input("{}: expected a schema, found {}", place(schema), schema->type_name());
  for (const auto& [keyword, value] : schema->items())
    if (!is_annotation(keyword) || (keyword == "$id" && schema != root()))
      TRY_STATUS(check_keyword(schema, keyword, value, depth));
  return {};
}

Status SchemaDocument::check_keyword(Schema schema, const std::string& keyword, const OrderedJson& value, int depth) {
  const auto wrong = [&](std::string_view expected) {
    const bool empty_list = value.is_array() && value.empty();
    return bad_input("{}: expected {}, found {}", place(schema, keyword), expected,
                     empty_list              ? "an empty list"
                     : value.is_structured() ? value.type_name()
                                             : value.dump());
  };
  const auto form = forms().find(keyword);
  // A nested $id would change where the references below it begin.
  if (form == forms().end() || keyword == "$id")
    return bad_input("{}: the keyword '{}' is not supported", place(schema), keyword);
  const auto check_all = [&]() -> Status {
    for (size_t i = 0; i < value.size(); ++i)
      TRY_STATUS(check(&value[i], {schema, keyword, {}, static_cast<int64_t>(i)}, depth + 1));
    return {};
  };
  switch (form->second) {
    case Form::kAnnotation:
      break;
    case Form::kItems:
      if (value.is_array()) return check_all();
      [[fallthrough]];
    case Form::kSchema:
      return check(&value, {schema, keyword}, depth + 1);
    case Form::kSchemas:
      if (!value.is_array() || value.empty()) return wrong("a list of schemas");
      return check_all();
    case Form::kSchemaMap:
      if (!value.is_object()) return wrong("an object of schemas");
      for (const auto& [key, item] : value.items()) TRY_STATUS(check(&item, {schema, keyword, key}, depth + 1));
      break;
    case Form::kCount:
      if (!is_count(value)) return wrong("a whole number, not negative");
      break;
    case Form::kNumber:
      if (!value.is_number()) return wrong("a number");
      break;
    case Form::kBoolean:
      if (!value.is_boolean()) return wrong("true or false");
      break;
    case Form::kNames:
      if (!value.is_array()) return wrong("a list of names");
      for (const OrderedJson& name : value)
        if (!name.is_string()) return wrong("a list of names");
      break;
    case Form::kType: {
      bool known = is_type(value) || (value.is_array() && !value.empty());
      for (size_t i = 0; value.is_array() && i < value.size(); ++i) known = known && is_type(value[i]);
      if (!known) return wrong("a type of JSON or a list of them");
      break;
    }
    case Form::kEnum:
      if (!value.is_array() || value.empty()) return wrong("a list of values");
      return check_digits(schema, keyword, value);
    case Form::kConst:
      return check_digits(schema, keyword, value);
    case Form::kPattern: {
      if (!value.is_string()) return wrong("a regular expression");
      auto pattern = compile_pattern(value.get_ref<const std::string&>(), *work_);
      if (work_->exhausted()) return too_much_work(schema);
      if (!pattern) return bad_input("{}: {}", place(schema, keyword), pattern.error().message);
      patterns_.emplace(schema, *std::move(pattern));
      break;
    }
    case Form::kFormat:
      if (!value.is_string() || !texts_of_format(value.get_ref<const std::string&>()))
        return bad_input("{}: format {} is not supported, expected date, time, date-time or uuid",
                         place(schema, keyword), value.dump());
      break;
    case Form::kMultiple:
      if (!is_count(value) || value.get<double>() < 1 || value.get<double>() > NumberRange::kMaxMultiple)
        return bad_input("{}: {} is not supported, expected a whole number from 1 to {}", place(schema, keyword),
                         value.dump(), NumberRange::kMaxMultiple);
      break;
    case Form::kRef: {
      if (!value.is_string()) return wrong("a reference");
      const std::string& ref = value.get_ref<const std::string&>();
      TRY(Schema target, resolve(schema, ref));
      targets_[schema] = target;
      return check(target, {.reference = ref}, depth + 1);
    }
    case Form::kTrivial:
      return check_trivial(schema, keyword, value);
  }
  return {};
}

// Keywords that the grammar cannot express, where they ask for nothing that it does not give anyway.
Status SchemaDocument::check_trivial(Schema schema, const std::string& keyword, const OrderedJson& value) const {
  bool trivial = value == true || (value.is_object() && value.empty());
  if (keyword == "uniqueItems") {
    const Schema most = find(schema, "maxItems");
    trivial = value == false || (value == true && most && is_count(*most) && most->get<double>() <= 1);
  } else if (keyword == "minProperties") {
    std::set<std::string_view> names;
    for (const Schema name : list(schema, "required"))
      if (name->is_string()) names.insert(name->get_ref<const std::string&>());
    trivial = is_count(value) && value.get<double>() <= static_cast<double>(names.size());
  } else if (keyword == "maxProperties") {
    const Schema more = find(schema, "additionalProperties");
    trivial = is_count(value) && more && *more == false &&
              value.get<double>() >= static_cast<double>(list(schema, "properties").size());
  }
  if (trivial) return {};
  return bad_input("{}: the keyword '{}' is not supported with this value", place(schema), keyword);
}

// Of a number beyond 64 bits the digits are not known: it became a double, which validators that compute exactly would
// not take for the same.
Status SchemaDocument::check_digits(Schema schema, std::string_view keyword, const OrderedJson& value) const {
  if (value.is_structured()) {
    for (const OrderedJson& item : value) TRY_STATUS(check_digits(schema, keyword, item));
    return {};
  }
  const bool fits = value.is_number_float()      ? std::abs(value.get<double>()) < 0x1p63
                    : value.is_number_unsigned() ? value.get<uint64_t>() >> 63 == 0
                    : value.is_number_integer()  ? value.get<int64_t>() != std::numeric_limits<int64_t>::min()
                                                 : true;
  if (fits) return {};
  return bad_input("{}: {} is not supported, expected magnitudes below 2^63", place(schema, keyword), value.dump());
}

Result<Schema> SchemaDocument::resolve(Schema schema, const std::string& ref) const {
  if (ref != "#" && !ref.starts_with("#/"))
    return bad_input("{}: '{}' is not supported, expected a place in this document (#/...)", place(schema, "$ref"),
                     ref);
  Schema at = root();
  size_t begin = std::min<size_t>(2, ref.size());
  while (ref.size() > 1 && begin <= ref.size()) {
    const size_t end = std::min(ref.find('/', begin), ref.size());
    std::string key;
    for (size_t i = begin; i < end; ++i) {
      const auto hex = [&](size_t k) { return k < end && std::isxdigit(static_cast<unsigned char>(ref[k])); };
      if (ref[i] == '%' && hex(i + 1) && hex(i + 2)) {
        key += static_cast<char>(std::stoi(ref.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else if (ref[i] == '~' && i + 1 < end && (ref[i + 1] == '0' || ref[i + 1] == '1')) {
        key += ref[++i] == '0' ? '~' : '/';
      } else {
        key += ref[i];
      }
    }
    begin = end + 1;
    const bool index =
        at->is_array() && !key.empty() && key.size() < 7 && key.find_first_not_of("0123456789") == std::string::npos;
    const Schema next = index ? (std::stoul(key) < at->size() ? &(*at)[std::stoul(key)] : nullptr) : find(at, key);
    if (!next) return bad_input("{}: '{}' leads nowhere", place(schema, "$ref"), ref);
    at = next;
  }
  return at;
}

// A schema that stands for itself without a value between says nothing that could be checked. `heights` counts how many
// stand for one another below each; -1: being looked at.
Status SchemaDocument::check_cycles(Schema schema, std::unordered_map<Schema, int>& heights, int depth) const {
  const auto [entry, is_new] = heights.try_emplace(schema, -1);
  if (!is_new && entry->second < 0) return bad_input("{}: refers to itself without a value between", place(schema));
  if (depth + std::max(entry->second, 0) > kMaxDepth)
    return bad_input("{}: over {} schemas stand for one another, expected fewer", place(schema), kMaxDepth);
  if (!is_new) return {};
  int height = 0;
  const auto look = [&](Schema part) -> Status {
    TRY_STATUS(check_cycles(part, heights, depth + 1));
    height = std::max(height, heights.at(part) + 1);
    return {};
  };
  if (targets_.contains(schema)) TRY_STATUS(look(target(schema)));
  for (const char* keyword : {"allOf", "anyOf", "oneOf"})
    for (const Schema part : list(schema, keyword)) TRY_STATUS(look(part));
  heights[schema] = height;
  return {};
}

Decimal exact_decimal(const OrderedJson& number) {
  // From 2^53 on a double is a whole number.
  if (number.is_number_float() && std::abs(number.get<double>()) >= 0x1p53)
    return parse_decimal(fmt::format("{:.0f}", number.get<double>()));
  return parse_decimal(number.dump());
}

}  // namespace onsight::text
