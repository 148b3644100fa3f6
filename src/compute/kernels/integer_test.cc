// Every instruction set of this machine against the scalar oracle: integer sums to the bit, floats within rounding.
#include "compute/kernels/integer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "compute/kernels/kv_codes.h"
#include "compute/packed_matrix.h"
#include "compute/random_floats.h"

namespace onsight::compute {
namespace {

template <class T>
std::vector<T> random_codes(int64_t n, int low, int high, uint32_t seed) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<int> uniform(low, high);
  std::vector<T> out(static_cast<size_t>(n));
  for (T& x : out) x = static_cast<T>(uniform(engine));
  return out;
}

Tensor as_tensor(const std::vector<float>& values, Shape shape) {
  return {DType::kF32, shape, reinterpret_cast<const std::byte*>(values.data())};
}

class Integer : public testing::TestWithParam<const KernelTable*> {
 protected:
  const DotTiles& dot = *GetParam()->dot;
  const IntKernels& kernels = *GetParam()->integer;
};

TEST_P(Integer, DotTilesAreExactAlsoAtTheEndsOfTheirRanges) {
  for (int64_t quads : {1, 3, 48, 700}) {
    for (int rows = 1; rows <= kDotRows; ++rows) {
      for (auto [least, most] : {std::pair{0, 255}, {0, 0}, {255, 255}}) {
        const bool extreme = least == most;
        // The oracle takes 0…255; the machine's tile the same less its offset.
        auto x = random_codes<uint8_t>(quads * rows * kQuad, least, most, 1);
        const auto w = random_codes<int8_t>(quads * kPanel * kQuad, -127, extreme ? -127 : 127, 2);
        std::vector<int32_t> expected(kDotRows * kPanel, 7), acc(kDotRows * kPanel, 7), sums(kPanel);
        kScalarDot.signed_panel(x.data(), rows, quads, w.data(), expected.data());
        for (uint8_t& c : x) c = static_cast<uint8_t>(c - dot.x_offset);
        dot.signed_panel(x.data(), rows, quads, w.data(), acc.data());
        for (int64_t i = 0; i < quads * kPanel * kQuad; ++i) sums[i / kQuad % kPanel] += w[i];
        for (int i = 0; i < rows * kPanel; ++i) acc[i] += dot.x_offset * sums[i % kPanel];
        EXPECT_EQ(acc, expected) << quads << " quads, " << rows << " rows";

        const auto s = random_codes<int8_t>(quads * rows * kQuad, extreme ? 127 : -127, 127, 3);
        const auto u =
            random_codes<uint8_t>(quads * kPanel * kQuad, extreme ? dot.unsigned_max : 0, dot.unsigned_max, 4);
        kScalarDot.unsigned_panel(s.data(), rows, quads, u.data(), expected.data());
        dot.unsigned_panel(s.data(), rows, quads, u.data(), acc.data());
        EXPECT_EQ(acc, expected) << quads << " quads, " << rows << " rows";
      }
    }
  }
}

TEST_P(Integer, QuantiseGivesTheOraclesCodes) {
  for (int64_t n : {1, 4, 15, 16, 33, 100, 768}) {
    for (bool centred : {false, true}) {
      const int64_t stride = 12;
      std::vector<float> x = random_floats(n * kDotRows, 5, 3.0f), centre = random_floats(n, 6);
      if (n == 15) std::fill(x.begin(), x.end(), 0.0f);
      for (int rows = 1; rows <= kDotRows; ++rows) {
        std::vector<std::byte> a((n + 3) / 4 * 4 * rows), b(a.size());
        std::vector<float> scale(rows), expected_scale(rows);
        std::vector<int32_t> zero(rows), expected_zero(rows);
        const float* middle = centred ? centre.data() : nullptr;
        kernels.quantise(x.data(), n, rows, middle, n, dot.x_offset, a.data(), scale.data(), zero.data());
        kScalarInt.quantise(x.data(), n, rows, middle, n, dot.x_offset, b.data(), expected_scale.data(),
                            expected_zero.data());
        EXPECT_EQ(a, b) << n << " " << rows;
        EXPECT_EQ(scale, expected_scale);
        EXPECT_EQ(zero, expected_zero);

        std::vector<std::byte> rest(a.size()), expected_rest(a.size());
        kernels.quantise_fine(x.data(), n, rows, n, dot.x_offset, a.data(), rest.data(), scale.data(), zero.data());
        kScalarInt.quantise_fine(x.data(), n, rows, n, dot.x_offset, b.data(), expected_rest.data(),
                                 expected_scale.data(), expected_zero.data());
        EXPECT_EQ(a, b) << n << " " << rows;
        EXPECT_EQ(rest, expected_rest) << n << " " << rows;
        EXPECT_EQ(scale, expected_scale);
        EXPECT_EQ(zero, expected_zero);
      }

      std::vector<int8_t> c((n + kGroup - 1) / kGroup * kGroup / kQuad * stride), d(c.size());
      std::vector<float> scales(64), expected_scales(64);
      std::vector<int32_t> sums(64), expected_sums(64);
      kernels.quantise_groups(x.data(), n, c.data(), stride, scales.data(), sums.data(), 2);
      kScalarInt.quantise_groups(x.data(), n, d.data(), stride, expected_scales.data(), expected_sums.data(), 2);
      EXPECT_EQ(c, d) << n;
      EXPECT_EQ(scales, expected_scales);
      EXPECT_EQ(sums, expected_sums);
    }
  }
}

// No number is cut off, wherever zero lies.
TEST_P(Integer, TwelveBitsCutNoNumberOff) {
  const int64_t n = 64;
  for (float shift : {-9.0f, -1.3f, 0.0f, 0.7f, 30.0f}) {
    std::vector<float> x = random_floats(n, 23, 3.0f);
    for (float& f : x) f += shift;
    std::vector<std::byte> codes(n), rest(n);
    float scale;
    int32_t zero;
    kernels.quantise_fine(x.data(), n, 1, n, dot.x_offset, codes.data(), rest.data(), &scale, &zero);
    for (int64_t i = 0; i < n; ++i) {
      const int32_t code = dot.x_offset ? static_cast<int8_t>(codes[i]) : static_cast<uint8_t>(codes[i]);
      const float part = static_cast<float>(static_cast<int>(rest[i]) - kRestUnits / 2) / kRestUnits;
      EXPECT_NEAR(scale * (static_cast<float>(code - zero) + part), x[i], 0.51f * scale / kRestUnits) << shift;
    }
  }
}

TEST_P(Integer, FourBitPanels) {
  const int64_t inputs = 224, groups = inputs / kGroup;
  const std::vector<float> w = random_floats(kPanel * inputs, 7);
  const PackedMatrix packed = PackedMatrix::pack(as_tensor(w, {kPanel, inputs}), WeightFormat::kQ4);
  for (int rows = 1; rows <= kFourBitRows; ++rows) {
    const auto x = random_codes<int8_t>(rows * inputs, -127, 127, 8);
    const std::vector<float> scale = random_floats(groups * rows, 9);
    std::vector<int32_t> sum(groups * rows);
    for (int64_t i = 0; i < rows * inputs; ++i) sum[i / (kGroup * rows) * rows + i / kQuad % rows] += x[i];
    std::vector<float> y(rows * kPanel), expected(rows * kPanel);
    dot.four_bit(x.data(), scale.data(), sum.data(), rows, groups, packed.panel(0), y.data());
    kScalarDot.four_bit(x.data(), scale.data(), sum.data(), rows, groups, packed.panel(0), expected.data());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-5f * (1000 + std::fabs(expected[i])));
  }
  std::vector<int8_t> codes(inputs * kPanel), expected(codes.size());
  std::vector<int32_t> sums(kPanel), expected_sums(kPanel);
  kernels.widen(packed.panel(0), groups, packed.scales(0), codes.data(), sums.data());
  kScalarInt.widen(packed.panel(0), groups, packed.scales(0), expected.data(), expected_sums.data());
  EXPECT_EQ(codes, expected);
  EXPECT_EQ(sums, expected_sums);
}

