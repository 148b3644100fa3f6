#include "text/template_parser.h"

#include "text/template_expressions.h"

namespace onsight::text {
namespace {

class TemplateParser : public ExpressionParser {
 public:
  TemplateParser(std::vector<Token> tokens, std::string_view where) : ExpressionParser(std::move(tokens), where) {}

  Result<NodePtr> run() {
    std::string ended_by;
    return body({}, ended_by);
  }

 private:
  Result<NodePtr> body(std::initializer_list<std::string_view> ends, std::string& ended_by) {
    Level level(level_);
    if (level_ > kMaxDepth) return fail("nested deeper than {} levels", kMaxDepth);
    auto node = std::make_unique<Node>();
    node->kind = Kind::kBody;
    node->line = now().line;
    for (;;) {
      switch (now().kind) {
        case Token::Kind::kEnd:
          if (ends.size()) return fail("expected '{}' before the end of the template", *(ends.end() - 1));
          return checked(std::move(node));
        case Token::Kind::kData: {
          TRY(NodePtr data, make(Kind::kData));
          data->value = Value::string(now().text);
          step();
          node->children.push_back(std::move(data));
          break;
        }
        case Token::Kind::kPrintBegin: {
          step();
          TRY(NodePtr value, expression());
          if (is_operator(",")) return fail("printing a tuple is not supported");
          TRY(NodePtr print, make(Kind::kPrint, std::move(value)));
          TRY_STATUS(expect(Token::Kind::kPrintEnd));
          node->children.push_back(std::move(print));
          break;
        }
        default: {
          TRY_STATUS(expect(Token::Kind::kBlockBegin));
          if (now().kind != Token::Kind::kName)
            return fail("expected the name of a statement, found {}", describe(now()));
          if (one_of(ends, now().text)) {
            ended_by = now().text;
            step();
            return checked(std::move(node));
          }
          TRY(NodePtr child, statement());
          TRY_STATUS(expect(Token::Kind::kBlockEnd));
          node->children.push_back(std::move(child));
        }
      }
    }
  }

  Result<NodePtr> statement() {
    if (skip_name("if")) return if_statement();
    if (skip_name("for")) return for_statement();
    if (skip_name("set")) return set_statement();
    if (skip_name("generation")) {
      TRY_STATUS(expect(Token::Kind::kBlockEnd));
      bool breakable = std::exchange(breakable_, false);
      std::string ended_by;
      TRY(NodePtr inner, body({"endgeneration"}, ended_by));
      breakable_ = breakable;
      return make(Kind::kScope, std::move(inner));
    }
    if (is_name("break") || is_name("continue")) {
      if (!breakable_) return fail("'{}' is not directly inside a loop", now().text);
      bool is_break = is_name("break");
      step();
      return make(is_break ? Kind::kBreak : Kind::kContinue);
    }
    return fail("the statement '{}' is not supported in chat templates", now().text);
  }

  Result<NodePtr> if_statement() {
    auto node = std::make_unique<Node>();
    node->kind = Kind::kIf;
    node->line = now().line;
    for (std::string ended_by = "elif"; ended_by != "endif";) {
      if (ended_by == "elif") {
        TRY(NodePtr condition, without_conditional());
        node->children.push_back(std::move(condition));
      }
      TRY_STATUS(expect(Token::Kind::kBlockEnd));
      bool is_else = ended_by == "else";
      TRY(NodePtr inner, is_else ? body({"endif"}, ended_by) : body({"elif", "else", "endif"}, ended_by));
      node->children.push_back(std::move(inner));
    }
    return checked(std::move(node));
  }

  Result<NodePtr> for_statement() {
    std::vector<std::string> names;
    bool brackets = skip_operator("(");
    do {
      TRY(std::string name, expect_new_name());
      names.push_back(std::move(name));
    } while (skip_operator(",") && !is_name("in"));
    if (brackets) TRY_STATUS(expect_operator(")"));
    if (!skip_name("in")) return fail("expected 'in', found {}", describe(now()));
    TRY(NodePtr items, without_conditional());
    if (is_operator(",")) return fail("a loop over a tuple without brackets is not supported");
    NodePtr condition, otherwise;
    int loops = std::exchange(loops_, 0);  // the condition has no loop to ask
    if (skip_name("if")) {
      TRY(condition, expression());
    }
    if (is_name("recursive")) return fail("recursive loops are not supported");
    TRY_STATUS(expect(Token::Kind::kBlockEnd));
    loops_ = loops + 1;
    bool breakable = std::exchange(breakable_, true);
    std::string ended_by;
    TRY(NodePtr inner, body({"else", "endfor"}, ended_by));
    loops_ = loops;
    breakable_ = breakable;
    if (ended_by == "else") {
      TRY_STATUS(expect(Token::Kind::kBlockEnd));
      TRY(otherwise, body({"endfor"}, ended_by));
    }
    TRY(NodePtr node, make(Kind::kFor, std::move(items), std::move(condition), std::move(inner), std::move(otherwise)));
    node->names = std::move(names);
    return node;
  }

  Result<NodePtr> set_statement() {
    TRY(std::string name, expect_new_name());
    std::vector<std::string> attribute;
    if (skip_operator(".")) {
      if (now().kind != Token::Kind::kName || now().text.starts_with("_"))
        return fail("expected a name, found {}", describe(now()));
      attribute.push_back(now().text);
      step();
    }
    if (is_operator(",")) return fail("setting several names at once is not supported");
    if (skip_operator("=")) {
      TRY(NodePtr value, expression());
      if (is_operator(",")) return fail("a tuple without brackets is not supported");
      TRY(NodePtr node, make(Kind::kSet, std::move(value)));
      node->name = std::move(name);
      node->names = std::move(attribute);
      return node;
    }
    if (is_operator("|") || !attribute.empty()) return fail("this form of 'set' is not supported");
    TRY_STATUS(expect(Token::Kind::kBlockEnd));
    std::string ended_by;
    bool breakable = std::exchange(breakable_, false);
    TRY(NodePtr inner, body({"endset"}, ended_by));
    breakable_ = breakable;
    TRY(NodePtr node, make(Kind::kSetBlock, std::move(inner)));
    node->name = std::move(name);
    return node;
  }
};

}  // namespace

Result<NodePtr> parse_template(std::string_view source, std::string_view where) {
  TRY(std::vector<TemplateToken> tokens, lex_template(source, where));
  return TemplateParser(std::move(tokens), where).run();
}

}  // namespace onsight::text
