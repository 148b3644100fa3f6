#include "compute/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "compute/random_floats.h"

namespace onsight::compute {
namespace {

Tensor view(const std::vector<float>& v, Shape shape) {
  return {DType::kF32, shape, reinterpret_cast<const std::byte*>(v.data())};
}
Tensor view(const std::vector<int32_t>& v) {
  return {DType::kI32, {static_cast<int64_t>(v.size())}, reinterpret_cast<const std::byte*>(v.data())};
}

Linear make_linear(int64_t outputs, int64_t inputs, uint32_t seed) {
  std::vector<float> w = random_floats(outputs * inputs, seed, 0.3f), b = random_floats(outputs, seed + 1);
  Linear layer;
  layer.weight = PackedMatrix::pack(view(w, {outputs, inputs}));
  layer.bias = Buffer(b.size() * sizeof(float));
  std::copy(b.begin(), b.end(), layer.bias.f32());
  return layer;
}

class ExecutorTest : public testing::TestWithParam<int> {
 protected:
  ThreadPool pool_{GetParam()};
  Executor executor_{pool_, *available_kernels().back()};
};

TEST(Plan, ValuesThatLiveTogetherDoNotOverlap) {
  Linear a = make_linear(48, 40, 1), b = make_linear(40, 48, 2);
  Graph g;
  Value x = g.input("x", DType::kF32, {7, 40});
  std::vector<Value> kept;
  for (int i = 0; i < 6; ++i) {
    Value h = g.linear(x, a, Activation::kGeluTanh);
    x = g.linear(h, b, Activation::kNone, x);
    if (i % 2) kept.push_back(x);
  }
  for (size_t i = 0; i < kept.size(); ++i) g.output(std::to_string(i), kept[i]);
  const MemoryPlan plan = plan_memory(g);

  std::vector<size_t> first(g.values()), last(g.values());
  for (size_t i = 0; i < g.ops().size(); ++i) {
    first[g.ops()[i].output.id] = last[g.ops()[i].output.id] = i;
    for (Value v : g.ops()[i].in)
      if (v) last[v.id] = i;
  }
  for (Value v : kept) last[v.id] = g.ops().size();
  int64_t sum = 0;
  for (size_t u = 0; u < g.values(); ++u) {
    if (plan.offsets[u] < 0) continue;
    const int64_t u_end = plan.offsets[u] + g.shape(Value{static_cast<int32_t>(u)}).elements() * 4;
    sum += u_end - plan.offsets[u];
    EXPECT_LE(u_end, plan.bytes);
    for (size_t v = u + 1; v < g.values(); ++v) {
      if (plan.offsets[v] < 0 || first[v] > last[u] || first[u] > last[v]) continue;
      const int64_t v_end = plan.offsets[v] + g.shape(Value{static_cast<int32_t>(v)}).elements() * 4;
      EXPECT_TRUE(u_end <= plan.offsets[v] || v_end <= plan.offsets[u]) << u << " and " << v;
    }
  }
  EXPECT_LT(plan.bytes, sum);  // and memory is reused at all
}

TEST_P(ExecutorTest, ElementByElementInPlace) {
  const Linear gate = make_linear(48, 40, 1), up = make_linear(48, 40, 2);
  const std::vector<float> x = random_floats(int64_t{7} * 40, 3);
  const auto made = [&](bool gate_is_kept, bool is_in_place) {
    Graph g;
    const Value in = g.input("x", DType::kF32, {7, 40});
    const Value a = g.linear(in, gate), b = g.linear(in, up);
    const Value product = g.swiglu(a, b), sum = g.add(product, b);
    if (gate_is_kept) g.output("gate", a);
    g.output("sum", sum);
    const MemoryPlan plan = plan_memory(g);
    const auto offset = [&](Value v) { return plan.offsets[static_cast<size_t>(v.id)]; };
    EXPECT_EQ(offset(product) == offset(a), is_in_place);
    EXPECT_EQ(offset(sum), offset(product));
    EXPECT_EQ(plan.bytes, (gate_is_kept ? 3 : 2) * 7 * 48 * 4);
    Bindings bindings;
    bindings.inputs = {{"x", view(x, {7, 40})}};
    EXPECT_TRUE(executor_.run(g, plan, bindings));
    const std::span<const float> out = executor_.output("sum").f32();
    return std::vector<float>(out.begin(), out.end());
  };
  EXPECT_EQ(made(false, true), made(true, false));
}

TEST_P(ExecutorTest, LinearEqualsPlainLoops) {
  for (int64_t rows : {1, 3, 40, 300}) {
    Linear layer = make_linear(77, 50, 3);
    std::vector<float> x = random_floats(rows * 50, 5), residual = random_floats(rows * 77, 6);
    Graph g;
    Value in = g.input("x", DType::kF32, {rows, 50});
    g.output("y", g.linear(in, layer, Activation::kNone, g.input("r", DType::kF32, {rows, 77})));
    Bindings bindings;
    bindings.inputs = {{"x", view(x, {rows, 50})}, {"r", view(residual, {rows, 77})}};
    ASSERT_TRUE(executor_.run(g, bindings));
    const auto y = executor_.output("y").f32();
    std::vector<float> w(50);
    for (int64_t j = 0; j < 77; ++j) {
      layer.weight.row(j, w.data());
      for (int64_t i = 0; i < rows; ++i) {
        double sum = layer.bias.f32()[j] + residual[i * 77 + j];
        for (int64_t k = 0; k < 50; ++k) sum += static_cast<double>(x[i * 50 + k]) * w[k];
        ASSERT_NEAR(y[i * 77 + j], sum, 1e-4);
      }
    }
  }
}

TEST_P(ExecutorTest, UnfoldAndShuffleMoveNumbersOnly) {
  // Two tiles of 3 channels, 5 × 5 pixels: patches of 2 leave the last row and column out.
  std::vector<float> pixels(2 * 3 * 5 * 5);
  std::iota(pixels.begin(), pixels.end(), 0.0f);
  Graph g;
  Value u = g.unfold_patches(g.input("p", DType::kF32, {2, 3, 5, 5}), 2);
  ASSERT_EQ(g.shape(u), Shape({8, 12}));
  g.output("u", u);
  g.output("s", g.pixel_shuffle(u, 2, 2));
  Bindings bindings;
  bindings.inputs = {{"p", view(pixels, {2, 3, 5, 5})}};
  ASSERT_TRUE(executor_.run(g, bindings));
  const auto out = executor_.output("u").f32();
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[2], 5);               // second row of the patch
  EXPECT_EQ(out[4], 25);              // second channel
  EXPECT_EQ(out[12], 2);              // second patch
  EXPECT_EQ(out[3 * 12], 2 * 5 + 2);  // last patch of the first tile
  EXPECT_EQ(out[4 * 12], 75);         // second tile
  const auto shuffled = executor_.output("s").f32();
  for (int64_t i = 0; i < 48; ++i) EXPECT_EQ(shuffled[i], out[i]);  // a 2 × 2 grid becomes one row, in order
}

TEST_P(ExecutorTest, DecodingStepByStepEqualsOnePass) {
  for (DType kv : {DType::kF32, DType::kF16, DType::kI8}) {
    // In codes a step rounds its queries and probabilities too, which many rows at once do not.
    const double near = kv == DType::kI8 ? 0.03 : 1e-5;
    const int heads = 6, kv_heads = 2, head_dim = 10, n = 150;
    const std::vector<float> frequencies = {1.0f, 0.5f, 0.25f, 0.1f, 0.01f};
    std::vector<float> q = random_floats(n * heads * head_dim, 1), k = random_floats(n * kv_heads * head_dim, 2),
                       v = random_floats(n * kv_heads * head_dim, 3);
    const auto run = [&](KvCache& cache, int first, int count, const std::vector<int32_t>& wanted = {}) {
      Graph g;
      Value positions = g.input("positions", DType::kI32, {count}), asked = positions, rows;
      Value qi = g.input("q", DType::kF32, {count, heads * head_dim});
      Value ki = g.rope(g.input("k", DType::kF32, {count, kv_heads * head_dim}), positions, frequencies);
      if (!wanted.empty()) {
        rows = g.input("wanted", DType::kI32, {std::ssize(wanted)});
        qi = g.gather_rows(qi, rows);
        asked = g.gather_rows(positions, rows);
      }
      g.output("y",
               g.cached_attention(g.rope(qi, asked, frequencies), ki,
                                  g.input("v", DType::kF32, {count, kv_heads * head_dim}), heads, kv_heads, 0, rows));
      std::vector<int32_t> at(count), sequence(count, 0);
      std::iota(at.begin(), at.end(), first);
      KvCache* caches[] = {&cache};
      Bindings b;
      const auto part = [&](const std::vector<float>& all, int width) {
        return Tensor{DType::kF32, {count, width}, reinterpret_cast<const std::byte*>(all.data() + first * width)};
      };
      b.inputs = {{"positions", view(at)},
                  {"q", part(q, heads * head_dim)},
                  {"k", part(k, kv_heads * head_dim)},
                  {"v", part(v, kv_heads * head_dim)}};
      if (!wanted.empty()) b.inputs["wanted"] = view(wanted);
      b.positions = at;
      b.sequences = sequence;
      b.caches = caches;
      cache.reserve(first + count);
      EXPECT_TRUE(executor_.run(g, b));
      const auto y = executor_.output("y").f32();
      return std::vector<float>(y.begin(), y.end());
    };
    KvCache whole({1, kv_heads, head_dim, kv}), steps({1, kv_heads, head_dim, kv});
    const std::vector<float> expected = run(whole, 0, n);
    std::vector<float> got = run(steps, 0, 61);
    KvCache fork = steps;
    for (int i = 61; i < n; ++i) {
      std::vector<float> row = run(steps, i, 1);
      got.insert(got.end(), row.begin(), row.end());
    }
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], near) << i;

