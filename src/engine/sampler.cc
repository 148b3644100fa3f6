#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <limits>
#include <numeric>

namespace onsight::engine {
namespace {

constexpr size_t kBlock = 256, kLanes = 16;  // sums of so many, in lanes that the compiler turns into vectors
constexpr int32_t kAnyToken = std::numeric_limits<int32_t>::max();

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

// exp(x) for x <= 0, within 2e-7 of its value; 0 below -86, where floats end. It has neither branch nor call, so that a
// loop of it becomes vectors, and the same bits on every machine: x = n ln 2 + r, and a polynomial for exp(r) (Cephes,
// expf.c).
inline float exp_of_negative(float x) {
  constexpr float kRound = 0x1.8p23f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const float shifted = x * 1.44269504f + kRound, n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  const uint32_t in_range = 0 - static_cast<uint32_t>(x >= -86.0f);
  return std::bit_cast<float>(in_range & (std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23)));
}

double sum_of_block(std::span<const float> x) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j];
  return std::accumulate(x.begin() + static_cast<std::ptrdiff_t>(i), x.end(),
                         std::accumulate(lanes, lanes + kLanes, 0.0));
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
  weigh(logits, allowed);
  if (options_.top_k > 0 || options_.top_p < 1 || options_.min_p > 0) truncate();
  return draw();
}

// The probability of each token, up to a factor: the most probable has 1, and what is not allowed 0.
void Sampler::weigh(std::span<const float> logits, std::span<const uint64_t> allowed) {
  float best = -std::numeric_limits<float>::infinity();
  if (allowed.empty()) {
    best = logits[largest(logits)];
  } else {
    for_each_allowed(allowed, logits.size(), [&](size_t i) { best = std::max(best, logits[i]); });
  }
  weights_.resize(logits.size());
  const float temperature = options_.temperature;
  for (size_t i = 0; i < logits.size(); ++i) weights_[i] = exp_of_negative((logits[i] - best) / temperature);
  if (allowed.empty()) return;
  for (size_t i = 0; i < weights_.size(); ++i)
    if (i / 64 >= allowed.size() || (allowed[i / 64] >> (i % 64) & 1) == 0) weights_[i] = 0;
}

// Leaves top-k, of these top-p, of these min-p. Tokens are looked at in no order but where the cut falls, which takes
// the time of a few passes however flat the distribution is.
void Sampler::truncate() {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.weight > b.weight || (a.weight == b.weight && a.token < b.token);
  };
  const auto at = [&](size_t i) { return candidates_.begin() + static_cast<std::ptrdiff_t>(i); };
  const float min_p = std::min(options_.min_p, 1.0f);
  Candidate last{min_p, kAnyToken};  // that stays
  if (options_.top_k > 0 || options_.top_p < 1) {
    const auto k = options_.top_k > 0 ? static_cast<size_t>(options_.top_k) : weights_.size();
    double all = 0;
    if (options_.top_k <= 0)
      for (size_t i = 0; i < weights_.size(); i += kBlock)
        all += sum_of_block(std::span(weights_).subspan(i, std::min(kBlock, weights_.size() - i)));
    // Most answers find their cut among a few tokens.
    for (const float least : {0x1p-6f, 0x1p-12f, 0x1p-24f, 0.0f}) {
      candidates_.clear();
      double mass = 0;
      for (size_t i = 0; i < weights_.size(); ++i)
        if (weights_[i] > 0 && weights_[i] >= least) {
          candidates_.push_back({weights_[i], static_cast<int32_t>(i)});
          mass += static_cast<double>(weights_[i]);
        }
      if (least <= min_p || (options_.top_k > 0 ? candidates_.size() >= k : mass >= options_.top_p * all)) break;
    }
    if (candidates_.empty()) return;  // logits that are no numbers
    if (candidates_.size() > k) {
      std::nth_element(candidates_.begin(), at(k - 1), candidates_.end(), better);
      const Candidate kth{candidates_[k - 1].weight, kAnyToken};  // ties with it stay, as in the reference
      if (better(kth, last)) last = kth;
      std::erase_if(candidates_, [&](const Candidate& c) { return better(kth, c); });
    }
    if (options_.top_p < 1) {
      if (options_.top_k > 0)
        for (const Candidate& c : candidates_) all += static_cast<double>(c.weight);
      // The smallest set whose probability reaches top_p: halves are set apart, and the one that the cut is in is
      // halved again.
      const auto mass_of = [&](size_t begin, size_t end) {
        return std::accumulate(at(begin), at(end), 0.0,
                               [](double sum, const Candidate& c) { return sum + static_cast<double>(c.weight); });
      };
      size_t begin = 0, end = candidates_.size();
      double before = 0;
      while (end - begin > 32) {
        const size_t middle = begin + (end - begin) / 2;
        std::nth_element(at(begin), at(middle), at(end), better);
        const double mass = mass_of(begin, middle);
        if (before + mass >= options_.top_p * all) {
          end = middle;
        } else {
          before += mass;
          begin = middle;
        }
      }
      std::sort(at(begin), at(end), better);
      size_t keep = begin;
      while (keep < end && before < options_.top_p * all) before += static_cast<double>(candidates_[keep++].weight);
      const Candidate& of_nucleus = candidates_[std::max<size_t>(keep, 1) - 1];
      if (better(of_nucleus, last)) last = of_nucleus;
    }
  }
  for (size_t i = 0; i < weights_.size(); ++i)
    if (better(last, {weights_[i], static_cast<int32_t>(i)})) weights_[i] = 0;
}

int32_t Sampler::draw() {
  const auto block = [&](size_t i) { return std::span(weights_).subspan(i, std::min(kBlock, weights_.size() - i)); };
  double sum = 0;
  for (size_t i = 0; i < weights_.size(); i += kBlock) sum += sum_of_block(block(i));
  // 53 random bits by hand: the standard's distributions differ between libraries.
  double at = static_cast<double>(random_() >> 11) * 0x1p-53 * sum;
  for (size_t i = 0; i < weights_.size(); i += kBlock) {
    const double of_block = sum_of_block(block(i));
    if (at >= of_block) {
      at -= of_block;
      continue;
    }
    for (size_t j = i; j < std::min(i + kBlock, weights_.size()); ++j) {
      at -= static_cast<double>(weights_[j]);
      if (at < 0) return static_cast<int32_t>(j);
    }
  }
  // Rounding led past the end.
  const auto last = std::find_if(weights_.rbegin(), weights_.rend(), [](float weight) { return weight > 0; });
  return std::max(static_cast<int32_t>(weights_.rend() - last) - 1, 0);
}

}  // namespace onsight::engine
