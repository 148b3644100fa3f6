#include "text/schema_document.h"

#include <cctype>
#include <cmath>

#include "base/json.h"
#include "text/number_grammar.h"
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

Result<SchemaDocument> SchemaDocument::open(std::string_view json, std::string_view where) {
  TRY_STATUS(parse_json(json, where).map([](const Json&) {}));  // its errors, and its bound on nesting
  SchemaDocument out{std::string(where)};
  out.root_ = std::make_unique<OrderedJson>(OrderedJson::parse(json.begin(), json.end(), nullptr, false));
  TRY_STATUS(out.check(out.root(), "", 0));
  std::map<Schema, int> colours;
  for (const auto& [schema, pointer] : out.pointers_) TRY_STATUS(out.check_cycles(schema, colours));
  return out;
}

std::string SchemaDocument::place(Schema schema) const {
  const auto pointer = pointers_.find(schema);
  return fmt::format("{}#{}", where_, pointer == pointers_.end() ? "" : pointer->second);
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

bool SchemaDocument::constrains(Schema schema) {
  if (!schema->is_object()) return !schema->get<bool>();
  for (const auto& [keyword, value] : schema->items())
    if (!is_annotation(keyword)) return true;
  return false;
}

Status SchemaDocument::check(Schema schema, const std::string& pointer, int depth) {
  if (!pointers_.try_emplace(schema, pointer).second) return {};
  if (depth > kMaxDepth) return bad_input("{}#{}: deeper than {} schemas", where_, pointer, kMaxDepth);
  if (schema->is_boolean()) return {};
  if (!schema->is_object())
    return bad_input("{}#{}: expected a schema, found {}", where_, pointer, schema->type_name());
  for (const auto& [keyword, value] : schema->items())
    if (!is_annotation(keyword) || (keyword == "$id" && !pointer.empty()))
      TRY_STATUS(check_keyword(schema, keyword, value, pointer, depth));
  return {};
}

Status SchemaDocument::check_keyword(Schema schema, const std::string& keyword, const OrderedJson& value,
                                     const std::string& pointer, int depth) {
  const std::string at = fmt::format("{}/{}", pointer, escaped(keyword));
  const auto wrong = [&](std::string_view expected) {
    return bad_input("{}#{}: expected {}, found {}", where_, at, expected,
                     value.is_structured() ? value.type_name() : value.dump());
  };
  const auto form = forms().find(keyword);
  // A nested $id would change where the references below it begin.
  if (form == forms().end() || keyword == "$id")
    return bad_input("{}#{}: the keyword '{}' is not supported", where_, pointer, keyword);
  const auto check_all = [&]() -> Status {
    for (size_t i = 0; i < value.size(); ++i) TRY_STATUS(check(&value[i], fmt::format("{}/{}", at, i), depth + 1));
    return {};
  };
  switch (form->second) {
    case Form::kAnnotation:
      break;
    case Form::kItems:
      if (value.is_array()) return check_all();
      [[fallthrough]];
    case Form::kSchema:
      return check(&value, at, depth + 1);
    case Form::kSchemas:
      if (!value.is_array() || value.empty()) return wrong("a list of schemas");
      return check_all();
    case Form::kSchemaMap:
      if (!value.is_object()) return wrong("an object of schemas");
      for (const auto& [key, item] : value.items())
        TRY_STATUS(check(&item, fmt::format("{}/{}", at, escaped(key)), depth + 1));
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
      break;
    case Form::kConst:
      break;
    case Form::kPattern: {
      if (!value.is_string()) return wrong("a regular expression");
      auto pattern = compile_pattern(value.get_ref<const std::string&>());
      if (!pattern) return bad_input("{}#{}: {}", where_, at, pattern.error().message);
      break;
    }
    case Form::kFormat:
      if (!value.is_string() || !texts_of_format(value.get_ref<const std::string&>()))
        return bad_input("{}#{}: format {} is not supported, expected date, time, date-time or uuid", where_, at,
                         value.dump());
      break;
    case Form::kMultiple:
      if (!is_count(value) || value.get<double>() < 1 || value.get<double>() > NumberRange::kMaxMultiple)
        return bad_input("{}#{}: {} is not supported, expected a whole number from 1 to {}", where_, at, value.dump(),
                         NumberRange::kMaxMultiple);
      break;
    case Form::kRef: {
      if (!value.is_string()) return wrong("a reference");
      TRY(Schema target, resolve(value.get_ref<const std::string&>(), at));
      targets_[schema] = target;
      const std::string& ref = value.get_ref<const std::string&>();
      return check(target, ref.substr(1), depth + 1);
    }
    case Form::kTrivial:
      return check_trivial(schema, keyword, value, pointer);
  }
  return {};
}

// Keywords that the grammar cannot express, where they ask for nothing that it does not give anyway.
Status SchemaDocument::check_trivial(Schema schema, const std::string& keyword, const OrderedJson& value,
                                     const std::string& pointer) const {
  bool trivial = value == true || (value.is_object() && value.empty());
  if (keyword == "uniqueItems") {
    const Schema most = find(schema, "maxItems");
    trivial = value == false || (value == true && most && is_count(*most) && most->get<double>() <= 1);
  } else if (keyword == "minProperties") {
    std::set<OrderedJson> names;
    for (const Schema name : list(schema, "required")) names.insert(*name);
    trivial = is_count(value) && value.get<double>() <= static_cast<double>(names.size());
  } else if (keyword == "maxProperties") {
    const Schema more = find(schema, "additionalProperties");
    trivial = is_count(value) && more && *more == false &&
              value.get<double>() >= static_cast<double>(list(schema, "properties").size());
  }
  if (trivial) return {};
  return bad_input("{}#{}: the keyword '{}' is not supported with this value", where_, pointer, keyword);
}

Result<Schema> SchemaDocument::resolve(const std::string& ref, const std::string& pointer) const {
  if (ref != "#" && !ref.starts_with("#/"))
    return bad_input("{}#{}: '{}' is not supported, expected a place in this document (#/...)", where_, pointer, ref);
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
    if (!next) return bad_input("{}#{}: '{}' leads nowhere", where_, pointer, ref);
    at = next;
  }
  return at;
}

// A schema that stands for itself without a value between says nothing that could be checked.
Status SchemaDocument::check_cycles(Schema schema, std::map<Schema, int>& colours) const {
  int& colour = colours[schema];
  if (colour == 2) return {};
  if (colour == 1) return bad_input("{}: refers to itself without a value between", place(schema));
  colour = 1;
  if (targets_.contains(schema)) TRY_STATUS(check_cycles(target(schema), colours));
  for (const char* keyword : {"allOf", "anyOf", "oneOf"})
    for (const Schema part : list(schema, keyword)) TRY_STATUS(check_cycles(part, colours));
  colours[schema] = 2;
  return {};
}

}  // namespace onsight::text
