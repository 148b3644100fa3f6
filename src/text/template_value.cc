#include "text/template_value.h"

#include "text/utf8.h"

namespace onsight::text {

void MarkedText::append(const MarkedText& other, size_t begin, size_t end) {
  if (!other.user.empty() && user.empty()) user.assign(bytes.size(), 0);
  bytes.append(other.bytes, begin, end - begin);
  if (!other.user.empty())
    user.append(other.user, begin, end - begin);
  else if (!user.empty())
    user.append(end - begin, 0);
}

void MarkedText::append(std::string_view text, bool from_user) {
  if (from_user && user.empty()) user.assign(bytes.size(), 0);
  bytes.append(text);
  if (from_user || !user.empty()) user.append(text.size(), from_user ? 1 : 0);
}

MarkedText MarkedText::slice(size_t begin, size_t end) const {
  MarkedText out;
  out.append(*this, begin, end);
  return out;
}

Value Value::none() {
  Value v;
  v.kind = Kind::kNone;
  return v;
}

Value Value::boolean(bool value) {
  Value v;
  v.kind = Kind::kBool;
  v.integer = value;
  return v;
}

Value Value::number(int64_t value) {
  Value v;
  v.kind = Kind::kInt;
  v.integer = value;
  return v;
}

Value Value::string(MarkedText value) {
  Value v;
  v.kind = Kind::kText;
  v.text = std::make_shared<const MarkedText>(std::move(value));
  return v;
}

Value Value::sequence(List items, bool tuple) {
  Value v;
  v.kind = tuple ? Kind::kTuple : Kind::kList;
  for (const Value& item : items) v.depth = std::max(v.depth, item.depth + 1);
  v.list = std::make_shared<const List>(std::move(items));
  return v;
}

Value Value::mapping(Dict items) {
  Value v;
  v.kind = Kind::kDict;
  for (const auto& [key, item] : items) v.depth = std::max(v.depth, item.depth + 1);
  v.dict = std::make_shared<Dict>(std::move(items));
  return v;
}

Value Value::name_space(Dict items) {
  Value v = mapping(std::move(items));
  v.kind = Kind::kNamespace;
  return v;
}

bool Value::truthy() const {
  switch (kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return integer != 0;
    case Kind::kText:
      return !text->bytes.empty();
    case Kind::kList:
    case Kind::kTuple:
      return !list->empty();
    case Kind::kDict:
      return !dict->empty();
    case Kind::kNamespace:
      return true;
  }
  return false;
}

const Value* Value::get(std::string_view key) const {
  for (const auto& [name, value] : *dict)
    if (name == key) return &value;
  return nullptr;
}

std::string_view Value::kind_name() const {
  switch (kind) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "none";
    case Kind::kBool:
      return "a boolean";
    case Kind::kInt:
      return "an integer";
    case Kind::kText:
      return "a string";
    case Kind::kList:
      return "a list";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kDict:
      return "a dict";
    case Kind::kNamespace:
      return "a namespace";
  }
  return "";
}

bool equal(const Value& a, const Value& b) {
  using Kind = Value::Kind;
  if (a.is_number() && b.is_number()) return a.integer == b.integer;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kText:
      return a.bytes() == b.bytes();
    case Kind::kList:
    case Kind::kTuple:
      if (a.list->size() != b.list->size()) return false;
      for (size_t i = 0; i < a.list->size(); ++i)
        if (!equal((*a.list)[i], (*b.list)[i])) return false;
      return true;
    case Kind::kDict:
      if (a.dict->size() != b.dict->size()) return false;
      for (const auto& [key, value] : *a.dict) {
        const Value* other = b.get(key);
        if (!other || !equal(value, *other)) return false;
      }
      return true;
    case Kind::kNamespace:
      return a.dict == b.dict;
    default:
      return true;
  }
}

Result<MarkedText> to_text(const Value& value) {
  using Kind = Value::Kind;
  switch (value.kind) {
    case Kind::kUndefined:
      return MarkedText();
    case Kind::kNone:
      return MarkedText("None");
    case Kind::kBool:
      return MarkedText(value.integer ? "True" : "False");
    case Kind::kInt:
      return MarkedText(fmt::format("{}", value.integer));
    case Kind::kText:
      return *value.text;
    default:
      return bad_input("{} cannot be written as text", value.kind_name());
  }
}

Result<List> to_list(const Value& value) {
  using Kind = Value::Kind;
  List out;
  switch (value.kind) {
    case Kind::kUndefined:
      return out;
    case Kind::kList:
    case Kind::kTuple:
      return *value.list;
    case Kind::kDict:
      for (const auto& [key, item] : *value.dict) out.push_back(Value::string(key));
      return out;
    case Kind::kText: {
      std::vector<size_t> starts = code_point_starts(value.bytes());
      for (size_t i = 0; i + 1 < starts.size(); ++i)
        out.push_back(Value::string(value.text->slice(starts[i], starts[i + 1])));
      return out;
    }
    default:
      return bad_input("{} has no items", value.kind_name());
  }
}

bool is_python_space(uint32_t code) {
  return (code >= 0x9 && code <= 0xd) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
         code == 0x205f || code == 0x3000;
}

std::vector<size_t> code_point_starts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) starts.push_back(i);
  starts.push_back(text.size());
  return starts;
}

}  // namespace onsight::text