TEST_P(Integer, FineCodes) {
  for (int64_t inputs : {1, 16, 100, 224}) {
    const std::vector<float> w = random_floats(kPanel * inputs, 19);
    const PackedMatrix packed = PackedMatrix::pack(as_tensor(w, {kPanel, inputs}), WeightFormat::kQ10);
    const int64_t quads = (inputs + kQuad - 1) / kQuad;
    std::vector<int8_t> codes(quads * kQuad * kPanel, 99), expected(codes.size(), 98);
    kernels.widen_fine(packed.fine_panel(0), quads, codes.data());
    kScalarInt.widen_fine(packed.fine_panel(0), quads, expected.data());
    EXPECT_EQ(codes, expected) << inputs;
    std::vector<int32_t> sums(kPanel);
    for (size_t i = 0; i < codes.size(); ++i) sums[i / kQuad % kPanel] += codes[i];
    EXPECT_EQ(sums, std::vector<int32_t>(packed.fine_sums(0), packed.fine_sums(0) + kPanel)) << inputs;
    for (int rows = 1; dot.fine_panel && rows <= kDotRows; ++rows) {
      const auto x = random_codes<uint8_t>(quads * rows * kQuad, 0, 255, 20);
      std::vector<int32_t> acc(rows * kPanel), expected_acc(rows * kPanel);
      dot.fine_panel(x.data(), rows, quads, packed.fine_panel(0), acc.data());
      dot.signed_panel(x.data(), rows, quads, codes.data(), expected_acc.data());
      EXPECT_EQ(acc, expected_acc) << inputs << " " << rows;
    }
  }
}

