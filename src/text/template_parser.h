// The syntax tree of a chat template, and its parser: the part of Jinja that chat templates of the family use.
// Everything else is refused here, by name and line, so that a template that loads also means what its author meant.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/template_value.h"

namespace onsight::text {

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
  enum class Kind : uint8_t {
    // Expressions; what the children are:
    kConst,        // value
    kName,         // name
    kLoop,         // name: an attribute of the innermost loop
    kList,         // items
    kTuple,        // items
    kDict,         // key, value, key, value …
    kAttribute,    // object; name
    kItem,         // object, index
    kSlice,        // object, start, stop, step: each of the three may be null
    kCall,         // arguments; name: a function
    kMethod,       // object, arguments; name
    kFilter,       // input, arguments; name
    kTest,         // input, arguments; name
    kNegative,     // operand
    kNot,          // operand
    kAnd,          // left, right
    kOr,           // left, right
    kBinary,       // left, right; name: the operator
    kConcat,       // operands
    kCompare,      // operands; names: the operators between them
    kConditional,  // then, condition, else (may be null)
    // Statements:
    kBody,      // statements
    kData,      // value: text as it stands
    kPrint,     // expression
    kIf,        // condition, body, condition, body …, and at the end perhaps an else body
    kFor,       // items, condition (may be null), body, else body (may be null); names: the targets
    kSet,       // expression; name, and names[0] for a namespace's attribute
    kSetBlock,  // body; name
    kScope,     // body
    kBreak,
    kContinue,
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // of the tree from here down
  std::string name;
  std::vector<std::string> names;  // also the keywords of the last arguments of a call
  Value value;
  std::vector<NodePtr> children;
};

Result<NodePtr> parse_template(std::string_view source, std::string_view where);

}  // namespace onsight::text
