#include "text/template_interpreter.h"

#include <algorithm>
#include <optional>

#include "text/template_builtins.h"
#include "text/utf8.h"

namespace onsight::text {
namespace {

using NodeKind = Node::Kind;
using ValueKind = Value::Kind;

constexpr int64_t kMaxSteps = 5'000'000;
constexpr size_t kMaxTextBytes = size_t{64} << 20;
constexpr size_t kMaxTotalBytes = size_t{512} << 20;  // of all texts and lists made on the way
constexpr int kMaxValueDepth = 64;

enum class Flow { kNext, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(Dict variables, std::string_view where) : where_(where) { scopes_.push_back(std::move(variables)); }

  Result<MarkedText> run(const Node& root) {
    MarkedText out;
    TRY([[maybe_unused]] Flow flow, execute(root, out));
    return out;
  }

 private:
  struct Loop {
    const List* items;
    size_t index;
  };

  template <class... Args>
  tl::unexpected<Error> fail(const Node& node, fmt::format_string<Args...> format, Args&&... args) const {
    return bad_input("{}: line {}: {}", where_, node.line, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class T>
  Result<T> at(const Node& node, Result<T> result) const {
    if (result) return result;
    return fail(node, "{}", result.error().message);
  }
  Status spend(const Node& node, size_t steps, size_t bytes = 0) {
    steps_ += static_cast<int64_t>(steps);
    bytes_ += bytes;
    if (steps_ > kMaxSteps) return fail(node, "the template takes more than {} steps", kMaxSteps);
    if (bytes_ > kMaxTotalBytes || bytes > kMaxTextBytes) return fail(node, "the template makes too long a text");
    return {};
  }
  // What a new value costs.
  Result<Value> spent(const Node& node, Value value) {
    size_t bytes = value.is_text()       ? value.bytes().size()
                   : value.is_sequence() ? value.list->size() * sizeof(Value)
                                         : 0;
    if (value.depth > kMaxValueDepth) return fail(node, "lists are nested deeper than {} levels", kMaxValueDepth);
    TRY_STATUS(spend(node, 1, bytes));
    return value;
  }
  Status append(const Node& node, MarkedText& out, const MarkedText& text) {
    TRY_STATUS(spend(node, 1, text.bytes.size()));
    if (out.bytes.size() + text.bytes.size() > kMaxTextBytes)
      return fail(node, "the template writes more than {} MiB", kMaxTextBytes >> 20);
    out.append(text);
    return {};
  }

  // ---- statements
  Result<Flow> execute(const Node& node, MarkedText& out) {
    TRY_STATUS(spend(node, 1));
    switch (node.kind) {
      case NodeKind::kBody:
        for (const NodePtr& child : node.children) {
          TRY(Flow flow, execute(*child, out));
          if (flow != Flow::kNext) return flow;
        }
        return Flow::kNext;
      case NodeKind::kData:
        TRY_STATUS(append(node, out, *node.value.text));
        return Flow::kNext;
      case NodeKind::kPrint: {
        TRY(Value value, evaluate(*node.children[0]));
        TRY(MarkedText text, at(node, to_text(value)));
        TRY_STATUS(append(node, out, text));
        return Flow::kNext;
      }
      case NodeKind::kIf:
        for (size_t i = 0; i < node.children.size(); i += 2) {
          if (i + 1 == node.children.size()) return execute(*node.children[i], out);
          TRY(Value condition, evaluate(*node.children[i]));
          if (condition.truthy()) return execute(*node.children[i + 1], out);
        }
        return Flow::kNext;
      case NodeKind::kFor:
        return execute_for(node, out);
      case NodeKind::kSet:
        TRY_STATUS(execute_set(node));
        return Flow::kNext;
      case NodeKind::kSetBlock: {
        MarkedText text;
        scopes_.emplace_back();
        TRY([[maybe_unused]] Flow flow, execute(*node.children[0], text));
        scopes_.pop_back();
        assign(node.name, Value::string(std::move(text)));
        return Flow::kNext;
      }
      case NodeKind::kScope: {
        scopes_.emplace_back();
        TRY([[maybe_unused]] Flow flow, execute(*node.children[0], out));
        scopes_.pop_back();
        return Flow::kNext;
      }
      case NodeKind::kBreak:
        return Flow::kBreak;
      default:
        return Flow::kContinue;
    }
  }

  Status bind(const Node& node, const Value& item) {
    if (node.names.size() == 1) {
      assign(node.names[0], item);
      return {};
    }
    TRY(List parts, at(node, to_list(item)));
    if (parts.size() != node.names.size())
      return fail(node, "expected {} values to unpack, found {}", node.names.size(), parts.size());
    for (size_t i = 0; i < parts.size(); ++i) assign(node.names[i], parts[i]);
    return {};
  }

  Result<Flow> execute_for(const Node& node, MarkedText& out) {
    TRY(Value source, evaluate(*node.children[0]));
    TRY(List items, at(node, to_list(source)));
    TRY_STATUS(spend(node, items.size(), items.size() * sizeof(Value)));
    if (node.children[1]) {
      List kept;
      for (const Value& item : items) {
        scopes_.emplace_back();
        TRY_STATUS(bind(node, item));
        TRY(Value condition, evaluate(*node.children[1]));
        scopes_.pop_back();
        if (condition.truthy()) kept.push_back(item);
      }
      items = std::move(kept);
    }
    bool finished_one = false;
    loops_.push_back({&items, 0});
    for (size_t i = 0; i < items.size(); ++i) {
      loops_.back().index = i;
      scopes_.emplace_back();
      TRY_STATUS(bind(node, items[i]));
      TRY(Flow flow, execute(*node.children[2], out));
      scopes_.pop_back();
      if (flow == Flow::kBreak) break;
      finished_one = finished_one || flow == Flow::kNext;
    }
    loops_.pop_back();
    // Jinja's else belongs to loops of which no round came to its end, be it for a break or a continue.
    if (finished_one || !node.children[3]) return Flow::kNext;
    scopes_.emplace_back();
    TRY(Flow flow, execute(*node.children[3], out));
    scopes_.pop_back();
    return flow;
  }

  Status execute_set(const Node& node) {
    TRY(Value value, evaluate(*node.children[0]));
    if (node.names.empty()) {
      assign(node.name, std::move(value));
      return {};
    }
    const Value* target = look_up(node.name);
    if (!target || !target->is(ValueKind::kNamespace)) return fail(node, "'{}' is not a namespace", node.name);
    if (value.is(ValueKind::kNamespace)) return fail(node, "a namespace cannot be put into another value");
    put(*target->dict, node.names[0], std::move(value));
    return {};
  }

  static void put(Dict& dict, std::string_view name, Value value) {
    for (auto& [key, old] : dict)
      if (key == name) {
        old = std::move(value);
        return;
      }
    dict.emplace_back(name, std::move(value));
  }
  void assign(std::string_view name, Value value) {
    steps_ += static_cast<int64_t>(scopes_.back().size());
    put(scopes_.back(), name, std::move(value));
  }
  const Value* look_up(std::string_view name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      steps_ += static_cast<int64_t>(scope->size() / 8);
      for (const auto& [key, value] : *scope)
        if (key == name) return &value;
    }
    return nullptr;
  }

  // ---- expressions
  Result<Value> evaluate(const Node& node) {
    TRY_STATUS(spend(node, 1));
    auto child = [&](size_t i) { return evaluate(*node.children[i]); };
    switch (node.kind) {
      case NodeKind::kConst:
        return node.value;
      case NodeKind::kName: {
        const Value* value = look_up(node.name);
        return value ? *value : Value();
      }
      case NodeKind::kLoop:
        return loop_attribute(node);
      case NodeKind::kList:
      case NodeKind::kTuple: {
        TRY(List items, arguments(node, 0));
        for (const Value& item : items)
          if (item.is(ValueKind::kNamespace)) return fail(node, "a namespace cannot be put into another value");
        return spent(node, Value::sequence(std::move(items), node.kind == NodeKind::kTuple));
      }
      case NodeKind::kDict:
        return dict(node);
      case NodeKind::kAttribute: {
        TRY(Value object, child(0));
        return attribute(node, object, node.name, false);
      }
      case NodeKind::kItem: {
        TRY(Value object, child(0));
        TRY(Value index, child(1));
        return item(node, object, index);
      }
      case NodeKind::kSlice:
        return slice(node);
      case NodeKind::kNegative: {
        TRY(Value value, child(0));
        if (!value.is_number()) return fail(node, "expected a number behind '-', found {}", value.kind_name());
        return number(node, -static_cast<Wide>(value.integer));
      }
      case NodeKind::kNot: {
        TRY(Value value, child(0));
        return Value::boolean(!value.truthy());
      }
      case NodeKind::kAnd:
      case NodeKind::kOr: {
        TRY(Value left, child(0));
        if (left.truthy() == (node.kind == NodeKind::kOr)) return left;
        return child(1);
      }
      case NodeKind::kConditional: {
        TRY(Value condition, child(1));
        if (condition.truthy()) return child(0);
        if (!node.children[2]) return Value();
        return child(2);
      }
      case NodeKind::kConcat: {
        MarkedText text;
        for (const NodePtr& operand : node.children) {
          TRY(Value value, evaluate(*operand));
          TRY(MarkedText part, at(node, to_text(value)));
          TRY_STATUS(append(node, text, part));
        }
        return Value::string(std::move(text));
      }
      case NodeKind::kCompare:
        return compare(node);
      case NodeKind::kBinary:
        return binary(node);
      default:
        return call(node);
    }
  }

  using Wide = Int128;
  Result<Value> number(const Node& node, Wide value) const {
    if (value > INT64_MAX || value < INT64_MIN) return fail(node, "a number is larger than 64 bits");
    return Value::number(static_cast<int64_t>(value));
  }

  Result<List> arguments(const Node& node, size_t from) {
    List out;
    for (size_t i = from; i < node.children.size(); ++i) {
      TRY(Value value, evaluate(*node.children[i]));
      out.push_back(std::move(value));
    }
    return out;
  }

  Result<Value> call(const Node& node) {
    TRY(List args, arguments(node, 0));
    size_t cost = 0;  // the work of a built-in grows with what it is given
    for (const Value& arg : args)
      cost += arg.is_text()              ? arg.bytes().size() / 16
              : arg.is_sequence()        ? arg.list->size()
              : arg.is(ValueKind::kDict) ? arg.dict->size()
                                         : 0;
    TRY_STATUS(spend(node, cost));
    std::vector<std::pair<std::string, Value>> keywords;
    size_t positional = args.size() - node.names.size();
    for (size_t i = 0; i < node.names.size(); ++i) put(keywords, node.names[i], args[positional + i]);
    args.resize(positional);
    std::span<const Value> all(args);
    switch (node.kind) {
      case NodeKind::kCall: {
        TRY(Value value, at(node, call_function(node.name, all, keywords)));
        return spent(node, std::move(value));
      }
      case NodeKind::kMethod: {
        TRY(Value value, at(node, call_method(node.name, args[0], all.subspan(1))));
        return spent(node, std::move(value));
      }
      case NodeKind::kFilter: {
        TRY(Value value, at(node, call_filter(node.name, args[0], all.subspan(1), keywords)));
        return spent(node, std::move(value));
      }
      default: {
        TRY(bool value, at(node, call_test(node.name, args[0], all.subspan(1))));
        return Value::boolean(value);
      }
    }
  }

  Result<Value> dict(const Node& node) {
    Dict items;
    for (size_t i = 0; i < node.children.size(); i += 2) {
      TRY(Value key, evaluate(*node.children[i]));
      TRY(Value value, evaluate(*node.children[i + 1]));
      if (!key.is_text()) return fail(node, "expected a string as a key, found {}", key.kind_name());
      if (value.is(ValueKind::kNamespace)) return fail(node, "a namespace cannot be put into another value");
      put(items, key.bytes(), std::move(value));
    }
    return spent(node, Value::mapping(std::move(items)));
  }

  Result<Value> loop_attribute(const Node& node) {
    const Loop& loop = loops_.back();
    int64_t index = static_cast<int64_t>(loop.index), size = static_cast<int64_t>(loop.items->size());
    if (node.name == "first") return Value::boolean(index == 0);
    if (node.name == "last") return Value::boolean(index + 1 == size);
    if (node.name == "index") return Value::number(index + 1);
    if (node.name == "index0") return Value::number(index);
    if (node.name == "revindex") return Value::number(size - index);
    if (node.name == "revindex0") return Value::number(size - index - 1);
    if (node.name == "length") return Value::number(size);
    if (node.name == "previtem") return index == 0 ? Value() : (*loop.items)[loop.index - 1];
    return index + 1 == size ? Value() : (*loop.items)[loop.index + 1];
  }

  // An attribute or a string key. Names of Python's own methods mean those when written as an attribute.
  Result<Value> attribute(const Node& node, const Value& object, std::string_view name, bool as_key) const {
    if (object.is(ValueKind::kUndefined)) return fail(node, "'{}' is asked of something undefined", name);
    if (object.is(ValueKind::kDict) || object.is(ValueKind::kNamespace)) {
      bool method =
          object.is(ValueKind::kDict) &&
          (name == "get" || name == "items" || name == "keys" || name == "values" || name == "pop" || name == "copy" ||
           name == "update" || name == "clear" || name == "setdefault" || name == "popitem" || name == "fromkeys");
      if (method && !as_key) return fail(node, "the method '{}' is not supported as a value", name);
      const Value* found = object.get(name);
      if (!found && method) return fail(node, "the method '{}' is not supported as a value", name);
      return found ? *found : Value();
    }
    static constexpr std::string_view kOthers[] = {
        "index", "count", "append", "extend",    "insert",      "sort",   "reverse", "title",    "format",
        "find",  "real",  "imag",   "numerator", "denominator", "encode", "center",  "swapcase", "isdigit"};
    if (find_builtin(BuiltinKind::kMethod, name) ||
        std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers))
      return fail(node, "the method '{}' is not supported as a value", name);
    return Value();
  }

