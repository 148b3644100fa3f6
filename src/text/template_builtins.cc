#include "text/template_builtins.h"

#include <algorithm>
#include <optional>

#include "text/text_case.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

using B = BuiltinKind;

constexpr Builtin kBuiltins[] = {
    {B::kFilter, "capitalize", 0, 0, ""},
    {B::kFilter, "count", 0, 0, ""},
    {B::kFilter, "d", 0, 2, "default_value boolean "},
    {B::kFilter, "default", 0, 2, "default_value boolean "},
    {B::kFilter, "first", 0, 0, ""},
    {B::kFilter, "items", 0, 0, ""},
    {B::kFilter, "join", 0, 1, ""},
    {B::kFilter, "last", 0, 0, ""},
    {B::kFilter, "length", 0, 0, ""},
    {B::kFilter, "list", 0, 0, ""},
    {B::kFilter, "lower", 0, 0, ""},
    {B::kFilter, "replace", 2, 2, ""},
    {B::kFilter, "string", 0, 0, ""},
    {B::kFilter, "title", 0, 0, ""},
    {B::kFilter, "tojson", 0, 0, ""},
    {B::kFilter, "trim", 0, 1, ""},
    {B::kFilter, "upper", 0, 0, ""},
    {B::kTest, "!=", 1, 1, ""},
    {B::kTest, "==", 1, 1, ""},
    {B::kTest, "boolean", 0, 0, ""},
    {B::kTest, "defined", 0, 0, ""},
    {B::kTest, "divisibleby", 1, 1, ""},
    {B::kTest, "eq", 1, 1, ""},
    {B::kTest, "equalto", 1, 1, ""},
    {B::kTest, "even", 0, 0, ""},
    {B::kTest, "false", 0, 0, ""},
    {B::kTest, "in", 1, 1, ""},
    {B::kTest, "integer", 0, 0, ""},
    {B::kTest, "iterable", 0, 0, ""},
    {B::kTest, "mapping", 0, 0, ""},
    {B::kTest, "ne", 1, 1, ""},
    {B::kTest, "none", 0, 0, ""},
    {B::kTest, "number", 0, 0, ""},
    {B::kTest, "odd", 0, 0, ""},
    {B::kTest, "sequence", 0, 0, ""},
    {B::kTest, "string", 0, 0, ""},
    {B::kTest, "true", 0, 0, ""},
    {B::kTest, "undefined", 0, 0, ""},
    {B::kMethod, "capitalize", 0, 0, ""},
    {B::kMethod, "endswith", 1, 1, ""},
    {B::kMethod, "get", 1, 2, ""},
    {B::kMethod, "items", 0, 0, ""},
    {B::kMethod, "join", 1, 1, ""},
    {B::kMethod, "keys", 0, 0, ""},
    {B::kMethod, "lower", 0, 0, ""},
    {B::kMethod, "lstrip", 0, 1, ""},
    {B::kMethod, "replace", 2, 2, ""},
    {B::kMethod, "rstrip", 0, 1, ""},
    {B::kMethod, "split", 0, 2, ""},
    {B::kMethod, "startswith", 1, 1, ""},
    {B::kMethod, "strip", 0, 1, ""},
    {B::kMethod, "upper", 0, 0, ""},
    {B::kMethod, "values", 0, 0, ""},
    {B::kFunction, "dict", 0, 0, "*"},
    {B::kFunction, "namespace", 0, 0, "*"},
    {B::kFunction, "raise_exception", 1, 1, ""},
    {B::kFunction, "range", 1, 3, ""},
};

constexpr std::string_view kGlobals[] = {"range",  "dict",      "lipsum",          "cycler",
                                         "joiner", "namespace", "raise_exception", "strftime_now"};
constexpr int64_t kMaxRange = 100'000;

Result<Value> as_value(Result<MarkedText> text) {
  if (!text) return tl::unexpected<Error>(std::move(text).error());
  return Value::string(std::move(*text));
}

// The characters [from, to) of str.strip, lstrip or rstrip; `chars` null stands for white space.
MarkedText strip(const MarkedText& text, const MarkedText* chars, bool left, bool right) {
  std::vector<uint32_t> set;
  if (chars)
    for (const char* p = chars->bytes.data(); p < chars->bytes.data() + chars->bytes.size();)
      set.push_back(next_code_point(p));
  std::sort(set.begin(), set.end());
  auto goes = [&](uint32_t code) {
    return chars ? std::binary_search(set.begin(), set.end(), code) : is_python_space(code);
  };
  const char *begin = text.bytes.data(), *end = begin + text.bytes.size(), *from = begin;
  while (left && from < end) {
    const char* next = from;
    if (!goes(next_code_point(next))) break;
    from = next;
  }
  while (right && end > from && goes(previous_code_point(from, end))) {
    do --end;
    while ((static_cast<unsigned char>(*end) & 0xc0) == 0x80);
  }
  return text.slice(static_cast<size_t>(from - begin), static_cast<size_t>(end - begin));
}

