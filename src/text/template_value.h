// Values of a running chat template. A text knows for each of its bytes whether a user typed it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onsight::text {

// `user` is empty when no byte comes from a user; otherwise it holds 1 or 0 for each byte.
struct MarkedText {
  std::string bytes;
  std::string user;

  MarkedText() = default;
  explicit MarkedText(std::string text, bool from_user = false)
      : bytes(std::move(text)), user(from_user ? bytes.size() : 0, 1) {}
  bool is_user(size_t at) const { return !user.empty() && user[at]; }
  void append(const MarkedText& other) { append(other, 0, other.bytes.size()); }
  void append(const MarkedText& other, size_t begin, size_t end);
  void append(std::string_view text, bool from_user);
  MarkedText slice(size_t begin, size_t end) const;
};

__extension__ typedef __int128 Int128;  // wide enough for any sum or product of two integers of a template

struct Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion, as Python keeps them

struct Value {
  enum class Kind : uint8_t { kUndefined, kNone, kBool, kInt, kText, kList, kTuple, kDict, kNamespace };
  Kind kind = Kind::kUndefined;
  int depth = 0;        // of nested lists and dicts
  int64_t integer = 0;  // of a kBool too
  std::shared_ptr<const MarkedText> text;
  std::shared_ptr<const List> list;
  std::shared_ptr<Dict> dict;  // changed only when a namespace

  static Value none();
  static Value boolean(bool value);
  static Value number(int64_t value);
  static Value string(MarkedText value);
  static Value string(std::string_view value) { return string(MarkedText(std::string(value))); }
  static Value sequence(List items, bool tuple = false);
  static Value mapping(Dict items);
  static Value name_space(Dict items);

  bool is(Kind k) const { return kind == k; }
  bool is_text() const { return kind == Kind::kText; }
  bool is_number() const { return kind == Kind::kInt || kind == Kind::kBool; }
  bool is_sequence() const { return kind == Kind::kList || kind == Kind::kTuple; }
  std::string_view bytes() const { return text->bytes; }
  bool truthy() const;
  const Value* get(std::string_view key) const;  // of a dict or namespace
  std::string_view kind_name() const;
};

// Equal as Python's == has it.
bool equal(const Value& a, const Value& b);
// As Python's str() shows it. Lists, dicts and namespaces are refused: templates that print them are not for chat.
Result<MarkedText> to_text(const Value& value);
// The items that a for loop sees.
Result<List> to_list(const Value& value);

// Python's str.isspace of one code point.
bool is_python_space(uint32_t code);
// Byte offsets of all code points of valid UTF-8, and its size.
std::vector<size_t> code_point_starts(std::string_view text);

}  // namespace onsight::text
