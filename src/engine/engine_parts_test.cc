#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>

#include "engine/features.h"
#include "engine/sampler.h"
#include "engine/text_stream.h"

namespace onsight::engine {
namespace {

TEST(Sampler, GreedyTakesTheFirstOfEqualBest) {
  const std::vector<float> logits = {0, 3, 3, -1};
  EXPECT_EQ(Sampler({}).next(logits, {}), 1);
  EXPECT_EQ(Sampler({.repetition_penalty = 2}).next(logits, std::vector<int32_t>{1}), 2);
}

TEST(Sampler, TakesNothingThatIsNotAllowed) {
  const std::vector<float> logits = {0, 3, 3, -1};
  const uint64_t allowed[] = {0b1001};
  EXPECT_EQ(Sampler({}).next(logits, {}, allowed), 0);
  Sampler sampler({.temperature = 5, .seed = 2});
  std::map<int32_t, int> n;
  for (int i = 0; i < 2000; ++i) n[sampler.next(logits, {}, allowed)]++;
  EXPECT_EQ(n.size(), 2u);
  EXPECT_GT(n[3], 500);
}

TEST(Sampler, DrawsWithTheRightFrequencies) {
  const std::vector<float> logits = {std::log(0.6f), std::log(0.3f), std::log(0.1f)};
  const auto counts = [&](Sampling options) {
    Sampler sampler(options);
    std::map<int32_t, int> n;
    for (int i = 0; i < 20000; ++i) n[sampler.next(logits, {})]++;
    return n;
  };
  auto all = counts({.temperature = 1, .seed = 5});
  EXPECT_NEAR(all[0] / 20000.0, 0.6, 0.02);
  EXPECT_NEAR(all[2] / 20000.0, 0.1, 0.01);
  EXPECT_EQ(counts({.temperature = 1, .top_k = 2})[2], 0);
  auto nucleus = counts({.temperature = 1, .top_p = 0.85f});
  EXPECT_EQ(nucleus[2], 0);
  EXPECT_NEAR(nucleus[1] / 20000.0, 1.0 / 3, 0.02);
  EXPECT_EQ(counts({.temperature = 1, .min_p = 0.4f})[2], 0);
  EXPECT_EQ(counts({.temperature = 1, .top_p = 1e-6f})[0], 20000);
  EXPECT_EQ(counts({.temperature = 1, .seed = 5}), all);  // the same seed, the same draws
  EXPECT_EQ(counts({.temperature = 1e-40f})[0], 20000);
  const std::vector<float> none(3, std::nanf(""));
  EXPECT_EQ(Sampler({.temperature = 1, .top_k = 2, .top_p = 0.5f}).next(none, {}), 0);
}

TEST(Sampler, GreedyOfAnyLength) {
  for (const size_t size : {size_t{1}, size_t{255}, size_t{256}, size_t{700}})
    for (const size_t at : {size_t{0}, size / 2, size - 1}) {
      std::vector<float> logits(size, -2.0f);
      logits[at] = logits[size - 1] = 1.0f;
      EXPECT_EQ(Sampler({}).next(logits, {}), static_cast<int32_t>(at)) << size;
    }
}

// How often each of 2000 tokens was drawn, every other one of which has a logit of 0.5 instead of 0.
std::map<int32_t, int> drawn_of_a_long_tail(const Sampling& options) {
  std::vector<float> logits(2000, 0.0f);
  for (size_t i = 0; i < 1000; ++i) logits[2 * i + 1] = 0.5f;
  Sampler sampler(options);
  std::map<int32_t, int> n;
  for (int i = 0; i < 40000; ++i) n[sampler.next(logits, {})]++;
  return n;
}

TEST(Sampler, ALongTailCounts) { EXPECT_EQ(drawn_of_a_long_tail({.temperature = 1}).size(), 2000u); }

TEST(Sampler, TheNucleusOfALongTail) {
  // The better half has exp(0.5) / (1 + exp(0.5)) = 0.622 of the probability.
  const auto nucleus = drawn_of_a_long_tail({.temperature = 1, .top_p = 0.31f});
  EXPECT_NEAR(static_cast<double>(nucleus.size()), 500, 5);
  for (const auto& [token, n] : nucleus) EXPECT_EQ(token % 2, 1);
}

TEST(Sampler, TheBetterHalfOfALongTail) {
  EXPECT_EQ(drawn_of_a_long_tail({.temperature = 1, .min_p = 0.7f}).size(), 1000u);
}

// The probabilities that are left of a distribution, in the steps of the reference and with sorting: token ->
// probability.
std::map<int32_t, double> left_by_sorting(const std::vector<float>& logits, const Sampling& options) {
  std::vector<std::pair<double, int32_t>> left;
  for (size_t i = 0; i < logits.size(); ++i)
    left.push_back({std::exp(static_cast<double>(logits[i] / options.temperature)), static_cast<int32_t>(i)});
  std::sort(left.begin(), left.end(), [](const auto& a, const auto& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  });
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < left.size()) {
    const double least = left[static_cast<size_t>(options.top_k) - 1].first;
    std::erase_if(left, [least](const auto& one) { return one.first < least; });
  }
  const auto sum = [&] {
    return std::accumulate(left.begin(), left.end(), 0.0, [](double s, const auto& one) { return s + one.first; });
  };
  double wanted = options.top_p * sum(), mass = 0;
  size_t keep = 0;
  while (keep < left.size() && mass < wanted) mass += left[keep++].first;
  if (options.top_p < 1) left.resize(std::max<size_t>(keep, 1));
  const double least = options.min_p * left.front().first;
  std::erase_if(left, [least](const auto& one) { return one.first < least; });
  std::map<int32_t, double> probabilities;
  for (const auto& [weight, token] : left) probabilities[token] = weight / sum();
  return probabilities;
}

TEST(Sampler, TruncatesAsSortingDoes) {
  std::mt19937 random(3);
  for (const double spread : {0.05, 1.0, 4.0, 20.0})
    for (const Sampling& options :
         {Sampling{.temperature = 0.7f}, Sampling{.temperature = 1, .top_k = 5},
          Sampling{.temperature = 1, .top_k = 300}, Sampling{.temperature = 1, .top_p = 0.35f},
          Sampling{.temperature = 1.3f, .top_p = 0.9f}, Sampling{.temperature = 1, .min_p = 0.2f},
          Sampling{.temperature = 0.8f, .top_k = 40, .top_p = 0.9f},
          Sampling{.temperature = 1, .top_k = 400, .top_p = 0.99f, .min_p = 0.01f}}) {
      std::vector<float> logits(600);
      for (float& logit : logits)
        logit = static_cast<float>(spread *
                                   (static_cast<double>(random()) * 0x1p-32 + static_cast<double>(random()) * 0x1p-32));
      for (size_t i = 0; i + 3 < logits.size(); i += 3) logits[i] = logits[i + 3];  // ties
      const auto want = left_by_sorting(logits, options);
      Sampler sampler(options);
      std::map<int32_t, int> drawn;
      constexpr int kDraws = 2000;
      for (int i = 0; i < kDraws; ++i) drawn[sampler.next(logits, {})]++;
      double distance = 0;
      for (const auto& [token, n] : drawn)
        ASSERT_TRUE(want.contains(token)) << token << " of " << want.size() << ", spread " << spread;
      for (const auto& [token, p] : want) distance += std::abs(p - drawn[token] / double{kDraws}) / 2;
      // Half the sum of |p - n / N| is on average below sqrt(classes / N) / 2.
      EXPECT_LT(distance, 0.5 * std::sqrt(static_cast<double>(want.size()) / kDraws) + 0.02)
          << spread << ' ' << want.size();
    }
}

TEST(TextStream, HoldsBackIncompleteCharacters) {
  TextStream stream({});
  EXPECT_EQ(stream.push(" caf\xc3"), "caf");
  EXPECT_EQ(stream.push("\xa9 \xf0\x9f"), "é ");
  EXPECT_EQ(stream.push("\x98\x80"), "😀");
  EXPECT_EQ(stream.push("\xff!"), "\xef\xbf\xbd!");
  EXPECT_EQ(stream.push("\xe2\x82"), "");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd");
  EXPECT_EQ(stream.text(), "café 😀\xef\xbf\xbd!\xef\xbf\xbd");
}

TEST(TextStream, EndsBeforeTheFirstStopString) {
  TextStream stream({"\n\n", "END"});
  EXPECT_EQ(stream.push("one\n"), "one");
  EXPECT_EQ(stream.push("two E"), "\ntwo ");
  EXPECT_EQ(stream.push("NOT"), "ENOT");
  EXPECT_EQ(stream.push(" EN"), " ");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.push("D more\n\n"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.text(), "one\ntwo ENOT ");
}

TEST(TextStream, KnowsWhichBytesItsTextIsMadeOf) {
  TextStream stream({"END"});
  const auto push = [&](std::string_view bytes) {
    stream.push(bytes);
    return stream.certain();
  };
  EXPECT_EQ(push(" "), 1u);
  EXPECT_EQ(stream.skipped(), 1u);
  EXPECT_EQ(push("caf\xc3"), 4u);
  EXPECT_EQ(push("\xa9"), 6u);
  EXPECT_EQ(push("\xff!"), 8u);  // U+FFFD is three bytes, of one
  EXPECT_EQ(push("E"), 8u);
  EXPECT_EQ(push("n"), 10u);
  EXPECT_EQ(push("\xe2\x82"), 10u);
  EXPECT_EQ(push("xEN"), 13u);
  EXPECT_EQ(push("DD"), 13u);
  EXPECT_TRUE(stream.stopped());
  TextStream cut({});
  cut.push("a\xe2\x82");
  cut.finish();
  EXPECT_EQ(cut.certain(), 3u);
  EXPECT_EQ(cut.skipped(), 0u);
}

TEST(FeatureCache, EqualPixelsAreOneEntry) {
  media::Image a{2, 1, {1, 2, 3, 4, 5, 6}}, b = a;
  b.rgb[5] = 7;
  FeatureCache cache(1000);
  const auto first = cache.find_or_add(a), second = cache.find_or_add(b);
  EXPECT_NE(first->id, second->id);
  EXPECT_EQ(cache.find_or_add(a), first);
  first->features = compute::Buffer(100);
  second->features = compute::Buffer(2000);
  cache.trim();
  EXPECT_EQ(cache.find_or_add(a), first);
  EXPECT_NE(cache.find_or_add(b)->id, second->id);  // too large to keep
}

TEST(FeatureCache, KeepsNamesOfTilesThatAreInUse) {
  const media::Image tile{2, 1, {1, 2, 3, 4, 5, 6}};
  FeatureCache cache(1000);
  auto entry = cache.find_or_add(tile);  // never read: an earlier run kept the state after it
  cache.trim();
  EXPECT_EQ(cache.find_or_add(tile), entry);
  const uint64_t id = entry->id;
  entry.reset();
  cache.trim();
  EXPECT_NE(cache.find_or_add(tile)->id, id);
}

TEST(Prefix, EndsAtTheFirstDifference) {
  const std::vector<PositionKey> a = {{1, 0}, {2, 0}, {0, 7}, {1, 7}}, b = {{1, 0}, {2, 0}, {0, 8}, {1, 8}};
  EXPECT_EQ(common_prefix(a, b), 2u);
  EXPECT_EQ(common_prefix(a, a), 4u);
  EXPECT_EQ(common_prefix(a, {}), 0u);
}

TEST(UserMessage, PlacesPictures) {
  const auto image = std::make_shared<const media::Image>();
  const auto kinds = [](const Message& m) {
    std::string out;
    for (const Part& p : m.content) out += p.kind == Part::Kind::kImage ? "#" : p.text;
    return out;
  };
  EXPECT_EQ(kinds(user_message({image, image}, "which?").value()), "##which?");
  EXPECT_EQ(kinds(user_message({image, image}, "a {image} b {image}").value()), "a # b #");
  EXPECT_EQ(kinds(user_message({}, "literal {image}").value()), "literal {image}");
  EXPECT_EQ(user_message({image, image}, "only {image}").error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace onsight::engine