TEST_P(Integer, Finish) {
  const auto acc = random_codes<int32_t>(kDotRows * kPanel, -1000000, 1000000, 11);
  const auto w_sum = random_codes<int32_t>(kPanel, -1000, 1000, 12);
  const std::vector<float> x_scale = random_floats(kDotRows, 13, 1e-3f), w_scale = random_floats(kPanel, 14, 1e-3f);
  const auto x_zero = random_codes<int32_t>(kDotRows, -128, 128, 15);
  const std::vector<float> bias = random_floats(kPanel, 16), residual = random_floats(kDotRows * 40, 17);
  const std::vector<float> values = random_floats(kDotRows * kPanel, 18);
  const auto fine = random_codes<int32_t>(kDotRows * kPanel, -9000, 9000, 24),
             rest = random_codes<int32_t>(kDotRows * kPanel, -9000, 9000, 25);
  for (int columns : {1, 15, 17, 32}) {
    for (int sums : {0, 1, 2, 3, 4}) {
      const bool with_values = sums == 4;
      for (Activation activation : {Activation::kNone, Activation::kGeluTanh, Activation::kGelu, Activation::kSilu}) {
        std::vector<float> y(kDotRows * 40, 7.0f), expected(kDotRows * 40, 7.0f);
        DotFinish f = {with_values ? nullptr : acc.data(),
                       values.data(),
                       5,
                       x_scale.data(),
                       x_zero.data(),
                       w_scale.data(),
                       w_sum.data(),
                       y.data(),
                       40,
                       columns,
                       bias.data(),
                       residual.data(),
                       activation,
                       sums & 1 ? fine.data() : nullptr,
                       sums & 2 ? rest.data() : nullptr};
        kernels.finish(f);
        f.y = expected.data();
        kScalarInt.finish(f);
        for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 2e-4f * (1 + std::fabs(expected[i])));
      }
    }
  }
}

// Against exact attention: what rounding to 8 bits may cost, also where a few keys take all and where all keys weigh
// alike.
TEST_P(Integer, AttentionIsNearTheExactOne) {
  for (int head_dim : {4, 24, 64, 72}) {
    for (int keys : {1, 7, 33, 256, 300, 1024}) {
      for (float sharpness : {0.05f, 1.0f, 4.0f}) {
        const int rows = keys == 7 ? 7 : kAttendQueries;
        const int64_t stride = head_dim + 5;
        std::vector<float> q = random_floats(rows * stride, 20, sharpness), k = random_floats(keys * stride, 21),
                           v = random_floats(keys * stride, 22);
        for (size_t i = 0; i < k.size(); ++i)
          k[i] += 3.0f * static_cast<float>(i % static_cast<size_t>(stride) == 1);  // a channel that all keys share
        const auto run = [&](const IntKernels& table, std::vector<float>& out) {
          std::vector<std::byte> memory(static_cast<size_t>(IntHead::bytes(keys, head_dim)) + 64),
              scratch(static_cast<size_t>(attend_int_scratch_bytes(keys, head_dim)));
          const int64_t codes = (keys + 3) / 4 * 4 * head_dim;
          IntHead head = {keys,    head_dim, memory.data(), reinterpret_cast<int8_t*>(memory.data() + codes), nullptr,
                          nullptr, 1};
          std::vector<float> scale(static_cast<size_t>(head_dim + 8)), mean(scale);
          head.v_scale = scale.data();
          head.v_mean = mean.data();
          table.prepare_head(dot, k.data(), v.data(), stride, head, scratch.data());
          table.attend(dot, head, q.data(), stride, rows, 0.125f, out.data(), stride, scratch.data());
        };
        std::vector<float> out(rows * stride), expected(rows * stride);
        run(kernels, out);
        run(kScalarInt, expected);
        double error = 0, norm = 0;
        for (size_t i = 0; i < out.size(); ++i) {
          error += std::pow(out[i] - expected[i], 2);
          norm += std::pow(expected[i], 2);
        }
        EXPECT_LE(std::sqrt(error / norm), dot.unsigned_max == 255 ? 0.035 : 0.05)
            << head_dim << " " << keys << " " << sharpness;
      }
    }
  }
}

