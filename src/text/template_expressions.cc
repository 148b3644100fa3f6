#include "text/template_expressions.h"

namespace onsight::text {
namespace {

constexpr std::string_view kReserved[] = {"and",  "or",     "not",   "in",   "is",     "if",    "else",     "elif",
                                          "for",  "endfor", "endif", "set",  "endset", "true",  "false",    "none",
                                          "True", "False",  "None",  "loop", "self",   "super", "recursive"};
constexpr std::string_view kLoopAttributes[] = {"first",     "last",   "index",    "index0",  "revindex",
                                                "revindex0", "length", "previtem", "nextitem"};

}  // namespace

std::string ExpressionParser::describe(const Token& t) {
  switch (t.kind) {
    case Token::Kind::kData:
      return "text";
    case Token::Kind::kBlockBegin:
      return "'{%'";
    case Token::Kind::kBlockEnd:
      return "'%}'";
    case Token::Kind::kPrintBegin:
      return "'{{'";
    case Token::Kind::kPrintEnd:
      return "'}}'";
    case Token::Kind::kString:
      return "a string";
    case Token::Kind::kInteger:
      return "a number";
    case Token::Kind::kEnd:
      return "the end of the template";
    default:
      return fmt::format("'{}'", t.text);
  }
}

Result<std::string> ExpressionParser::expect_new_name() {
  if (now().kind != Token::Kind::kName) return fail("expected a name, found {}", describe(now()));
  std::string name = now().text;
  if (one_of(kReserved, name) || is_global_name(name)) return fail("'{}' cannot be assigned to", name);
  step();
  return name;
}

// From the loosest binding to the tightest.
Result<NodePtr> ExpressionParser::expression() {
  Level level(level_);
  if (level_ > kMaxDepth) return fail("nested deeper than {} levels", kMaxDepth);
  TRY(NodePtr left, without_conditional());
  while (skip_name("if")) {
    TRY(NodePtr condition, without_conditional());
    NodePtr otherwise;
    if (skip_name("else")) {
      TRY(otherwise, expression());
    }
    TRY(left, make(Kind::kConditional, std::move(left), std::move(condition), std::move(otherwise)));
  }
  return left;
}

Result<NodePtr> ExpressionParser::without_conditional() {
  TRY(NodePtr left, and_expression());
  while (skip_name("or")) {
    TRY(NodePtr right, and_expression());
    TRY(left, make(Kind::kOr, std::move(left), std::move(right)));
  }
  return left;
}

Result<NodePtr> ExpressionParser::and_expression() {
  TRY(NodePtr left, not_expression());
  while (skip_name("and")) {
    TRY(NodePtr right, not_expression());
    TRY(left, make(Kind::kAnd, std::move(left), std::move(right)));
  }
  return left;
}

Result<NodePtr> ExpressionParser::not_expression() {
  int count = 0;
  while (skip_name("not")) ++count;
  TRY(NodePtr node, comparison());
  for (; count > 0; --count) {
    TRY(node, make(Kind::kNot, std::move(node)));
  }
  return node;
}

Result<NodePtr> ExpressionParser::comparison() {
  TRY(NodePtr first, sum());
  auto node = std::make_unique<Node>();
  node->kind = Kind::kCompare;
  node->line = now().line;
  for (;;) {
    std::string op;
    if (now().kind == Token::Kind::kOperator &&
        one_of(std::array<std::string_view, 6>{"==", "!=", "<", "<=", ">", ">="}, now().text)) {
      op = now().text;
    } else if (is_name("in")) {
      op = "in";
    } else if (is_name("not") && is(ahead(1), Token::Kind::kName, "in")) {
      op = "not in";
      step();
    } else {
      break;
    }
    step();
    if (node->children.empty()) node->children.push_back(std::move(first));
    node->names.push_back(std::move(op));
    TRY(NodePtr operand, sum());
    node->children.push_back(std::move(operand));
  }
  if (node->children.empty()) return first;
  return checked(std::move(node));
}

Result<NodePtr> ExpressionParser::sum() {
  TRY(NodePtr left, concatenation());
  while (is_operator("+") || is_operator("-")) {
    std::string op = now().text;
    step();
    TRY(NodePtr right, concatenation());
    TRY(left, make(Kind::kBinary, std::move(left), std::move(right)));
    left->name = std::move(op);
  }
  return left;
}

Result<NodePtr> ExpressionParser::concatenation() {
  TRY(NodePtr first, product());
  if (!is_operator("~")) return first;
  auto node = std::make_unique<Node>();
  node->kind = Kind::kConcat;
  node->line = now().line;
  node->children.push_back(std::move(first));
  while (skip_operator("~")) {
    TRY(NodePtr operand, product());
    node->children.push_back(std::move(operand));
  }
  return checked(std::move(node));
}

Result<NodePtr> ExpressionParser::product() {
  TRY(NodePtr left, unary(true));
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%") || is_operator("**")) {
    std::string op = now().text;
    if (op == "/" || op == "**") return fail("the operator '{}' is not supported", op);
    step();
    TRY(NodePtr right, unary(true));
    TRY(left, make(Kind::kBinary, std::move(left), std::move(right)));
    left->name = std::move(op);
  }
  return left;
}

