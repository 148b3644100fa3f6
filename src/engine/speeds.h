// Speeds: how long this machine takes for what requests are made of: measured once, then corrected by what happens.
//
//   Speeds speeds;
//   TRY_STATUS(speeds.measure(network));       // a second or so
//   double ms = tiles * speeds.tile_ms() + speeds.prompt_ms(0, prompt_tokens);
//   speeds.took(Speeds::Kind::kTile, speeds.tile_ms(), measured_ms);
#pragma once

#include <array>
#include <mutex>

#include "engine/network.h"

namespace onsight::engine {

class Speeds {
 public:
  bool measured() const;
  // Runs a tile, two chunks of a prompt and a few tokens. On the thread that runs the network.
  Status measure(Network& network);

  // Of what is to be done; 0 before measure(). Thread safe, as is took().
  double tile_ms() const;
  double prompt_ms(int64_t begin, int64_t end) const;  // of positions [begin, end) of a prompt
  // Of a token of each of so many answers, which nothing else is written beside, behind so many others.
  double token_ms(int64_t context, int answers = 1) const;

  enum class Kind { kTile, kPrompt, kToken };
  // What was predicted, and what it was.
  void took(Kind kind, double predicted_ms, double ms);

 private:
  double factor(Kind kind) const { return factors_[static_cast<size_t>(kind)]; }
  mutable std::mutex mutex_;
  bool measured_ = false;
  double tile_ms_ = 0, row_ms_ = 0, pair_ms_ = 0, token_ms_ = 0, answer_ms_ = 0, context_ms_ = 0;
  int rows_together_ = 1;
  std::array<double, 3> factors_{1, 1, 1};  // of late, of what was measured
};

}  // namespace onsight::engine