TEST(KvCodes, RowsComeBackWithinHalfAStep) {
  for (int head_dim : {2, 10, 24, 64, 72, 100}) {
    const KvCodes page(head_dim);
    std::vector<std::byte> keys(page.keys_bytes()), values(page.values_bytes());
    for (int round = 0; round < 2; ++round)  // what was there before leaves no trace
      for (int i = 0; i < kKvPage; ++i) {
        const std::vector<float> k = random_floats(head_dim, 100 * round + i, 3.0f),
                                 v = i == 7 ? std::vector<float>(head_dim) : random_floats(head_dim, 300 + i);
        put_codes(k.data(), v.data(), head_dim, i, keys.data(), values.data());
      }
    for (int i = 0; i < kKvPage; ++i) {
      const std::vector<float> k = random_floats(head_dim, 100 + i, 3.0f),
                               v = i == 7 ? std::vector<float>(head_dim) : random_floats(head_dim, 300 + i);
      std::vector<float> k_back(head_dim), v_back(head_dim);
      read_codes(keys.data(), values.data(), head_dim, i, k_back.data(), v_back.data());
      for (auto [x, back] : {std::pair{&k, &k_back}, {&v, &v_back}}) {
        float most = 0;
        for (float f : *x) most = std::max(most, std::fabs(f));
        for (int d = 0; d < head_dim; ++d) ASSERT_NEAR((*back)[d], (*x)[d], most / 253) << head_dim << " " << i;
      }
    }
  }
}

