// Every instruction set of this machine against the scalar oracle, over tail lengths.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "compute/kernels/kernel_table.h"
#include "compute/packed_matrix.h"
#include "compute/random_floats.h"

namespace onsight::compute {
namespace {

void expect_close(const std::vector<float>& a, const std::vector<float>& b, float bound, const char* what) {
  ASSERT_EQ(a.size(), b.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  EXPECT_LE(std::sqrt(error), bound * (std::sqrt(norm) + 1e-30)) << what;
}

class Kernels : public testing::TestWithParam<const KernelTable*> {};

TEST_P(Kernels, Gemm) {
  const KernelTable& table = *GetParam();
  for (int64_t depth : {1, 3, 32, 65, 200}) {
    for (int64_t rows : {1, 2, 5, 6, 7, 11, 12, 13, 25}) {
      for (int columns : {1, 15, 16, 17, 31, 32}) {
        std::vector<float> x = random_floats(rows * (depth + 3), 1), w = random_floats(columns * depth, 2);
        std::vector<float> bias = random_floats(columns, 3), residual = random_floats(rows * 40, 4);
        std::vector<uint16_t> w16;
        for (float f : w) w16.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(f) >> 16));
        Shape shape = {columns, depth};
        PackedMatrix full = PackedMatrix::pack({DType::kF32, shape, reinterpret_cast<std::byte*>(w.data())});
        PackedMatrix half = PackedMatrix::pack({DType::kBF16, shape, reinterpret_cast<std::byte*>(w16.data())});
        ASSERT_EQ(half.format(), WeightFormat::kBF16);
        for (Activation activation : {Activation::kNone, Activation::kGeluTanh, Activation::kGelu, Activation::kSilu}) {
          for (bool bf16 : {false, true}) {
            std::vector<float> y(rows * 40, 7.0f), expected(rows * 40, 7.0f);
            GemmTile tile = {x.data(),  depth + 3, rows,    depth,       (bf16 ? half : full).panel(0),
                             y.data(),  40,        columns, bias.data(), residual.data(),
                             activation};
            (bf16 ? table.gemm_bf16 : table.gemm_f32)(tile);
            tile.y = expected.data();
            (bf16 ? kScalarKernels.gemm_bf16 : kScalarKernels.gemm_f32)(tile);
            expect_close(y, expected, 1e-5f, "gemm");  // also: nothing is written beyond `columns`
          }
        }
      }
    }
  }
}

// The same numbers in the format of a page.
std::vector<std::byte> in_format(DType kv, const std::vector<float>& x) {
  std::vector<std::byte> out(static_cast<size_t>(bytes_of(kv, static_cast<int64_t>(x.size()))));
  for (size_t i = 0; i < x.size(); ++i) {
    const uint16_t half = to_f16(x[i]);
    if (kv == DType::kF16)
      std::memcpy(&out[2 * i], &half, 2);
    else
      std::memcpy(&out[4 * i], &x[i], 4);
  }
  return out;
}

TEST_P(Kernels, Attend) {
  for (DType kv : {DType::kF32, DType::kF16})
    for (int head_dim : {2, 16, 24, 64, 72, 100}) {
      for (int rows : {1, 5, 6, 12}) {
        for (int keys : {1, 63, 64, 65, 300}) {
          int64_t pages = (keys + kKvPage - 1) / kKvPage;
          int64_t value_stride = (head_dim + kHeadAlign - 1) / kHeadAlign * kHeadAlign;
          std::vector<float> k = random_floats(pages * kKvPage * head_dim, 5, 0.5f),
                             v = random_floats(pages * kKvPage * value_stride, 6);
          const std::vector<std::byte> k_page = in_format(kv, k);
          std::vector<std::byte> v_page = in_format(kv, v);
          for (int64_t i = bytes_of(kv, keys * value_stride); i < static_cast<int64_t>(v_page.size()); ++i)
            v_page[i] = std::byte{0xff};  // NaN: must not be read
          std::vector<KvPageView> views;
          for (int64_t p = 0; p < pages; ++p)
            views.push_back({k_page.data() + bytes_of(kv, p * kKvPage * head_dim),
                             v_page.data() + bytes_of(kv, p * kKvPage * value_stride)});
          std::vector<float> q = random_floats(rows * 130, 7), out(rows * 130), expected(rows * 130);
          std::vector<float> scratch(attend_scratch_floats(keys, head_dim));
          std::vector<int32_t> visible;
          for (int r = 0; r < rows; ++r) visible.push_back(std::max(1, keys - rows + 1 + r));
          AttendBlock block = {q.data(),       130,        rows, head_dim,      0.3f, kv, views.data(),
                               visible.data(), out.data(), 130,  scratch.data()};
          GetParam()->attend(block);
          block.out = expected.data();
          kScalarKernels.attend(block);
          expect_close(out, expected, 2e-5f, "attend");

          // Page by page for one row of several heads: the same.
          std::vector<float> close(static_cast<size_t>(rows * head_dim)), largest(static_cast<size_t>(rows * pages)),
              sum(largest.size()), mixed(static_cast<size_t>(rows * pages * value_stride)), result(head_dim);
          for (int r = 0; r < rows; ++r) std::copy_n(&q[r * 130], head_dim, &close[r * head_dim]);
          for (int64_t p = 0; p < pages; ++p)
            GetParam()->attend_page({close.data(), rows, head_dim, 0.3f, kv, views[p],
                                     static_cast<int>(std::min<int64_t>(kKvPage, keys - p * kKvPage)), &largest[p],
                                     &sum[p], pages, &mixed[p * value_stride], pages * value_stride});
          std::fill(visible.begin(), visible.end(), keys);
          kScalarKernels.attend(block);
          for (int r = 0; r < rows; ++r) {
            GetParam()->merge_pages(&largest[r * pages], &sum[r * pages], &mixed[r * pages * value_stride], pages,
                                    head_dim, result.data());
            expect_close(result, {&expected[r * 130], &expected[r * 130] + head_dim}, 2e-5f, "attend_page");
          }
        }
      }
    }
}

TEST_P(Kernels, PutKeysAndValues) {
  for (DType kv : {DType::kF32, DType::kF16})
    for (int head_dim : {2, 16, 24, 64, 72, 100}) {
      const int64_t value_stride = kv_value_stride(head_dim);
      const auto page = [&](int64_t row) {
        return std::vector<std::byte>(static_cast<size_t>(bytes_of(kv, kKvPage * row)), std::byte{1});
      };
      std::vector<float> k = random_floats(head_dim, 11, 3.0f), v = random_floats(head_dim, 12, 3.0f);
      k[1] = 1e6f, v[0] = -1e6f;  // beyond f16
      std::vector<std::byte> keys = page(head_dim), values = page(value_stride), expected_keys = keys,
                             expected_values = values;
      GetParam()->put_kv(k.data(), v.data(), head_dim, kv, 37, keys.data(), values.data());
      kScalarKernels.put_kv(k.data(), v.data(), head_dim, kv, 37, expected_keys.data(), expected_values.data());
      EXPECT_EQ(keys, expected_keys);
      EXPECT_EQ(values, expected_values);
    }
}

TEST_P(Kernels, RowsOfAnyLength) {
  for (int64_t n : {2, 6, 16, 31, 64, 100, 576}) {
    std::vector<float> x = random_floats(n, 8, 3.0f), w = random_floats(n, 9), b = random_floats(n, 10), y(n), e(n);
    GetParam()->layer_norm(x.data(), w.data(), b.data(), 1e-6f, n, y.data());
    kScalarKernels.layer_norm(x.data(), w.data(), b.data(), 1e-6f, n, e.data());
    expect_close(y, e, 1e-5f, "layer_norm");
    GetParam()->rms_norm(x.data(), w.data(), 1e-5f, n, y.data());
    kScalarKernels.rms_norm(x.data(), w.data(), 1e-5f, n, e.data());
    expect_close(y, e, 1e-5f, "rms_norm");
    GetParam()->swiglu(x.data(), w.data(), n, y.data());
    kScalarKernels.swiglu(x.data(), w.data(), n, e.data());
    expect_close(y, e, 1e-5f, "swiglu");
    GetParam()->add(x.data(), w.data(), n, y.data());
    kScalarKernels.add(x.data(), w.data(), n, e.data());
    EXPECT_EQ(y, e);
    GetParam()->rope(x.data(), w.data(), b.data(), n / 2, y.data());
    kScalarKernels.rope(x.data(), w.data(), b.data(), n / 2, e.data());
    expect_close(y, e, 1e-5f, "rope");
  }
}

TEST_P(Kernels, RotationIsItsOwnInverseAndKeepsLengths) {
  for (int64_t n : {64, 192, 1536, 2560}) {
    const std::vector<float> x = random_floats(n, 21);
    std::vector<float> y = x, e = x;
    GetParam()->rotate(y.data(), n);
    kScalarKernels.rotate(e.data(), n);
    expect_close(y, e, 1e-5f, "rotate");
    double before = 0, after = 0;
    for (int64_t i = 0; i < n; ++i) {
      before += double{x[i]} * x[i];
      after += double{y[i]} * y[i];
    }
    EXPECT_NEAR(after / before, 1, 1e-5);
    EXPECT_NE(y, x);
    GetParam()->rotate(y.data(), n);
    expect_close(y, x, 1e-5f, "rotate twice");
  }
}

TEST_P(Kernels, ExtremeValuesStayFinite) {
  std::vector<float> gate = {-1e30f, -200, -90, -5, 0, 5, 90, 200, 1e30f}, up(gate.size(), 1.0f), y(gate.size());
  GetParam()->swiglu(gate.data(), up.data(), static_cast<int64_t>(gate.size()), y.data());
  for (float v : y) EXPECT_TRUE(std::isfinite(v));
}

INSTANTIATE_TEST_SUITE_P(Isa, Kernels, testing::ValuesIn(available_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });

TEST(Select, ForcedIsaIsTheOneThatRuns) {
  for (const KernelTable* table : available_kernels()) {
    ::setenv("ONSIGHT_ISA", table->name, 1);
    EXPECT_EQ(select_kernels().value(), table);
  }
  ::setenv("ONSIGHT_ISA", "Z80", 1);
  EXPECT_NE(select_kernels().error().message.find("scalar"), std::string::npos);
  ::unsetenv("ONSIGHT_ISA");
  EXPECT_EQ(select_kernels().value(), available_kernels().back());
}

#if defined(__aarch64__) && defined(__linux__)
TEST(Select, UsesWhatTheCpuHas) {
  constexpr unsigned long kDotProduct = 1ul << 20, kMatrixMultiply = 1ul << 13;  // HWCAP_ASIMDDP, HWCAP2_I8MM
  std::vector<std::string> names = {"scalar", "NEON"}, found;
  if (::getauxval(AT_HWCAP) & kDotProduct) names.push_back("NEON_DOT");
  if (::getauxval(AT_HWCAP2) & kMatrixMultiply) names.push_back("NEON_I8MM");
  for (const KernelTable* table : available_kernels()) found.push_back(table->name);
  EXPECT_EQ(found, names);
}
#elif defined(__x86_64__)
TEST(Select, UsesAvx512WhereThereIsAvx512) {
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16")) {
    EXPECT_STREQ(available_kernels().back()->name, "AVX3_BF16");
  } else if (__builtin_cpu_supports("avx512vnni")) {
    EXPECT_STREQ(available_kernels().back()->name, "AVX3_VNNI");
  } else if (__builtin_cpu_supports("avx512bw")) {
    EXPECT_STREQ(available_kernels().back()->name, "AVX3");
  }
}
#endif

}  // namespace
}  // namespace onsight::compute