Result<Value> strip_with(const MarkedText& text, std::span<const Value> args, bool left, bool right) {
  if (args.empty() || args[0].is(Value::Kind::kNone)) return Value::string(strip(text, nullptr, left, right));
  if (!args[0].is_text()) return bad_input("expected a string of characters to strip, found {}", args[0].kind_name());
  return Value::string(strip(text, args[0].text.get(), left, right));
}

Result<Value> replace(const MarkedText& text, const Value& from, const Value& to) {
  if (!from.is_text() || !to.is_text()) return bad_input("'replace' expects strings");
  if (from.bytes().empty()) return bad_input("'replace' of an empty string is not supported");
  MarkedText out;
  size_t at = 0;
  for (size_t hit; (hit = text.bytes.find(from.bytes(), at)) != std::string::npos; at = hit + from.bytes().size()) {
    out.append(text, at, hit);
    out.append(*to.text);
    if (out.bytes.size() > (size_t{64} << 20)) return bad_input("'replace' makes too long a text");
  }
  out.append(text, at, text.bytes.size());
  return Value::string(std::move(out));
}

Result<Value> split(const MarkedText& text, std::span<const Value> args) {
  int64_t most = -1;
  if (args.size() == 2) {
    if (!args[1].is_number()) return bad_input("'split' expects a number, found {}", args[1].kind_name());
    most = args[1].integer;
  }
  List out;
  auto more = [&] { return most < 0 || static_cast<int64_t>(out.size()) < most; };
  if (!args.empty() && !args[0].is(Value::Kind::kNone)) {
    if (!args[0].is_text() || args[0].bytes().empty()) return bad_input("'split' expects a string that is not empty");
    size_t at = 0;
    for (size_t hit; more() && (hit = text.bytes.find(args[0].bytes(), at)) != std::string::npos;
         at = hit + args[0].bytes().size())
      out.push_back(Value::string(text.slice(at, hit)));
    out.push_back(Value::string(text.slice(at, text.bytes.size())));
    return Value::sequence(std::move(out));
  }
  MarkedText rest = strip(text, nullptr, true, false);
  while (!rest.bytes.empty()) {
    const char *begin = rest.bytes.data(), *end = begin + rest.bytes.size(), *p = begin;
    while (more() && p < end) {
      const char* next = p;
      if (is_python_space(next_code_point(next))) break;
      p = next;
    }
    size_t size = more() ? static_cast<size_t>(p - begin) : rest.bytes.size();
    bool last = !more();
    out.push_back(Value::string(last ? rest : rest.slice(0, size)));
    if (last) break;
    rest = strip(rest.slice(size, rest.bytes.size()), nullptr, true, false);
  }
  return Value::sequence(std::move(out));
}

Result<Value> join(const MarkedText& between, const Value& list, bool only_strings) {
  TRY(List items, to_list(list));
  MarkedText out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (only_strings && !items[i].is_text()) return bad_input("'join' expects strings, found {}", items[i].kind_name());
    TRY(MarkedText text, to_text(items[i]));
    if (i) out.append(between);
    out.append(text);
    if (out.bytes.size() > (size_t{64} << 20)) return bad_input("'join' makes too long a text");
  }
  return Value::string(std::move(out));
}

Result<Value> dict_items(const Value& dict, bool keys, bool values) {
  List out;
  for (const auto& [key, value] : *dict.dict) {
    if (keys && values)
      out.push_back(Value::sequence({Value::string(key), value}, true));
    else
      out.push_back(keys ? Value::string(key) : value);
  }
  return Value::sequence(std::move(out));
}

void json_string(const MarkedText& text, MarkedText& out) {
  out.append("\"", false);
  for (size_t i = 0; i < text.bytes.size(); ++i) {
    char c = text.bytes[i];
    static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f", kTo = "\"\\nrtbf";
    size_t escape = kFrom.find(c);
    if (escape != std::string_view::npos)
      out.append(std::string{'\\', kTo[escape]}, text.is_user(i));
    else if (static_cast<unsigned char>(c) < 0x20)
      out.append(fmt::format("\\u{:04x}", static_cast<unsigned>(c)), text.is_user(i));
    else
      out.append(std::string_view(&c, 1), text.is_user(i));
  }
  out.append("\"", false);
}

