#include "compute/ceilings.h"

#include <gtest/gtest.h>

#include <string_view>

namespace onsight::compute {
namespace {

TEST(Ceilings, ArePositiveAndInASaneOrder) {
  Ceilings c;
  // On a busy machine one of the short measurements may see little of its processor.
  for (int i = 0; i < 5 && !(c.int8_ops_per_s > 0.4 * c.f32_ops_per_s); ++i)
    c = measure_ceilings(
        {.threads = 1, .available_bytes = int64_t{2} << 30, .buffer_bytes = 16 << 20, .seconds = 0.005});
  EXPECT_EQ(c.threads, 1);
  EXPECT_GT(c.f32_ops_per_s, 1e8);
  EXPECT_GT(c.int8_ops_per_s, 1e8);
  EXPECT_GT(c.read_bytes_per_s, 1e8);
  EXPECT_EQ(c.read_refused, "");
  EXPECT_NE(std::string_view(c.f32_instruction), "");
  EXPECT_EQ(c.bf16_ops_per_s > 0, std::string_view(c.bf16_instruction) != "");
  // A dot of bytes is never slower than arithmetic in f32, and four times as wide at most: the bounds leave room.
  EXPECT_GT(c.int8_ops_per_s, 0.4 * c.f32_ops_per_s);
  EXPECT_LT(c.int8_ops_per_s, 20 * c.f32_ops_per_s);
  // No machine reads a float from memory for each operation that it can do.
  EXPECT_LT(c.read_bytes_per_s, 4 * c.int8_ops_per_s);
}

TEST(Ceilings, ASmallMachineIsNotFilled) {
  const Ceilings c =
      measure_ceilings({.threads = 2, .available_bytes = 300 << 20, .buffer_bytes = 256 << 20, .seconds = 0.001});
  EXPECT_EQ(c.read_bytes_per_s, 0);
  EXPECT_NE(c.read_refused.find("300 MB"), std::string::npos) << c.read_refused;
  EXPECT_GT(c.f32_ops_per_s, 0);
}

}  // namespace
}  // namespace onsight::compute
