// Sampler: logits -> the next token. The order of the steps is transformers': repetition penalty, temperature, top-k,
// top-p, min-p.
//
//   Sampler sampler({.temperature = 0.7f, .top_p = 0.9f, .seed = 1});
//   int32_t token = sampler.next(logits, all_tokens_so_far);
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace onsight::engine {

class Sampler {
 public:
  explicit Sampler(const Sampling& options) : options_(options), random_(options.seed) {}
  // logits [vocabulary]; `seen` holds prompt and answer; `allowed` has a bit for each token (text::TokenMask), at least
  // one of them set, or is empty: all are allowed. The same seed and logits give the same tokens on every machine.
  int32_t next(std::span<const float> logits, std::span<const int32_t> seen, std::span<const uint64_t> allowed = {});

 private:
  Sampling options_;
  std::mt19937_64 random_;
  struct Candidate {
    float weight;
    int32_t token;
  };
  void weigh(std::span<const float> logits, std::span<const uint64_t> allowed);
  void truncate();
  int32_t draw();

  std::vector<float> scores_;
  std::vector<float> weights_;  // of all tokens
  std::vector<Candidate> candidates_;
};

}  // namespace onsight::engine
