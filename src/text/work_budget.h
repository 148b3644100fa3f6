// WorkBudget: what compiling one schema may cost, whatever it says. All steps of a compilation draw from one budget, so
// that no two limits multiply.
//
//   WorkBudget work;
//   for (const Term& term : terms)
//     if (!work.spend(1)) return refused;     // and whoever goes on regardless gets nothing more
#pragma once

#include <algorithm>
#include <cstdint>

namespace onsight::text {

class WorkBudget {
 public:
  // A step is some ten nanoseconds or a byte that is kept, whichever is more.
  static constexpr uint64_t kSteps = 64'000'000;

  // Whether there was enough; if not, there is nothing left.
  bool spend(uint64_t steps) {
    if (steps > left_) short_ = true;
    left_ -= std::min(steps, left_);
    return !short_;
  }
  void exhaust() { spend(kSteps + 1); }
  bool exhausted() const { return short_; }
  uint64_t spent() const { return kSteps - left_; }

 private:
  uint64_t left_ = kSteps;
  bool short_ = false;
};

}  // namespace onsight::text