// Python's json.dumps(value, ensure_ascii=False).
Status to_json(const Value& value, MarkedText& out) {
  using Kind = Value::Kind;
  switch (value.kind) {
    case Kind::kNone:
      out.append("null", false);
      return {};
    case Kind::kBool:
      out.append(value.integer ? "true" : "false", false);
      return {};
    case Kind::kInt:
      out.append(fmt::format("{}", value.integer), false);
      return {};
    case Kind::kText:
      json_string(*value.text, out);
      return {};
    case Kind::kList:
    case Kind::kTuple:
      out.append("[", false);
      for (size_t i = 0; i < value.list->size(); ++i) {
        if (i) out.append(", ", false);
        TRY_STATUS(to_json((*value.list)[i], out));
      }
      out.append("]", false);
      return {};
    case Kind::kDict: {
      out.append("{", false);
      bool first = true;
      for (const auto& [key, item] : *value.dict) {
        if (!std::exchange(first, false)) out.append(", ", false);
        json_string(MarkedText(key), out);
        out.append(": ", false);
        TRY_STATUS(to_json(item, out));
        if (out.bytes.size() > (size_t{64} << 20)) return bad_input("'tojson' makes too long a text");
      }
      out.append("}", false);
      return {};
    }
    default:
      return bad_input("'tojson' cannot write {}", value.kind_name());
  }
}

Result<Value> length(const Value& value) {
  using Kind = Value::Kind;
  switch (value.kind) {
    case Kind::kUndefined:
      return Value::number(0);
    case Kind::kText:
      return Value::number(static_cast<int64_t>(code_point_starts(value.bytes()).size()) - 1);
    case Kind::kList:
    case Kind::kTuple:
      return Value::number(static_cast<int64_t>(value.list->size()));
    case Kind::kDict:
      return Value::number(static_cast<int64_t>(value.dict->size()));
    default:
      return bad_input("{} has no length", value.kind_name());
  }
}

bool hashable(const Value& value) {
  if (value.is(Value::Kind::kTuple)) return std::all_of(value.list->begin(), value.list->end(), hashable);
  return !value.is(Value::Kind::kList) && !value.is(Value::Kind::kDict);
}

const Value* keyword(Keywords keywords, std::string_view name) {
  for (const auto& [key, value] : keywords)
    if (key == name) return &value;
  return nullptr;
}

}  // namespace

const Builtin* find_builtin(BuiltinKind kind, std::string_view name) {
  for (const Builtin& b : kBuiltins)
    if (b.kind == kind && b.name == name) return &b;
  return nullptr;
}

bool is_global_name(std::string_view name) {
  return std::find(std::begin(kGlobals), std::end(kGlobals), name) != std::end(kGlobals);
}

Result<Value> call_filter(std::string_view name, const Value& input, std::span<const Value> args, Keywords keywords) {
  if (name == "default" || name == "d") {
    const Value *otherwise = !args.empty() ? &args[0] : keyword(keywords, "default_value"),
                *boolean = args.size() > 1 ? &args[1] : keyword(keywords, "boolean");
    bool replace_it = input.is(Value::Kind::kUndefined) || (boolean && boolean->truthy() && !input.truthy());
    return !replace_it ? input : otherwise ? *otherwise : Value::string("");
  }
  if (name == "length" || name == "count") return length(input);
  if (name == "first" || name == "last") {
    TRY(List items, to_list(input));
    return items.empty() ? Value() : name == "first" ? items.front() : items.back();
  }
  if (name == "list") {
    TRY(List items, to_list(input));
    return Value::sequence(std::move(items));
  }
  if (name == "join") {
    MarkedText between;
    if (!args.empty()) {
      TRY(between, to_text(args[0]));
    }
    return join(between, input, false);
  }
  if (name == "items") {
    if (input.is(Value::Kind::kUndefined)) return Value::sequence({});
    if (!input.is(Value::Kind::kDict))
      return bad_input("the filter 'items' expects a dict, found {}", input.kind_name());
    return dict_items(input, true, true);
  }
  if (name == "tojson") {
    MarkedText out;
    TRY_STATUS(to_json(input, out));
    return Value::string(std::move(out));
  }
  // The others are for strings, and turn all else into one first.
  TRY(MarkedText text, to_text(input));
  if (name == "capitalize") return as_value(capitalize(text));
  if (name == "lower") return as_value(to_lower(text, 0, text.bytes.size()));
  if (name == "upper") return Value::string(to_upper(text, 0, text.bytes.size()));
  if (name == "title") return as_value(title_words(text));
  if (name == "trim") return strip_with(text, args, true, true);
  if (name == "replace") return replace(text, args[0], args[1]);
  return Value::string(std::move(text));  // string
}