    // Some rows of which the last turn out to be wrong: the others have the bits that one by one gives.
    KvCache drafted = fork;
    for (int i = 61; i + kExactRows <= n; i += kExactRows / 2) {
      std::vector<float> rows = run(drafted, i, kExactRows);
      for (int j = 0; j < kExactRows / 2 * heads * head_dim; ++j)
        ASSERT_EQ(rows[j], got[i * heads * head_dim + j]) << i;
      drafted.truncate(i + kExactRows / 2);
    }

    // Rows that are not wanted are there to be seen: one alone, and more than are decoded at once.
    for (const int step : {n, 7}) {
      std::vector<int32_t> wanted;
      for (int i = n - 1; i >= 0; i -= step) wanted.insert(wanted.begin(), i);
      KvCache asked({1, kv_heads, head_dim, kv});
      const std::vector<float> rows = run(asked, 0, n, wanted);
      ASSERT_EQ(rows.size(), wanted.size() * heads * head_dim);
      for (size_t i = 0; i < rows.size(); ++i)
        ASSERT_NEAR(rows[i], expected[wanted[i / (heads * head_dim)] * heads * head_dim + i % (heads * head_dim)],
                    near);
      for (size_t i = 0; const float y : run(asked, n - 1, 1))
        ASSERT_NEAR(y, expected[(n - 1) * heads * head_dim + i++], near);
    }

