#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace onsight::engine {
namespace {

template <class Use>
void for_each_allowed(std::span<const uint64_t> allowed, size_t size, const Use& use) {
  if (allowed.empty()) {
    for (size_t i = 0; i < size; ++i) use(i);
    return;
  }
  for (size_t word = 0; word < allowed.size(); ++word)
    for (uint64_t bits = allowed[word]; bits != 0; bits &= bits - 1) {
      const size_t i = word * 64 + static_cast<size_t>(std::countr_zero(bits));
      if (i < size) use(i);
    }
}

}  // namespace

int32_t Sampler::next(std::span<const float> logits, std::span<const int32_t> seen, std::span<const uint64_t> allowed) {
  if (options_.repetition_penalty != 1) {
    scores_.assign(logits.begin(), logits.end());
    std::vector<int32_t> once(seen.begin(), seen.end());
    std::sort(once.begin(), once.end());
    once.erase(std::unique(once.begin(), once.end()), once.end());
    for (int32_t token :
         once) {  // Keskar et al. 2019: away from zero for negative scores, towards it for positive ones
      float& score = scores_[static_cast<size_t>(token)];
      score = score < 0 ? score * options_.repetition_penalty : score / options_.repetition_penalty;
    }
    logits = scores_;
  }
  if (options_.temperature <= 0) {
    if (allowed.empty()) return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    size_t best = logits.size();
    for_each_allowed(allowed, logits.size(), [&](size_t i) {
      if (best == logits.size() || logits[i] > logits[best]) best = i;
    });
    return static_cast<int32_t>(best);
  }

  candidates_.clear();
  for_each_allowed(allowed, logits.size(), [&](size_t i) {
    candidates_.push_back({logits[i] / options_.temperature, static_cast<int32_t>(i)});
  });
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.score > b.score || (a.score == b.score && a.token < b.token);
  };
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(), better);
    // Ties with the last one that counts stay, as in the reference.
    const float least = std::min_element(candidates_.begin(), candidates_.begin() + options_.top_k,
                                         [](const Candidate& a, const Candidate& b) { return a.score < b.score; })
                            ->score;
    std::erase_if(candidates_, [least](const Candidate& c) { return c.score < least; });
  }
  std::sort(candidates_.begin(), candidates_.end(), better);

  double sum = 0;
  const float best = candidates_.front().score;
  std::vector<double> weights;
  weights.reserve(candidates_.size());
  for (const Candidate& c : candidates_) {
    weights.push_back(std::exp(static_cast<double>(c.score) - best));
    sum += weights.back();
  }
  size_t keep = weights.size();
  if (options_.top_p < 1) {  // the smallest set whose probability reaches top_p
    double mass = 0;
    keep = 0;
    while (keep < weights.size() && mass < options_.top_p * sum) mass += weights[keep++];
  }
  if (options_.min_p > 0)  // weights are relative to the best, which is 1
    while (keep > 1 && weights[keep - 1] < options_.min_p) --keep;
  keep = std::max<size_t>(keep, 1);
  sum = 0;
  for (size_t i = 0; i < keep; ++i) sum += weights[i];

  // 53 random bits by hand: the standard's distributions differ between libraries.
  double at = static_cast<double>(random_() >> 11) * 0x1p-53 * sum;
  for (size_t i = 0; i + 1 < keep; ++i) {
    at -= weights[i];
    if (at < 0) return candidates_[i].token;
  }
  return candidates_[keep - 1].token;
}

}  // namespace onsight::engine
