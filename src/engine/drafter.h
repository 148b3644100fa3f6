// Drafter: guesses the next tokens from where the last few occurred before ("prompt lookup"): what is read off a page,
// or said again, is often said in the same words.
//
//   PassCost cost;
//   Drafter drafter;
//   std::span<const int32_t> guess = drafter.guess(sequence, cost.of_row(1));
//   // Run the last token and the first drafter.paying() of the guess in one pass, say how long it took, and of each
//   // guess in order whether it was right, up to the first that was not:
//   cost.took(rows, ms);
//   drafter.judge(token == guess[0]);
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace onsight::engine {

// What rows add to a pass: decides how sure a guess must be.
class PassCost {
 public:
  void took(int rows, double ms);
  // Of a row more, as a part of what it saves if it is right: a pass, where one answer is written, and its share of one
  // where several are.
  double of_row(size_t answers) const;

 private:
  double pass_ms_ = 0, row_cost_ = 0.4;  // of one row; of each row more, as a part of it
};

class Drafter {
 public:
  static constexpr int kMaxGuess = 7;

  // The tokens after the latest of the longest matches of the sequence's end. row_cost: PassCost::of_row.
  std::span<const int32_t> guess(std::span<const int32_t> sequence, double row_cost);
  // How many of the last guess are worth running. The first is worth comparing even if none is: trust comes and returns
  // without a wasted row.
  int paying() const { return paying_; }
  // Whether the next token of the last guess was right.
  void judge(bool right);

 private:
  static constexpr int kShortest = 2, kLongest = 4;
  // How often guesses were right lately, by the length of the match that they came from.
  std::array<double, kLongest - kShortest + 1> trust_{0.3, 0.3, 0.3};
  size_t match_ = 0;
  int paying_ = 0;
};

}  // namespace onsight::engine