  Result<Value> item(const Node& node, const Value& object, const Value& index) {
    if (index.is_text()) return attribute(node, object, index.bytes(), true);
    if (object.is(ValueKind::kUndefined)) return fail(node, "an item is asked of something undefined");
    if (!index.is_number()) return Value();
    int64_t i = index.integer;
    if (object.is_sequence()) {
      int64_t size = static_cast<int64_t>(object.list->size());
      if (i < 0) i += size;
      return i < 0 || i >= size ? Value() : (*object.list)[static_cast<size_t>(i)];
    }
    if (object.is_text()) {
      TRY_STATUS(spend(node, object.bytes().size() / 16));
      std::vector<size_t> starts = code_point_starts(object.bytes());
      int64_t size = static_cast<int64_t>(starts.size()) - 1;
      if (i < 0) i += size;
      if (i < 0 || i >= size) return Value();
      return Value::string(object.text->slice(starts[static_cast<size_t>(i)], starts[static_cast<size_t>(i) + 1]));
    }
    return Value();
  }

  Result<Value> slice(const Node& node) {
    TRY(Value object, evaluate(*node.children[0]));
    std::optional<int64_t> bound[3];
    for (size_t i = 0; i < 3; ++i) {
      if (!node.children[i + 1]) continue;
      TRY(Value value, evaluate(*node.children[i + 1]));
      if (value.is(ValueKind::kNone)) continue;
      if (!value.is_number()) return fail(node, "expected a number in a slice, found {}", value.kind_name());
      bound[i] = value.integer;
    }
    if (!object.is_sequence() && !object.is_text()) return fail(node, "{} cannot be sliced", object.kind_name());
    TRY(List items, at(node, to_list(object)));
    TRY_STATUS(spend(node, items.size(), items.size() * sizeof(Value)));
    int64_t size = static_cast<int64_t>(items.size()), by = bound[2].value_or(1);
    if (by == 0) return fail(node, "the step of a slice is 0");
    int64_t low = by > 0 ? 0 : -1, high = by > 0 ? size : size - 1;
    auto clamp = [&](std::optional<int64_t> b, int64_t otherwise) {
      if (!b) return otherwise;
      return std::clamp(*b < 0 ? *b + size : *b, low, high);
    };
    int64_t begin = clamp(bound[0], by > 0 ? low : high), end = clamp(bound[1], by > 0 ? high : low);
    List kept;
    for (Wide i = begin; by > 0 ? i < end : i > end; i += by) kept.push_back(items[static_cast<size_t>(i)]);
    if (!object.is_text()) return Value::sequence(std::move(kept), object.is(ValueKind::kTuple));
    MarkedText text;
    for (const Value& c : kept) text.append(*c.text);
    return Value::string(std::move(text));
  }

