// The expressions of chat templates, and what their parser and that of the statements share.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "text/template_builtins.h"
#include "text/template_lexer.h"
#include "text/template_parser.h"

namespace onsight::text {

template <class Names>
bool one_of(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

class ExpressionParser {
 protected:
  using Token = TemplateToken;
  using Kind = Node::Kind;

  // Trees are walked and freed by recursion.
  static constexpr int kMaxDepth = 150;
  static constexpr size_t kMaxNodes = 200'000;

  ExpressionParser(std::vector<Token> tokens, std::string_view where) : tokens_(std::move(tokens)), where_(where) {}

  // ---- tokens
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead(size_t n) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  void step() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  static bool is(const Token& t, Token::Kind kind, std::string_view text) { return t.kind == kind && t.text == text; }
  bool is_operator(std::string_view text) const { return is(now(), Token::Kind::kOperator, text); }
  bool is_name(std::string_view text) const { return is(now(), Token::Kind::kName, text); }
  bool skip_operator(std::string_view text) { return is_operator(text) && (step(), true); }
  bool skip_name(std::string_view text) { return is_name(text) && (step(), true); }
  static std::string describe(const Token& t);
  template <class... Args>
  tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) const {
    return bad_input("{}: line {}: {}", where_, now().line, fmt::format(format, std::forward<Args>(args)...));
  }
  Status expect_operator(std::string_view text) {
    if (!skip_operator(text)) return fail("expected '{}', found {}", text, describe(now()));
    return {};
  }
  Status expect(Token::Kind kind) {
    if (now().kind != kind) return fail("expected {}, found {}", describe({kind, {}, 0, 0}), describe(now()));
    step();
    return {};
  }
  Result<std::string> expect_new_name();

  // ---- nodes
  template <class... Children>
  Result<NodePtr> make(Kind kind, Children&&... children) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->line = now().line;
    (node->children.push_back(std::forward<Children>(children)), ...);
    return checked(std::move(node));
  }
  // To be called when all children are there.
  Result<NodePtr> checked(NodePtr node) {
    for (const NodePtr& child : node->children)
      if (child) node->depth = std::max(node->depth, child->depth + 1);
    if (node->depth > kMaxDepth) return fail("nested deeper than {} levels", kMaxDepth);
    if (++nodes_ > kMaxNodes) return fail("the template has more than {} parts", kMaxNodes);
    return node;
  }
  // Counts the recursion of the parser itself.
  struct Level {
    explicit Level(int& count) : level(count) { ++level; }
    ~Level() { --level; }
    int& level;
  };

  // ---- expressions
  Result<NodePtr> expression();
  Result<NodePtr> without_conditional();
  Result<NodePtr> and_expression();
  Result<NodePtr> not_expression();
  Result<NodePtr> comparison();
  Result<NodePtr> sum();
  Result<NodePtr> concatenation();
  Result<NodePtr> product();
  Result<NodePtr> unary(bool with_filters);
  Result<NodePtr> constant(Value value);
  Result<NodePtr> primary();
  Result<NodePtr> name_expression();
  Result<NodePtr> brackets();
  Result<NodePtr> items(Kind kind, std::string_view end, NodePtr first);
  Result<NodePtr> dict();
  Result<NodePtr> postfix(NodePtr node);
  Result<NodePtr> attribute(NodePtr object);
  Result<NodePtr> subscript(NodePtr object);
  Status arguments(const Builtin& builtin, Node& node, size_t given);
  Status check_count(const Builtin& builtin, const Node& node, size_t given) const;
  Result<NodePtr> filter(NodePtr input);
  Result<NodePtr> test(NodePtr input);

  std::vector<Token> tokens_;
  std::string_view where_;
  size_t at_ = 0;
  size_t nodes_ = 0;
  int level_ = 0;
  int loops_ = 0;           // that the current place is in
  bool breakable_ = false;  // break and continue make sense here
};

}  // namespace onsight::text