Result<bool> call_test(std::string_view name, const Value& input, std::span<const Value> args) {
  using Kind = Value::Kind;
  if (name == "defined") return !input.is(Kind::kUndefined);
  if (name == "undefined") return input.is(Kind::kUndefined);
  if (name == "none") return input.is(Kind::kNone);
  if (name == "string") return input.is_text();
  if (name == "mapping") return input.is(Kind::kDict);
  if (name == "boolean") return input.is(Kind::kBool);
  if (name == "true") return input.is(Kind::kBool) && input.integer != 0;
  if (name == "false") return input.is(Kind::kBool) && input.integer == 0;
  if (name == "number") return input.is_number();
  if (name == "integer") return input.is(Kind::kInt);
  if (name == "iterable" || name == "sequence")
    return input.is_text() || input.is_sequence() || input.is(Kind::kDict) || input.is(Kind::kUndefined);
  if (name == "in") return contains(args[0], input);
  if (name == "odd" || name == "even" || name == "divisibleby") {
    int64_t by = 2;
    if (!args.empty()) by = args[0].is_number() ? args[0].integer : 0;
    if (!input.is_number() || by == 0) return bad_input("the test '{}' expects integers", name);
    bool divisible = by == -1 || input.integer % by == 0;
    return name == "odd" ? !divisible : divisible;
  }
  return equal(input, args[0]) == (name != "ne" && name != "!=");
}

Result<Value> call_method(std::string_view name, const Value& object, std::span<const Value> args) {
  using Kind = Value::Kind;
  if (object.is(Kind::kDict)) {
    if (name == "items") return dict_items(object, true, true);
    if (name == "keys") return dict_items(object, true, false);
    if (name == "values") return dict_items(object, false, true);
    if (name == "get") {
      if (!hashable(args[0])) return bad_input("{} cannot be a key", args[0].kind_name());
      const Value* found = args[0].is_text() ? object.get(args[0].bytes()) : nullptr;
      return found ? *found : args.size() > 1 ? args[1] : Value::none();
    }
  }
  if (!object.is_text()) return bad_input("{} has no method '{}'", object.kind_name(), name);
  const MarkedText& text = *object.text;
  if (name == "upper") return Value::string(to_upper(text, 0, text.bytes.size()));
  if (name == "lower") return as_value(to_lower(text, 0, text.bytes.size()));
  if (name == "capitalize") return as_value(capitalize(text));
  if (name == "strip") return strip_with(text, args, true, true);
  if (name == "lstrip") return strip_with(text, args, true, false);
  if (name == "rstrip") return strip_with(text, args, false, true);
  if (name == "split") return split(text, args);
  if (name == "replace") return replace(text, args[0], args[1]);
  if (name == "join") return join(text, args[0], true);
  if (name == "startswith" || name == "endswith") {
    List ends{args[0]};
    if (args[0].is(Kind::kTuple)) ends = *args[0].list;
    bool found = false;
    for (const Value& end : ends) {
      if (!end.is_text()) return bad_input("'{}' expects a string, found {}", name, end.kind_name());
      found = found || (name == "startswith" ? text.bytes.starts_with(end.bytes()) : text.bytes.ends_with(end.bytes()));
    }
    return Value::boolean(found);
  }
  return bad_input("{} has no method '{}'", object.kind_name(), name);
}

Result<Value> call_function(std::string_view name, std::span<const Value> args, Keywords keywords) {
  if (name == "raise_exception") {
    TRY(MarkedText message, to_text(args[0]));
    return bad_input("the template refuses the conversation: {}", message.bytes);
  }
  if (name == "range") {
    for (const Value& arg : args)
      if (!arg.is_number()) return bad_input("'range' expects integers, found {}", arg.kind_name());
    int64_t begin = args.size() > 1 ? args[0].integer : 0, end = args.size() > 1 ? args[1].integer : args[0].integer;
    int64_t by = args.size() > 2 ? args[2].integer : 1;
    if (by == 0) return bad_input("'range' expects a step that is not 0");
    List out;
    // Bounds are at most 64 bits wide but steps few, so count in 128 bits.
    for (Int128 i = begin; by > 0 ? i < end : i > end; i += by) {
      if (out.size() >= static_cast<size_t>(kMaxRange)) return bad_input("'range' of more than {} numbers", kMaxRange);
      out.push_back(Value::number(static_cast<int64_t>(i)));
    }
    return Value::sequence(std::move(out));
  }
  Dict items;
  for (const auto& [key, value] : keywords) {
    if (value.is(Value::Kind::kNamespace)) return bad_input("a namespace cannot be put into another value");
    items.emplace_back(key, value);
  }
  return name == "dict" ? Value::mapping(std::move(items)) : Value::name_space(std::move(items));
}

Result<bool> contains(const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) return bad_input("expected a string on the left of 'in', found {}", item.kind_name());
    return container.bytes().find(item.bytes()) != std::string_view::npos;
  }
  if (container.is(Value::Kind::kDict) && !hashable(item)) return bad_input("{} cannot be a key", item.kind_name());
  if (container.is(Value::Kind::kDict)) return item.is_text() && container.get(item.bytes()) != nullptr;
  TRY(List items, to_list(container));
  return std::any_of(items.begin(), items.end(), [&](const Value& v) { return equal(v, item); });
}

}  // namespace onsight::text
