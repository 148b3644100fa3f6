#include "engine/work.h"

#include <gtest/gtest.h>

#include <vector>

namespace onsight::engine {
namespace {

using compute::DType;
using compute::Graph;
using compute::Linear;
using compute::PackedMatrix;
using compute::Tensor;
using compute::Value;

Linear layer(int64_t inputs, int64_t outputs) {
  const std::vector<uint16_t> zeros(static_cast<size_t>(inputs * outputs));
  return {PackedMatrix::pack({DType::kBF16, {outputs, inputs}, reinterpret_cast<const std::byte*>(zeros.data())}), {}};
}

TEST(Work, ATileOfThe256MTowerIs214GOperations) {
  const int64_t patches = 32 * 32, d = 768;
  const Linear square = layer(d, d), up = layer(d, 3072), down = layer(3072, d), patch = layer(3 * 16 * 16, d);
  Graph g;
  Value x = g.linear(g.input("patches", DType::kF32, {patches, 3 * 16 * 16}), patch);
  for (int i = 0; i < 12; ++i) {
    const Value a = g.attention(g.linear(x, square), g.linear(x, square), g.linear(x, square), 12, patches);
    x = g.linear(a, square);
    x = g.linear(g.linear(x, up), down);
  }
  const Work work = work_of(g, 0);
  EXPECT_DOUBLE_EQ(work.linear_ops, 2.0 * 1024 * (768.0 * 768 + 12 * (4 * 768.0 * 768 + 2 * 768.0 * 3072)));
  EXPECT_NEAR(work.linear_ops / 1e9, 175, 0.5);
  EXPECT_DOUBLE_EQ(work.attention_ops, 12 * 4.0 * 1024 * 1024 * 768);
  EXPECT_NEAR(work.attention_ops / 1e9, 39, 0.5);
  EXPECT_NEAR(work.ops() / 1e9, 214, 0.5);
  EXPECT_EQ(work.cache_bytes, 0);
  // bf16: two bytes a weight, and all widths here are whole panels.
  EXPECT_EQ(work.weight_bytes, 2.0 * (768.0 * 768 + 12 * (4 * 768.0 * 768 + 2 * 768.0 * 3072)));
}

TEST(Work, CausalAttentionSeesWhatIsBeforeIt) {
  const int heads = 4, kv_heads = 2, head_dim = 8;
  const auto attend = [&](int64_t rows, int64_t context, compute::DType kv = compute::DType::kF32) {
    Graph g;
    const Value q = g.input("q", DType::kF32, {rows, heads * head_dim});
    const Value k = g.input("k", DType::kF32, {rows, kv_heads * head_dim});
    (void)g.cached_attention(q, k, k, heads, kv_heads, 0);
    return work_of(g, context, kv);
  };
  EXPECT_EQ(attend(3, 0).attention_ops, 4.0 * 32 * (1 + 2 + 3));
  EXPECT_EQ(attend(1, 9).attention_ops, 4.0 * 32 * 10);
  // A prompt in two parts is as much as in one.
  EXPECT_EQ(attend(5, 0).attention_ops + attend(4, 5).attention_ops, attend(9, 0).attention_ops);
  EXPECT_EQ(attend(1, 9).cache_bytes, 10.0 * 2 * 16 * 4);
  EXPECT_EQ(attend(1, 9, compute::DType::kF16).cache_bytes, 10.0 * 2 * 16 * 2);
  // Codes, those of values in whole panels of 32; two scales and a sum.
  EXPECT_EQ(attend(1, 9, compute::DType::kI8).cache_bytes, 10.0 * 2 * (8 + 32 + 12));
}

}  // namespace
}  // namespace onsight::engine
