#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

namespace onsight::engine {
namespace {

constexpr size_t kSortedAtFirst = 256;

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

// The first of the largest. Blocks have no order among their lanes, which the compiler turns into vectors.
size_t largest(std::span<const float> x) {
  constexpr size_t kLanes = 16, kBlock = 16 * kLanes;
  size_t at = 0, begin = 0;
  float best = -std::numeric_limits<float>::infinity();
  for (; begin + kBlock <= x.size(); begin += kBlock) {
    float lanes[kLanes];
    std::copy_n(&x[begin], kLanes, lanes);
    for (size_t i = kLanes; i < kBlock; i += kLanes)
      for (size_t j = 0; j < kLanes; ++j) lanes[j] = lanes[j] < x[begin + i + j] ? x[begin + i + j] : lanes[j];
    const float most = *std::max_element(lanes, lanes + kLanes);
    if (most > best) {
      best = most;
      at = begin;
    }
  }
  const std::span<const float> rest = x.subspan(begin), block = x.subspan(at, std::min(kBlock, x.size() - at));
  const auto of_rest = std::max_element(rest.begin(), rest.end());
  if (of_rest != rest.end() && *of_rest > best) return begin + static_cast<size_t>(of_rest - rest.begin());
  return at + static_cast<size_t>(std::max_element(block.begin(), block.end()) - block.begin());
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
    if (allowed.empty()) return static_cast<int32_t>(largest(logits));
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
  // In order as far as an answer is likely to look: the tail of a vocabulary hardly weighs anything.
  size_t sorted = std::min(kSortedAtFirst, candidates_.size());
  const auto sort_first = [&](size_t count) {
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
    if (count < candidates_.size()) std::nth_element(candidates_.begin(), end, candidates_.end(), better);
    std::sort(candidates_.begin(), end, better);
    sorted = count;
  };
  sort_first(sorted);
  weights_.clear();
  const auto best = static_cast<double>(candidates_.front().score);
  for (const Candidate& c : candidates_) weights_.push_back(std::exp(static_cast<double>(c.score) - best));
  double sum = 0;
  for (const double weight : weights_) sum += weight;
  size_t keep = weights_.size();
  if (options_.top_p < 1 || options_.min_p > 0) {
    const auto ends_in_order = [&] {
      double mass = 0;
      keep = 0;  // the smallest set whose probability reaches top_p
      while (keep < sorted && mass < options_.top_p * sum) mass += weights_[keep++];
      if (options_.top_p >= 1) keep = sorted;
      const size_t reached = keep;
      while (keep > 1 && weights_[keep - 1] < options_.min_p) --keep;  // weights are relative to the best, which is 1
      return reached < sorted || keep < reached;
    };
    if (!ends_in_order() && sorted < candidates_.size()) {
      sort_first(candidates_.size());
      std::sort(weights_.begin(), weights_.end(), std::greater());
      (void)ends_in_order();
    }
  }
  keep = std::max<size_t>(keep, 1);
  sum = 0;
  for (size_t i = 0; i < keep; ++i) sum += weights_[i];

  // 53 random bits by hand: the standard's distributions differ between libraries.
  double at = static_cast<double>(random_() >> 11) * 0x1p-53 * sum;
  for (size_t i = 0; i + 1 < keep; ++i) {
    at -= weights_[i];
    if (at < 0) return candidates_[i].token;
  }
  return candidates_[keep - 1].token;
}

}  // namespace onsight::engine
