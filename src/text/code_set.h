// CodeSet: a set of code points, as sorted ranges.
//
//   CodeSet digits = CodeSet({{'0', '9'}});
//   CodeSet rest = digits.complement();
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace onsight::text {

struct CodeRange {
  uint32_t first, last;
};

class CodeSet {
 public:
  static constexpr uint32_t kLast = 0x10ffff;

  CodeSet() = default;
  explicit CodeSet(std::vector<CodeRange> ranges) : ranges_(std::move(ranges)) {
    std::sort(ranges_.begin(), ranges_.end(), [](CodeRange a, CodeRange b) { return a.first < b.first; });
    size_t kept = 0;
    for (const CodeRange range : ranges_) {
      if (kept > 0 && range.first <= ranges_[kept - 1].last + 1)
        ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
      else
        ranges_[kept++] = range;
    }
    ranges_.resize(kept);
  }
  const std::vector<CodeRange>& ranges() const { return ranges_; }
  CodeSet with(const CodeSet& other) const {
    std::vector<CodeRange> all = ranges_;
    all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
    return CodeSet(std::move(all));
  }
  CodeSet complement() const {
    std::vector<CodeRange> out;
    uint32_t first = 0;
    for (const CodeRange range : ranges_) {
      if (range.first > first) out.push_back({first, range.first - 1});
      first = range.last + 1;
    }
    if (first <= kLast) out.push_back({first, kLast});
    return CodeSet(std::move(out));
  }

 private:
  std::vector<CodeRange> ranges_;
};

}  // namespace onsight::text
