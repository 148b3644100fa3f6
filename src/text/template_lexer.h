// Cuts a chat template into tokens, with Jinja's rules for white space around tags (trim_blocks and lstrip_blocks on,
// as transformers has them).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::text {

struct TemplateToken {
  enum class Kind : uint8_t {
    kData,
    kBlockBegin,
    kBlockEnd,
    kPrintBegin,
    kPrintEnd,
    kName,
    kString,
    kInteger,
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  std::string text;  // the value of a string, the name, the operator
  int64_t integer = 0;
  int line = 1;
};

// The last token is a kEnd. `where` begins error messages.
Result<std::vector<TemplateToken>> lex_template(std::string_view source, std::string_view where);

}  // namespace onsight::text