// The oracle multiplies floats.
TEST_P(Integer, AttendsToAPageInCodes) {
  for (int head_dim : {2, 10, 24, 64, 72, 100})
    for (int rows : {1, 3, 9})
      for (int visible : {1, 31, 32, 33, 64}) {
        const KvCodes page(head_dim);
        std::vector<std::byte> keys(page.keys_bytes()), values(page.values_bytes());
        for (int i = 0; i < kKvPage; ++i) {
          std::vector<float> k = random_floats(head_dim, i, 0.7f), v = random_floats(head_dim, 100 + i);
          if (i >= visible) k.assign(head_dim, 1e6f), v.assign(head_dim, 1e6f);  // must not be looked at
          put_codes(k.data(), v.data(), head_dim, i, keys.data(), values.data());
        }
        const std::vector<float> q = random_floats(rows * head_dim, 50);
        const int64_t stride = kv_value_stride(head_dim);
        const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
        struct Out {
          std::vector<float> largest, sum, mixed;
        } got, expected;
        const auto run = [&](const IntKernels& of, const DotTiles& tiles, Out& out) {
          out = {std::vector<float>(rows), std::vector<float>(rows), std::vector<float>(rows * stride)};
          std::vector<std::byte> codes(rows * page.quads() * kQuad);
          std::vector<float> unit(rows);
          of.quantise_queries(tiles, q.data(), rows, head_dim, scale, codes.data(), unit.data());
          of.attend_page(tiles,
                         {q.data(),
                          rows,
                          head_dim,
                          scale,
                          DType::kI8,
                          {keys.data(), values.data()},
                          visible,
                          out.largest.data(),
                          out.sum.data(),
                          1,
                          out.mixed.data(),
                          stride},
                         codes.data(), unit.data());
        };
        run(kernels, dot, got);
        run(kScalarInt, kScalarDot, expected);
        for (int r = 0; r < rows; ++r) {
          EXPECT_NEAR(got.largest[r], expected.largest[r], 0.02) << head_dim << " " << visible;
          EXPECT_NEAR(got.sum[r] / expected.sum[r], 1, 0.02) << head_dim << " " << visible;
          for (int d = 0; d < head_dim; ++d)
            EXPECT_NEAR(got.mixed[r * stride + d] / got.sum[r], expected.mixed[r * stride + d] / expected.sum[r], 0.03)
                << head_dim << " " << rows << " " << visible;
          for (int64_t d = head_dim; d < stride; ++d) EXPECT_EQ(got.mixed[r * stride + d], 0);
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Isa, Integer, testing::ValuesIn(available_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST(PackedMatrix, CodesAreNearTheWeights) {
  const int64_t outputs = 50, inputs = 100;
  const std::vector<float> w = random_floats(outputs * inputs, 30);
  for (auto [format, bound] : {std::pair{WeightFormat::kF32, 0.0},
                               {WeightFormat::kBF16, 0.003},
                               {WeightFormat::kQ8, 0.0075},
                               {WeightFormat::kQ10, 0.0019},
                               {WeightFormat::kQ4, 0.095}}) {
    const PackedMatrix packed = PackedMatrix::pack(as_tensor(w, {outputs, inputs}), format);
    std::vector<float> row(inputs);
    double error = 0, norm = 0;
    for (int64_t j = 0; j < outputs; ++j) {
      packed.row(j, row.data());
      for (int64_t k = 0; k < inputs; ++k) {
        error += std::pow(row[k] - w[j * inputs + k], 2);
        norm += std::pow(w[j * inputs + k], 2);
      }
    }
    EXPECT_LE(std::sqrt(error / norm), bound) << to_string(format);
    EXPECT_EQ(weight_format(to_string(format)), format);
  }
}

TEST(PackedMatrix, TenBitsKeepRowsOfZerosAndSumsOfMany) {
  const int64_t inputs = 64;
  std::vector<float> w(2 * inputs, 0.0f), row(inputs);
  w[inputs] = 1.0f;  // the second row is empty but for one
  const PackedMatrix packed = PackedMatrix::pack(as_tensor(w, {2, inputs}), WeightFormat::kQ10);
  packed.row(0, row.data());
  EXPECT_EQ(row, std::vector<float>(inputs));
  packed.row(1, row.data());
  EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0f), 1.0f, 1.0f / 127);
}

// One input far larger than the others costs them 7 bits of 8, and next to nothing where it is turned into 64.
TEST(PackedMatrix, RotatedRowsComeBack) {
  const int64_t outputs = 40, inputs = 192;
  std::vector<float> w = random_floats(outputs * inputs, 31);
  for (int64_t j = 0; j < outputs; ++j) w[j * inputs + 5] *= 100;
  for (auto [format, bound] :
       {std::pair{WeightFormat::kQ8, 0.011}, {WeightFormat::kQ10, 0.003}, {WeightFormat::kQ4, 0.12}}) {
    const PackedMatrix packed = PackedMatrix::pack(as_tensor(w, {outputs, inputs}), format, {.rotated = true});
    ASSERT_TRUE(packed.rotated());
    std::vector<float> row(inputs);
    for (int64_t j = 0; j < outputs; ++j) {
      packed.row(j, row.data());
      double error = 0, norm = 0;
      for (int64_t k = 0; k < inputs; ++k) {
        error += std::pow(row[k] - w[j * inputs + k], 2);
        norm += std::pow(w[j * inputs + k], 2);
      }
      EXPECT_LE(std::sqrt(error / norm), bound) << to_string(format) << " " << j;
    }
  }
  const Tensor odd = as_tensor(w, {2, 100});
  EXPECT_FALSE(PackedMatrix::pack(odd, WeightFormat::kQ8, {.rotated = true}).rotated());
  EXPECT_FALSE(PackedMatrix::pack(as_tensor(w, {2, 64}), WeightFormat::kF32, {.rotated = true}).rotated());
}

}  // namespace
}  // namespace onsight::compute
