// A regular expression as a tree.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/code_set.h"

namespace onsight::text {

struct PatternNode {
  enum class Kind { kSet, kSequence, kChoice, kRepeat, kBegin, kEnd };
  Kind kind = Kind::kSequence;
  CodeSet set;
  std::vector<PatternNode> parts;
  int min = 0, max = 0;  // of a repeat; max -1: no limit
};

Result<PatternNode> parse_pattern(std::string_view pattern);

}  // namespace onsight::text
