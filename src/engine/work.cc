#include "engine/work.h"

namespace onsight::engine {

using compute::Op;
using compute::OpKind;

Work work_of(const compute::Graph& graph, int64_t context, compute::DType kv) {
  return work_of(graph, graph.ops(), context, kv);
}

Work work_of(const compute::Graph& graph, std::span<const Op> ops, int64_t context, compute::DType kv) {
  Work work;
  for (const Op& op : ops) {
    if (op.kind == OpKind::kLinear) {
      const double outputs = static_cast<double>(op.linear->weight.outputs());
      const double inputs = static_cast<double>(op.linear->weight.inputs());
      const double rows = static_cast<double>(graph.shape(op.output)[0]);
      work.linear_ops += 2 * rows * inputs * outputs;
      work.weight_bytes += static_cast<double>(op.linear->weight.bytes() + op.linear->bias.bytes());
    } else if (op.kind == OpKind::kAttention) {
      const compute::Shape& shape = graph.shape(op.output);
      work.attention_ops += 4.0 * static_cast<double>(shape[0] * shape[1]) * static_cast<double>(op.group);
    } else if (op.kind == OpKind::kCachedAttention) {
      const compute::Shape& shape = graph.shape(op.output);
      const double rows = static_cast<double>(shape[0]), before = static_cast<double>(context);
      const double pairs = rows * before + rows * (rows + 1) / 2;
      work.attention_ops += 4 * static_cast<double>(shape[1]) * pairs;
      const compute::KvCodes codes(op.head_dim);
      const double position = kv == compute::DType::kI8
                                  ? static_cast<double>(codes.keys_bytes() + codes.values_bytes()) / compute::kKvPage
                                  : 2.0 * static_cast<double>(compute::bytes_of(kv, op.head_dim));
      work.cache_bytes += (before + rows) * op.kv_heads * position;
    }
  }
  return work;
}

}  // namespace onsight::engine
