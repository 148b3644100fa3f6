// Layers in codes, through the executor: near the float layer, the same on every instruction set's codes, and exact
// about what groups of rows share.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "compute/executor.h"

namespace onsight::compute {
namespace {

struct Case {
  std::vector<float> x, w, bias, residual;
  int64_t rows, inputs, outputs;
  bool fine = false;

  Case(int64_t n, int64_t from, int64_t to, float shared = 0) : rows(n), inputs(from), outputs(to) {
    std::mt19937 engine(static_cast<uint32_t>(rows * 7 + inputs));
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& v, int64_t count) {
      v.resize(static_cast<size_t>(count));
      for (float& f : v) f = normal(engine);
    };
    fill(x, rows * inputs);
    fill(w, outputs * inputs);
    fill(bias, outputs);
    fill(residual, rows * outputs);
    std::vector<float> all;
    fill(all, inputs);
    for (size_t i = 0; i < x.size(); ++i) x[i] += shared * all[i % static_cast<size_t>(inputs)];
  }

  // The last of its rows alone.
  Case last() const {
    Case one = *this;
    one.rows = 1;
    one.x.erase(one.x.begin(), one.x.end() - static_cast<std::ptrdiff_t>(inputs));
    one.residual.erase(one.residual.begin(), one.residual.end() - static_cast<std::ptrdiff_t>(outputs));
    return one;
  }

  // For the error of the inputs alone.
  Case with_rounded_weights() const {
    Case rounded = *this;
    const PackedMatrix packed = PackedMatrix::pack(
        {DType::kF32, {outputs, inputs}, reinterpret_cast<const std::byte*>(w.data())}, WeightFormat::kQ8);
    for (int64_t j = 0; j < outputs; ++j) packed.row(j, &rounded.w[static_cast<size_t>(j * inputs)]);
    return rounded;
  }

  std::vector<float> run(WeightFormat format, const KernelTable& kernels, int64_t group = 0, int threads = 2) const {
    Linear layer, twin;
    const auto tensor = [](const std::vector<float>& v, Shape s) {
      return Tensor{DType::kF32, s, reinterpret_cast<const std::byte*>(v.data())};
    };
    layer.weight = PackedMatrix::pack(tensor(w, {outputs, inputs}), format);
    twin.weight = PackedMatrix::pack(tensor(w, {outputs, inputs}), WeightFormat::kQ8);
    layer.fine = twin.fine = fine;
    layer.bias = Buffer(static_cast<size_t>(outputs) * sizeof(float));
    std::copy(bias.begin(), bias.end(), layer.bias.f32());
    Graph g;
    Value in = g.input("x", DType::kF32, {rows, inputs}), add = g.input("r", DType::kF32, {rows, outputs});
    // Two layers of one input run as one, in different formats too.
    Value a = g.linear(in, layer, Activation::kNone, {}, group), b = g.linear(in, twin, Activation::kNone, {}, group);
    g.output("a", g.add(a, add));
    g.output("b", b);
    g.output("c", g.linear(in, layer, Activation::kNone, add, group));
    ThreadPool pool(threads);
    Executor executor(pool, kernels);
    Bindings bindings;
    bindings.inputs["x"] = tensor(x, {rows, inputs});
    bindings.inputs["r"] = tensor(residual, {rows, outputs});
    EXPECT_TRUE(executor.run(g, bindings));
    const auto out = executor.output("a").f32(), same = executor.output("c").f32();
    for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], same[i], 1e-4f);
    return {out.begin(), out.end()};
  }
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(a[i] - b[i], 2);
    norm += std::pow(b[i], 2);
  }
  return std::sqrt(error / norm);
}

TEST(CodeLayers, AreNearTheFloatLayer) {
  for (const KernelTable* table : available_kernels()) {
    for (auto [rows, inputs, outputs] :
         {std::tuple{1, 64, 40}, {3, 100, 33}, {8, 96, 64}, {9, 130, 70}, {50, 576, 65}}) {
      const Case c(rows, inputs, outputs);
      const std::vector<float> exact = c.run(WeightFormat::kF32, kScalarKernels);
      EXPECT_LE(distance(c.run(WeightFormat::kQ8, *table), exact), 0.012) << table->name << " " << rows;
      EXPECT_LE(distance(c.run(WeightFormat::kQ4, *table), exact), 0.11) << table->name << " " << rows;
    }
  }
}