Result<NodePtr> ExpressionParser::unary(bool with_filters) {
  Level level(level_);
  if (level_ > kMaxDepth) return fail("nested deeper than {} levels", kMaxDepth);
  NodePtr node;
  if (skip_operator("-")) {
    TRY(node, unary(false));
    TRY(node, make(Kind::kNegative, std::move(node)));
  } else if (is_operator("+")) {
    return fail("the sign '+' is not supported");
  } else {
    TRY(node, primary());
  }
  TRY(node, postfix(std::move(node)));
  while (with_filters) {
    if (skip_operator("|")) {
      TRY(node, filter(std::move(node)));
    } else if (skip_name("is")) {
      TRY(node, test(std::move(node)));
    } else {
      break;
    }
  }
  return node;
}

Result<NodePtr> ExpressionParser::constant(Value value) {
  TRY(NodePtr node, make(Kind::kConst));
  node->value = std::move(value);
  return node;
}

Result<NodePtr> ExpressionParser::primary() {
  const Token token = now();
  switch (token.kind) {
    case Token::Kind::kName:
      return name_expression();
    case Token::Kind::kString: {
      std::string text;
      for (; now().kind == Token::Kind::kString; step()) text += now().text;
      return constant(Value::string(text));
    }
    case Token::Kind::kInteger:
      step();
      return constant(Value::number(token.integer));
    case Token::Kind::kOperator:
      if (skip_operator("(")) return brackets();
      if (skip_operator("[")) return items(Kind::kList, "]", {});
      if (skip_operator("{")) return dict();
      break;
    default:
      break;
  }
  return fail("expected an expression, found {}", describe(token));
}

Result<NodePtr> ExpressionParser::name_expression() {
  std::string name = now().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    step();
    return constant(Value::boolean(name == "true" || name == "True"));
  }
  if (name == "none" || name == "None") {
    step();
    return constant(Value::none());
  }
  if (name == "loop") {
    const Token& attribute = ahead(2);
    if (loops_ == 0 || !is(ahead(1), Token::Kind::kOperator, ".") || !one_of(kLoopAttributes, attribute.text))
      return fail("this use of 'loop' is not supported");
    step();
    step();
    TRY(NodePtr node, make(Kind::kLoop));
    node->name = attribute.text;
    step();
    return node;
  }
  if (one_of(kReserved, name)) return fail("expected an expression, found '{}'", name);
  if (is(ahead(1), Token::Kind::kOperator, "(")) {
    const Builtin* builtin = find_builtin(BuiltinKind::kFunction, name);
    if (!builtin) return fail("the function '{}' is not supported", name);
    step();
    TRY(NodePtr node, make(Kind::kCall));
    node->name = name;
    TRY_STATUS(arguments(*builtin, *node, 0));
    return checked(std::move(node));
  }
  if (is_global_name(name)) return fail("the function '{}' is not supported as a value", name);
  step();
  TRY(NodePtr node, make(Kind::kName));
  node->name = std::move(name);
  return node;
}

Result<NodePtr> ExpressionParser::brackets() {
  if (skip_operator(")")) return make(Kind::kTuple);
  TRY(NodePtr first, expression());
  if (skip_operator(")")) return first;
  TRY_STATUS(expect_operator(","));
  return items(Kind::kTuple, ")", std::move(first));
}

Result<NodePtr> ExpressionParser::items(Kind kind, std::string_view end, NodePtr first) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->line = now().line;
  if (first) node->children.push_back(std::move(first));
  while (!skip_operator(end)) {
    TRY(NodePtr item, expression());
    node->children.push_back(std::move(item));
    if (!is_operator(end)) TRY_STATUS(expect_operator(","));
  }
  return checked(std::move(node));
}

Result<NodePtr> ExpressionParser::dict() {
  auto node = std::make_unique<Node>();
  node->kind = Kind::kDict;
  node->line = now().line;
  while (!skip_operator("}")) {
    TRY(NodePtr key, expression());
    TRY_STATUS(expect_operator(":"));
    TRY(NodePtr value, expression());
    node->children.push_back(std::move(key));
    node->children.push_back(std::move(value));
    if (!is_operator("}")) TRY_STATUS(expect_operator(","));
  }
  return checked(std::move(node));
}

Result<NodePtr> ExpressionParser::postfix(NodePtr node) {
  for (;;) {
    if (skip_operator(".")) {
      TRY(node, attribute(std::move(node)));
    } else if (skip_operator("[")) {
      TRY(node, subscript(std::move(node)));
    } else if (is_operator("(")) {
      return fail("calling the result of an expression is not supported");
    } else {
      return node;
    }
  }
}