    // A fork does not see what the other wrote, nor the other way round.
    std::vector<float> again = run(fork, 61, n - 61);
    for (size_t i = 0; i < again.size(); ++i) ASSERT_NEAR(again[i], expected[61 * heads * head_dim + i], near);
    // Truncated and run again: the same.
    whole.truncate(64);
    again = run(whole, 64, 10);
    for (size_t i = 0; i < again.size(); ++i) ASSERT_NEAR(again[i], expected[64 * heads * head_dim + i], near);
  }
}

TEST_P(ExecutorTest, SequencesOfOneBatchDoNotMix) {
  const int heads = 2, head_dim = 16, width = heads * head_dim;
  std::vector<float> q = random_floats(4 * width, 1), k = random_floats(4 * width, 2), v = random_floats(4 * width, 3);
  KvCache a({1, heads, head_dim}), b({1, heads, head_dim});
  a.reserve(2);
  b.reserve(2);
  std::vector<int32_t> positions = {0, 0, 1, 1}, sequences = {0, 1, 0, 1};
  KvCache* caches[] = {&a, &b};
  Graph g;
  g.output("y", g.cached_attention(g.input("q", DType::kF32, {4, width}), g.input("k", DType::kF32, {4, width}),
                                   g.input("v", DType::kF32, {4, width}), heads, heads, 0));
  Bindings bindings;
  bindings.inputs = {{"q", view(q, {4, width})}, {"k", view(k, {4, width})}, {"v", view(v, {4, width})}};
  bindings.positions = positions;
  bindings.sequences = sequences;
  bindings.caches = caches;
  ASSERT_TRUE(executor_.run(g, bindings));
  const auto y = executor_.output("y").f32();
  for (int i = 0; i < 2 * width; ++i) EXPECT_NEAR(y[i], v[i], 1e-6);  // a first row sees itself alone
  // Row 2 mixes rows 0 and 2 only: between their values.
  for (int i = 0; i < width; ++i) {
    EXPECT_GE(y[2 * width + i], std::min(v[i], v[2 * width + i]) - 1e-5);
    EXPECT_LE(y[2 * width + i], std::max(v[i], v[2 * width + i]) + 1e-5);
  }
}