  Result<Value> compare(const Node& node) {
    TRY(Value left, evaluate(*node.children[0]));
    for (size_t i = 0; i < node.names.size(); ++i) {
      TRY(Value right, evaluate(*node.children[i + 1]));
      size_t cost = left.is_text() ? left.bytes().size() / 16 : 0;
      cost += right.is_text() ? right.bytes().size() / 16 : right.is_sequence() ? right.list->size() : 0;
      TRY_STATUS(spend(node, cost));
      TRY(bool holds, holds_between(node, node.names[i], left, right));
      if (!holds) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  Result<bool> holds_between(const Node& node, std::string_view op, const Value& left, const Value& right) const {
    if (op == "==") return equal(left, right);
    if (op == "!=") return !equal(left, right);
    if (op == "in") return at(node, contains(right, left));
    if (op == "not in") {
      TRY(bool inside, at(node, contains(right, left)));
      return !inside;
    }
    int order;
    if (left.is_number() && right.is_number())
      order = left.integer < right.integer ? -1 : left.integer > right.integer;
    else if (left.is_text() && right.is_text())
      order = left.bytes().compare(right.bytes());
    else
      return fail(node, "{} and {} cannot be compared with '{}'", left.kind_name(), right.kind_name(), op);
    return op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
  }

  Result<Value> binary(const Node& node) {
    TRY(Value left, evaluate(*node.children[0]));
    TRY(Value right, evaluate(*node.children[1]));
    const std::string& op = node.name;
    if (left.is_number() && right.is_number()) {
      Wide a = left.integer, b = right.integer;
      if (op == "+") return number(node, a + b);
      if (op == "-") return number(node, a - b);
      if (op == "*") return number(node, a * b);
      if (b == 0) return fail(node, "division by zero");
      Wide quotient = a / b, rest = a % b;
      if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1, rest += b;  // Python rounds down
      return number(node, op == "%" ? rest : quotient);
    }
    if (op == "+" && left.is_text() && right.is_text()) {
      MarkedText text = *left.text;
      TRY_STATUS(append(node, text, *right.text));
      return spent(node, Value::string(std::move(text)));
    }
    if (op == "+" && left.kind == right.kind && left.is_sequence()) {
      List items = *left.list;
      items.insert(items.end(), right.list->begin(), right.list->end());
      return spent(node, Value::sequence(std::move(items), left.is(ValueKind::kTuple)));
    }
    if (op == "*" && (left.is_text() || right.is_text()) && (left.is_number() || right.is_number())) {
      const Value &text = left.is_text() ? left : right, &count = left.is_text() ? right : left;
      MarkedText out;
      for (int64_t i = 0; i < count.integer && !text.bytes().empty(); ++i) TRY_STATUS(append(node, out, *text.text));
      return Value::string(std::move(out));
    }
    return fail(node, "{} {} {} is not supported", left.kind_name(), op, right.kind_name());
  }

  std::string_view where_;
  std::vector<Dict> scopes_;
  std::vector<Loop> loops_;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
};

}  // namespace

Result<MarkedText> run_template(const Node& root, Dict variables, std::string_view where) {
  return Interpreter(std::move(variables), where).run(root);
}

}  // namespace onsight::text