Result<NodePtr> ExpressionParser::attribute(NodePtr object) {
  if (now().kind == Token::Kind::kInteger) {
    TRY(NodePtr index, constant(Value::number(now().integer)));
    step();
    return make(Kind::kItem, std::move(object), std::move(index));
  }
  if (now().kind != Token::Kind::kName) return fail("expected a name, found {}", describe(now()));
  std::string name = now().text;
  if (name.starts_with("_")) return fail("the attribute '{}' is not supported", name);
  bool called = is(ahead(1), Token::Kind::kOperator, "(");
  const Builtin* method = find_builtin(BuiltinKind::kMethod, name);
  if (called && !method) return fail("the method '{}' is not supported", name);
  step();
  TRY(NodePtr node, make(called ? Kind::kMethod : Kind::kAttribute, std::move(object)));
  node->name = std::move(name);
  if (called) TRY_STATUS(arguments(*method, *node, 1));
  return checked(std::move(node));
}

Result<NodePtr> ExpressionParser::subscript(NodePtr object) {
  NodePtr parts[3];
  int colons = 0;
  while (!is_operator("]")) {
    if (skip_operator(":")) {
      if (++colons > 2) return fail("unexpected ':'");
    } else {
      if (parts[colons]) return fail("expected ']', found {}", describe(now()));
      TRY(parts[colons], expression());
    }
  }
  step();
  if (colons)
    return make(Kind::kSlice, std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
  if (!parts[0]) return fail("expected an index");
  return make(Kind::kItem, std::move(object), std::move(parts[0]));
}

// At the opening bracket. `given` children are there already.
Status ExpressionParser::arguments(const Builtin& builtin, Node& node, size_t given) {
  TRY_STATUS(expect_operator("("));
  while (!skip_operator(")")) {
    if (is_operator("*") || is_operator("**")) return fail("unpacked arguments are not supported");
    if (now().kind == Token::Kind::kName && is(ahead(1), Token::Kind::kOperator, "=")) {
      std::string keyword = now().text;
      bool known = builtin.keywords == "*" ? !keyword.starts_with("_")
                                           : builtin.keywords.find(keyword + " ") != std::string_view::npos;
      if (!known) return fail("'{}' with the argument '{}' is not supported", builtin.name, keyword);
      node.names.push_back(std::move(keyword));
      step();
      step();
    } else if (!node.names.empty()) {
      return fail("expected a named argument, found {}", describe(now()));
    }
    TRY(NodePtr value, expression());
    node.children.push_back(std::move(value));
    if (!is_operator(")")) TRY_STATUS(expect_operator(","));
  }
  return check_count(builtin, node, given);
}

Status ExpressionParser::check_count(const Builtin& builtin, const Node& node, size_t given) const {
  int count = static_cast<int>(node.children.size() - given - node.names.size());
  if (count < builtin.min_args || count > builtin.max_args)
    return fail("'{}' with {} arguments is not supported", builtin.name, count);
  return {};
}

Result<NodePtr> ExpressionParser::filter(NodePtr input) {
  if (now().kind != Token::Kind::kName) return fail("expected the name of a filter, found {}", describe(now()));
  const Builtin* builtin = find_builtin(BuiltinKind::kFilter, now().text);
  if (!builtin) return fail("the filter '{}' is not supported", now().text);
  step();
  TRY(NodePtr node, make(Kind::kFilter, std::move(input)));
  node->name = builtin->name;
  if (is_operator("(")) {
    TRY_STATUS(arguments(*builtin, *node, 1));
  } else {
    TRY_STATUS(check_count(*builtin, *node, 1));
  }
  return checked(std::move(node));
}

Result<NodePtr> ExpressionParser::test(NodePtr input) {
  bool negated = skip_name("not");
  if (now().kind != Token::Kind::kName) return fail("expected the name of a test, found {}", describe(now()));
  const Builtin* builtin = find_builtin(BuiltinKind::kTest, now().text);
  if (!builtin) return fail("the test '{}' is not supported", now().text);
  step();
  TRY(NodePtr node, make(Kind::kTest, std::move(input)));
  node->name = builtin->name;
  if (is_operator("(")) {
    TRY_STATUS(arguments(*builtin, *node, 1));
  } else if (builtin->min_args > 0) {  // one argument may stand without brackets
    TRY(NodePtr argument, primary());
    TRY(argument, postfix(std::move(argument)));
    node->children.push_back(std::move(argument));
  } else if (now().kind == Token::Kind::kString || now().kind == Token::Kind::kInteger || is_operator("[") ||
             is_operator("{") || is_name("if") || is_name("is") || is_name("in") || is_name("not")) {
    return fail("expected the end of the test '{}', found {}", builtin->name, describe(now()));
  }
  TRY(node, checked(std::move(node)));
  if (!negated) return node;
  return make(Kind::kNot, std::move(node));
}

}  // namespace onsight::text