TEST_P(ExecutorTest, ForksThatSharePagesGetTheBitsThatEachGetsAlone) {
  for (DType kv : {DType::kF32, DType::kF16, DType::kI8}) {
    const int heads = 6, kv_heads = 2, head_dim = 10, shared = 2 * kKvPage + 20, forks = 70, tokens = 2;
    const auto run = [&](std::span<KvCache* const> caches, int first, int count, uint32_t seed) {
      const auto sequences = static_cast<int>(caches.size()), rows = sequences * count;
      std::vector<int32_t> positions, of;
      for (int i = 0; i < rows; ++i) {
        positions.push_back(first + i % count);
        of.push_back(i / count);
      }
      std::vector<float> q, k, v;
      for (int s = 0; s < sequences; ++s)  // each its own, whoever is beside it
        for (const auto& [x, width] : {std::pair{&q, heads}, {&k, kv_heads}, {&v, kv_heads}}) {
          const auto own = random_floats(int64_t{count} * width * head_dim, seed + static_cast<uint32_t>(3 * s));
          x->insert(x->end(), own.begin(), own.end());
        }
      Graph g;
      const Value in = g.input("q", DType::kF32, {rows, heads * head_dim});
      const Value key = g.input("k", DType::kF32, {rows, kv_heads * head_dim});
      const Value value = g.input("v", DType::kF32, {rows, kv_heads * head_dim});
      g.output("y", g.cached_attention(in, key, value, heads, kv_heads, 0));
      Bindings b;
      b.inputs = {{"q", view(q, {rows, heads * head_dim})},
                  {"k", view(k, {rows, kv_heads * head_dim})},
                  {"v", view(v, {rows, kv_heads * head_dim})}};
      b.positions = positions;
      b.sequences = of;
      b.caches = caches;
      for (KvCache* cache : caches) cache->reserve(first + count);
      EXPECT_TRUE(executor_.run(g, b));
      const auto y = executor_.output("y").f32();
      return std::vector<float>(y.begin(), y.end());
    };
    KvCache beginning({1, kv_heads, head_dim, kv});
    KvCache* const only[] = {&beginning};
    run(only, 0, shared, 1);
    std::vector<KvCache> together(forks, beginning), alone = together;
    std::vector<KvCache*> all;
    for (KvCache& cache : together) all.push_back(&cache);
    const int width = tokens * heads * head_dim;
    for (int step = 0; step < 3; ++step) {
      const int first = shared + step * tokens;
      const std::vector<float> got = run(all, first, tokens, 100);
      for (size_t f = 0; f < forks; ++f) {
        KvCache* const one[] = {&alone[f]};
        const std::vector<float> expected = run(one, first, tokens, 100 + static_cast<uint32_t>(3 * f));
        for (size_t i = 0; i < static_cast<size_t>(width); ++i)
          ASSERT_EQ(got[f * static_cast<size_t>(width) + i], expected[i]) << f << " " << i;
      }
    }
  }
}

TEST_P(ExecutorTest, ObserverCanEndARun) {
  Graph g;
  Value x = g.input("x", DType::kF32, {1, 4});
  Value y = g.add(x, x);
  g.observe("y", y);
  std::vector<float> in = {1, 2, 3, 4};
  Bindings bindings;
  bindings.inputs = {{"x", view(in, {1, 4})}};
  float seen = 0;
  EXPECT_TRUE(executor_.run(g, bindings, [&](std::string_view, const Tensor& t) -> Status {
    seen = t.f32()[3];
    return {};
  }));
  EXPECT_EQ(seen, 8);
  EXPECT_FALSE(executor_.run(g, bindings, [](std::string_view, const Tensor&) -> Status { return bad_input("full"); }));
}

TEST_P(ExecutorTest, APauseMayRunAnotherGraphOrEndTheRun) {
  const std::vector<float> x = random_floats(4 * 24, 1);
  const Linear first = make_linear(24, 24, 2), second = make_linear(24, 24, 4);
  Graph graph;
  const Value between = graph.linear(graph.input("x", DType::kF32, {4, 24}), first, Activation::kGelu);
  graph.output("y", graph.linear(between, second));
  Bindings bindings;
  bindings.inputs["x"] = view(x, {4, 24});
  ASSERT_TRUE(executor_.run(graph, bindings));
  const std::span<const float> y = executor_.output("y").f32();
  const std::vector<float> want(y.begin(), y.end());

  Executor other(pool_, executor_.kernels());
  int pauses = 0;
  ASSERT_TRUE(executor_.run(graph, bindings, nullptr, [&] {
    ++pauses;
    return other.run(graph, bindings).has_value();
  }));
  EXPECT_GE(pauses, 2);
  EXPECT_TRUE(std::equal(want.begin(), want.end(), executor_.output("y").f32().begin()));

  const Status ended = executor_.run(graph, bindings, nullptr, [] { return false; });
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::kInterrupted);
}

INSTANTIATE_TEST_SUITE_P(Threads, ExecutorTest, testing::Values(1, 2, 3));

}  // namespace
}  // namespace onsight::compute
