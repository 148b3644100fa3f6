// Products of bf16 in pairs: the tiles against the oracle's, and what is around them against floats.
#include "compute/kernels/pairs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compute/executor.h"
#include "compute/kernels/kernel_table.h"
#include "compute/random_floats.h"

namespace onsight::compute {
namespace {

std::vector<uint16_t> bf16_of(const std::vector<float>& x) {
  std::vector<uint16_t> out;
  for (const float v : x) out.push_back(to_bf16(v));
  return out;
}

double off_by(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(error / norm);
}

TEST(PairTile, EqualsTheOracle) {
  if (!pair_tiles()) GTEST_SKIP() << "this machine does not multiply bf16";
  for (int rows = 1; rows <= kPairRows; ++rows)
    for (const int64_t pairs : {1, 2, 31, 400})
      for (const bool add : {false, true}) {
        const int64_t stride = 2 * pairs + 6, panel_stride = 2 * kPairColumns + 64;
        const std::vector<uint16_t> x = bf16_of(random_floats(rows * stride, 1)),
                                    w = bf16_of(random_floats(pairs * panel_stride, 2));
        std::vector<float> y = random_floats(int64_t{rows} * 40, 3), expected = y;
        PairTile tile = {x.data(), stride, rows, pairs, w.data(), panel_stride, y.data(), 40, add};
        pair_tiles()->tile(tile);
        tile.y = expected.data();
        kScalarPairs.tile(tile);
        ASSERT_LE(off_by(y, expected), 1e-6) << rows << " rows, " << pairs << " pairs";
        for (int r = 0; r < rows; ++r)
          for (int j = kPairColumns; j < 40; ++j) ASSERT_EQ(y[r * 40 + j], expected[r * 40 + j]);
      }
}

class Pairs : public testing::TestWithParam<const KernelTable*> {
 protected:
  void SetUp() override {
    if (!GetParam()->interleave) GTEST_SKIP() << "the oracle has none";
  }
};

TEST_P(Pairs, RoundToTheNearest) {
  std::vector<float> x = random_floats(4096 + 5, 4, 100.0f);
  for (const uint32_t bits : {0x3f808000u, 0x3f818000u, 0x3f807fffu, 0x3f808001u, 0xbf818000u, 0u})  // ties, and near
    x.push_back(std::bit_cast<float>(bits));
  std::vector<uint16_t> out(x.size());
  GetParam()->round_bf16(x.data(), static_cast<int64_t>(x.size()), out.data());
  EXPECT_EQ(out, bf16_of(x));
}

TEST_P(Pairs, Interleave) {
  const std::vector<float> a = random_floats(64, 5), b = random_floats(64, 6);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<std::byte> pa(static_cast<size_t>(bytes_of(dtype, 64))), pb(pa.size());
    from_f32(dtype, a.data(), pa.data(), 64);
    from_f32(dtype, b.data(), pb.data(), 64);
    std::vector<float> wa(64), wb(64);
    to_f32(dtype, pa.data(), wa.data(), 64);
    to_f32(dtype, pb.data(), wb.data(), 64);
    std::vector<uint16_t> both(128), alone(128);
    GetParam()->interleave(dtype, pa.data(), pb.data(), 64, both.data());
    GetParam()->interleave(dtype, pa.data(), nullptr, 64, alone.data());
    for (int i = 0; i < 64; ++i) {
      ASSERT_EQ(both[2 * i], to_bf16(wa[i]));
      ASSERT_EQ(both[2 * i + 1], to_bf16(wb[i]));
      ASSERT_EQ(alone[2 * i], to_bf16(wa[i]));
      ASSERT_EQ(alone[2 * i + 1], 0);
    }
  }
}

// A network in codes may round; how far that takes it from floats is what these bound: 1/256 a number, less on average.
TEST_P(Pairs, AttentionIsNearThatOfFloats) {
  KernelTable table = *GetParam();
  if (!table.pairs) table.pairs = &kScalarPairs;
  ThreadPool pool(2);
  Executor executor(pool, table);
  for (const DType kv : {DType::kF16, DType::kF32, DType::kI8})
    for (const int head_dim : {16, 24, 64, 80}) {
      const int heads = 6, kv_heads = 2;
      KvCache in_floats({1, kv_heads, head_dim, kv}), in_pairs = in_floats;
      for (const std::pair<int, int>& part : {std::pair{0, 77}, {77, 1}, {78, 130}}) {  // behind what is there, too
        const int first = part.first, rows = part.second;
        const auto n = int64_t{rows};
        const std::vector<float> q = random_floats(n * heads * head_dim, 7, 2.0f),
                                 k = random_floats(n * kv_heads * head_dim, 8, 2.0f),
                                 v = random_floats(n * kv_heads * head_dim, 9);
        std::vector<int32_t> positions, sequences(static_cast<size_t>(n), 0);
        for (int i = 0; i < rows; ++i) positions.push_back(first + i);
        const auto run = [&](KvCache& cache, bool in_codes) {
          Graph g;
          g.output("y", g.cached_attention(g.input("q", DType::kF32, {n, heads * head_dim}),
                                           g.input("k", DType::kF32, {n, kv_heads * head_dim}),
                                           g.input("v", DType::kF32, {n, kv_heads * head_dim}), heads, kv_heads, 0, {},
                                           in_codes));
          KvCache* caches[] = {&cache};
          Bindings b;
          b.inputs = {{"q", view(DType::kF32, {n, heads * head_dim}, q.data())},
                      {"k", view(DType::kF32, {n, kv_heads * head_dim}, k.data())},
                      {"v", view(DType::kF32, {n, kv_heads * head_dim}, v.data())}};
          b.positions = positions;
          b.sequences = sequences;
          b.caches = caches;
          cache.reserve(first + rows);
          EXPECT_TRUE(executor.run(g, b));
          const auto y = executor.output("y").f32();
          return std::vector<float>(y.begin(), y.end());
        };
        const double error = off_by(run(in_pairs, true), run(in_floats, false));
        EXPECT_LE(error, 0.01) << head_dim << " " << first;
        // One row is computed in floats, whatever the network.
        EXPECT_EQ(error > 0, rows > 1);
      }
    }
}

TEST_P(Pairs, LinearsAreNearThoseOfFloats) {
  KernelTable table = *GetParam();
  if (!table.pairs) table.pairs = &kScalarPairs;
  ThreadPool pool(2);
  Executor executor(pool, table);
  for (const int64_t inputs : {1, 50, 769, 2000})
    for (const int64_t rows : {9, 30, 300}) {
      const int64_t outputs = 77;
      const std::vector<uint16_t> w = bf16_of(random_floats(outputs * inputs, 10));
      const std::vector<float> bias = random_floats(outputs, 11), x = random_floats(rows * inputs, 12),
                               residual = random_floats(rows * outputs, 13);
      Linear layer;
      layer.weight =
          PackedMatrix::pack({DType::kBF16, {outputs, inputs}, reinterpret_cast<const std::byte*>(w.data())});
      layer.bias = Buffer(static_cast<size_t>(outputs) * sizeof(float));
      std::copy(bias.begin(), bias.end(), layer.bias.f32());
      std::vector<std::vector<float>> results;
      for (const bool rounded : {true, false}) {
        layer.rounded = rounded;
        Graph g;
        g.output("y", g.linear(g.input("x", DType::kF32, {rows, inputs}), layer, Activation::kGeluTanh,
                               g.input("r", DType::kF32, {rows, outputs})));
        Bindings b;
        b.inputs = {{"x", view(DType::kF32, {rows, inputs}, x.data())},
                    {"r", view(DType::kF32, {rows, outputs}, residual.data())}};
        ASSERT_TRUE(executor.run(g, b));
        const auto y = executor.output("y").f32();
        results.emplace_back(y.begin(), y.end());
      }
      EXPECT_LE(off_by(results[0], results[1]), 0.003) << inputs << " inputs, " << rows << " rows";
      EXPECT_NE(results[0], results[1]);
    }
}

INSTANTIATE_TEST_SUITE_P(Isa, Pairs, testing::ValuesIn(available_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });

}  // namespace
}  // namespace onsight::compute
