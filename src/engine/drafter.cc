#include "engine/drafter.h"

#include <algorithm>

namespace onsight::engine {
namespace {

constexpr double kRecent = 0.2;  // the weight of what was seen last
constexpr double kMargin = 1.2;  // what a row must bring for each that it costs

}  // namespace

std::span<const int32_t> Drafter::guess(std::span<const int32_t> sequence, double row_cost) {
  paying_ = 0;
  const auto n = static_cast<int64_t>(sequence.size());
  const int32_t* end = sequence.data() + n;
  int64_t after = 0, longest = kShortest - 1;  // the place behind the longest match so far, and its length
  for (int64_t at = n - 1; at >= kShortest && longest < kLongest; --at) {
    int64_t length = 0;
    while (length < std::min<int64_t>(kLongest, at) &&
           end[-1 - length] == sequence[static_cast<size_t>(at - 1 - length)])
      ++length;
    if (length <= longest) continue;
    longest = length;
    after = at;
  }
  if (longest < kShortest) return {};
  match_ = static_cast<size_t>(longest - kShortest);
  const int64_t length = std::min<int64_t>(kMaxGuess, n - after);
  // A guess counts only if all before it were right too.
  double right = trust_[match_];
  for (; paying_ < length && right > kMargin * row_cost; right *= trust_[match_]) ++paying_;
  return sequence.subspan(static_cast<size_t>(after), static_cast<size_t>(length));
}

void Drafter::judge(bool right) { trust_[match_] += kRecent * ((right ? 1 : 0) - trust_[match_]); }

void PassCost::took(int rows, double ms) {
  if (rows == 1) {
    pass_ms_ += (pass_ms_ == 0 ? 1 : kRecent) * (ms - pass_ms_);
  } else if (pass_ms_ > 0) {
    const double cost = (ms / pass_ms_ - 1) / (rows - 1);
    row_cost_ += kRecent * (std::clamp(cost, 0.02, 1.0) - row_cost_);
  }
}

double PassCost::of_row(size_t answers) const {
  const auto n = static_cast<double>(answers);
  return n * row_cost_ / (1 + (n - 1) * row_cost_);
}

}  // namespace onsight::engine