TEST(CodeLayers, TenBitsLeaveAQuarterOfTheRoundingOfTheWeights) {
  for (const KernelTable* table : available_kernels())
    for (int64_t rows : {1, 8, 50}) {
      Case c(rows, 130, 70);
      c.fine = true;
      const std::vector<float> exact = c.run(WeightFormat::kF32, kScalarKernels);
      EXPECT_LE(distance(c.run(WeightFormat::kQ10, *table), exact),
                0.3 * distance(c.run(WeightFormat::kQ8, *table), exact))
          << table->name << " " << rows;
    }
}

// The rows themselves are multiplied with 8 bits.
TEST(CodeLayers, TenBitsServeWhatAGroupOfRowsShares) {
  for (const KernelTable* table : available_kernels()) {
    const Case c(96, 128, 64, /*shared=*/30.0f);
    const std::vector<float> exact = c.run(WeightFormat::kF32, kScalarKernels);
    EXPECT_LE(distance(c.run(WeightFormat::kQ10, *table, 32), exact),
              0.3 * distance(c.run(WeightFormat::kQ8, *table, 32), exact))
        << table->name;
  }
}

// A layer whose inputs the op before it has turned is the layer that it was.
TEST(CodeLayers, RotationCancelsOut) {
  const int64_t rows = 9, width = 128, outputs = 40;
  std::vector<float> w(outputs * width), gate(rows * width), up(rows * width);
  std::mt19937 engine(3);
  std::normal_distribution<float> normal;
  for (std::vector<float>* v : {&w, &gate, &up})
    for (float& f : *v) f = normal(engine);
  for (int64_t r = 0; r < rows; ++r) gate[r * width + 7] = 60;  // an outlier, which costs all others range
  const auto tensor = [](const std::vector<float>& v, Shape s) {
    return Tensor{DType::kF32, s, reinterpret_cast<const std::byte*>(v.data())};
  };
  for (const KernelTable* table : available_kernels()) {
    const auto run = [&](WeightFormat format, bool rotated) {
      Linear layer;
      layer.weight = PackedMatrix::pack(tensor(w, {outputs, width}), format, {.rotated = rotated});
      Graph g;
      const Value a = g.input("a", DType::kF32, {rows, width}), b = g.input("b", DType::kF32, {rows, width});
      g.output("y", g.linear(g.swiglu(a, b, layer.weight.rotated()), layer));
      ThreadPool pool(2);
      Executor executor(pool, *table);
      Bindings bindings;
      bindings.inputs["a"] = tensor(gate, {rows, width});
      bindings.inputs["b"] = tensor(up, {rows, width});
      EXPECT_TRUE(executor.run(g, bindings));
      const auto out = executor.output("y").f32();
      return std::vector<float>(out.begin(), out.end());
    };
    const std::vector<float> exact = run(WeightFormat::kF32, true);
    EXPECT_EQ(exact, run(WeightFormat::kF32, false));  // floats are never turned
    EXPECT_LE(distance(run(WeightFormat::kQ8, true), exact), 0.7 * distance(run(WeightFormat::kQ8, false), exact))
        << table->name;
  }
}

TEST(CodeLayers, WhatAGroupOfRowsSharesCostsNoPrecision) {
  for (const KernelTable* table : available_kernels()) {
    const Case c(96, 128, 64, /*shared=*/30.0f);
    const std::vector<float> plain = c.run(WeightFormat::kQ8, *table), centred = c.run(WeightFormat::kQ8, *table, 32);
    const std::vector<float> exact = c.with_rounded_weights().run(WeightFormat::kF32, kScalarKernels);
    EXPECT_LE(distance(centred, exact), 0.1 * distance(plain, exact)) << table->name;
  }
}

