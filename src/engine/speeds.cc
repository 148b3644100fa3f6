#include "engine/speeds.h"

#include <algorithm>
#include <chrono>

#include "engine/stopwatch.h"

namespace onsight::engine {
namespace {

constexpr int64_t kChunk = 256, kFar = 768;  // rows of a part of a prompt, and where the second of them begins
constexpr int kTokens = 4;                   // the first warms up
constexpr size_t kAnswers = 4;               // that are written together
constexpr int kTiles = 3;  // the first brings the weights into memory, and of the others one may be held up

double pairs(int64_t begin, int64_t end) {
  const auto square = [](int64_t n) { return static_cast<double>(n) * static_cast<double>(n) / 2; };
  return square(end) - square(begin);
}

}  // namespace

bool Speeds::measured() const {
  const std::scoped_lock lock(mutex_);
  return measured_;
}

Status Speeds::measure(Network& network) {
  const models::ModelFacts& facts = network.facts();
  double tile_ms = 0;
  if (facts.tile_size > 0) {
    media::Image tile;
    tile.width = tile.height = facts.tile_size;
    tile.rgb.assign(size_t{3} * static_cast<size_t>(facts.tile_size) * static_cast<size_t>(facts.tile_size), 127);
    compute::Buffer features;
    for (int i = 0; i < kTiles; ++i) {
      const Stopwatch watch;
      TRY_STATUS(network.see(tile, features));
      tile_ms = i < 2 ? watch.ms() : std::min(tile_ms, watch.ms());
    }
  }
  const int64_t chunk = std::min<int64_t>(kChunk, facts.context_length / 2),
                far = std::min<int64_t>(kFar, facts.context_length - chunk);
  compute::KvCache cache(facts.kv);
  const std::vector<int32_t> ids(static_cast<size_t>(chunk), 0);
  const auto prompt_ms = [&](int64_t first) -> Result<double> {
    cache.truncate(first);
    cache.reserve(first);
    const Stopwatch watch;
    TRY_STATUS(network.read({.ids = ids, .first = first, .cache = &cache}, {}, Network::Logits::kLast));
    return watch.ms();
  };
  const auto token_ms = [&](int64_t first, size_t answers) -> Result<double> {
    double best = 0;
    cache.truncate(first);
    std::vector<compute::KvCache> caches(answers, cache);
    for (int i = 0; i < kTokens; ++i) {
      std::vector<Run> runs;
      for (compute::KvCache& each : caches) {
        each.truncate(first);
        runs.push_back({.ids = std::span(ids).first(1), .first = first, .cache = &each});
      }
      const Stopwatch watch;
      TRY_STATUS(network.write(runs));
      best = i == 0 ? watch.ms() : std::min(best, watch.ms());
    }
    return best;
  };
  TRY(double warm, prompt_ms(0));
  TRY(double near_ms, prompt_ms(0));
  near_ms = std::min(warm, near_ms);
  TRY(const double near_token, token_ms(1, 1));
  const size_t together = std::min(kAnswers, network.rows_together());
  TRY(const double near_tokens, token_ms(1, together));
  TRY(const double far_ms, prompt_ms(far));
  TRY(const double far_token, token_ms(far, 1));

  const std::scoped_lock lock(mutex_);
  measured_ = true;
  tile_ms_ = tile_ms;
  pair_ms_ = std::max(0.0, (far_ms - near_ms) / (pairs(far, far + chunk) - pairs(0, chunk)));
  row_ms_ = std::max(0.0, near_ms - pair_ms_ * pairs(0, chunk)) / static_cast<double>(chunk);
  context_ms_ = std::max(0.0, (far_token - near_token) / static_cast<double>(far - 1));
  token_ms_ = near_token;
  rows_together_ = static_cast<int>(network.rows_together());
  answer_ms_ = together < 2 ? 0 : std::max(0.0, near_tokens - near_token) / static_cast<double>(together - 1);
  factors_ = {1, 1, 1};
  return {};
}

double Speeds::tile_ms() const {
  const std::scoped_lock lock(mutex_);
  return factor(Kind::kTile) * tile_ms_;
}

double Speeds::prompt_ms(int64_t begin, int64_t end) const {
  const std::scoped_lock lock(mutex_);
  return factor(Kind::kPrompt) * (row_ms_ * static_cast<double>(end - begin) + pair_ms_ * pairs(begin, end));
}

double Speeds::token_ms(int64_t context, int answers) const {
  const std::scoped_lock lock(mutex_);
  const int passes = (answers + rows_together_ - 1) / rows_together_;
  return factor(Kind::kToken) *
         (passes * token_ms_ + (answers - passes) * answer_ms_ + answers * context_ms_ * static_cast<double>(context));
}

void Speeds::took(Kind kind, double predicted_ms, double ms) {
  if (predicted_ms <= 0 || ms <= 0) return;
  const std::scoped_lock lock(mutex_);
  double& factor = factors_[static_cast<size_t>(kind)];
  constexpr double kShare = 0.1;  // of the latest; one that was held up hardly counts
  factor *= 1 + kShare * (std::clamp(ms / predicted_ms, 0.5, 2.0) - 1);
}

}  // namespace onsight::engine