TEST(CodeLayers, FineInputsLeaveTheRoundingOfTheWeights) {
  for (const KernelTable* table : available_kernels())
    for (int64_t rows : {1, 8, 96}) {
      Case c(rows, 130, 70, /*shared=*/3.0f);
      const std::vector<float> exact = c.with_rounded_weights().run(WeightFormat::kF32, kScalarKernels);
      const double plain = distance(c.run(WeightFormat::kQ8, *table), exact);
      c.fine = true;
      for (int64_t group : {int64_t{0}, rows})
        EXPECT_LE(distance(c.run(WeightFormat::kQ8, *table, group), exact), 0.08 * plain) << table->name << " " << rows;
    }
}

// The largest sums that there are, where the second codes count and where they no longer may.
TEST(CodeLayers, SumsOfTheWidestLayersFit) {
  for (const KernelTable* table : available_kernels())
    for (int64_t inputs : {kMostFineInputs, kMostFineInputs + 4})
      for (WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ10})
        for (bool fine : {false, true}) {
          Case c(2, inputs, 33);
          c.fine = fine;
          std::fill(c.x.begin(), c.x.end(), 2.0f);
          std::fill(c.w.begin(), c.w.end(), 0.5f);
          c.w[0] = -0.5f;
          const std::vector<float> exact = c.run(WeightFormat::kF32, kScalarKernels);
          EXPECT_LE(distance(c.run(format, *table), exact), 0.01) << table->name << " " << inputs;
        }
}

// What drafting rests on; for float layers too.
TEST(CodeLayers, ARowOfFewHasTheBitsOfARowAlone) {
  constexpr WeightFormat kQ8 = WeightFormat::kQ8, kQ4 = WeightFormat::kQ4;
  for (const KernelTable* table : available_kernels())
    for (auto [format, fine] : {std::pair{WeightFormat::kF32, false},
                                {WeightFormat::kBF16, false},
                                {kQ8, false},
                                {kQ8, true},
                                {WeightFormat::kQ10, false},
                                {WeightFormat::kQ10, true},
                                {kQ4, false},
                                {kQ4, true}})
      for (int64_t rows = 2; rows <= (format == kQ8 || format == WeightFormat::kQ10 ? 32 : kExactRows); ++rows) {
        Case c(rows, 131, 70);
        c.fine = fine;
        std::vector<float> among = c.run(format, *table);
        among.erase(among.begin(), among.end() - 70);
        EXPECT_EQ(among, c.last().run(format, *table)) << table->name << " " << to_string(format) << " " << rows;
      }
}

// The executor says how many those are.
TEST(CodeLayers, FloatsBoundHowManyRowsAreExactTogether) {
  const auto together = [](std::initializer_list<WeightFormat> formats) {
    const std::vector<float> w(64 * 64, 0.5f);
    Linear layers[2];
    Graph graph;
    Value x = graph.input("x", DType::kF32, {1, 64});
    for (Linear* layer = layers; const WeightFormat format : formats) {
      layer->weight = PackedMatrix::pack({DType::kF32, {64, 64}, reinterpret_cast<const std::byte*>(w.data())}, format);
      x = graph.linear(x, *layer++);
    }
    return exact_rows(graph);
  };
  EXPECT_GE(together({WeightFormat::kQ8, WeightFormat::kQ8}), 32);
  EXPECT_EQ(together({WeightFormat::kQ8, WeightFormat::kF32}), kExactRows);
  EXPECT_EQ(together({WeightFormat::kQ4, WeightFormat::kQ8}), kExactRows);
}

TEST(CodeLayers, TheSameOnAnyNumberOfThreads) {
  const Case c(70, 128, 200);
  for (WeightFormat format : {WeightFormat::kQ8, WeightFormat::kQ10, WeightFormat::kQ4})
    EXPECT_EQ(c.run(format, *available_kernels().back(), 0, 1), c.run(format, *available_kernels().back(), 0, 3));
}

}  // namespace
}  // namespace onsight::compute
