#include "engine/step_times.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/work.h"

namespace onsight::engine {
namespace {

using compute::Op;
using compute::OpKind;

constexpr std::string_view kRest = "the rest";

std::string name_of(const compute::Graph& graph, std::span<const Op> ops) {
  const Op& first = ops.front();
  const compute::Shape& shape = graph.shape(first.output);
  switch (first.kind) {
    case OpKind::kAttention:
      return fmt::format("attention, {} heads of {}", first.heads, shape[1] / first.heads);
    case OpKind::kCachedAttention:
      return fmt::format("attention, {} heads of {}, {} of keys", first.heads, first.head_dim, first.kv_heads);
    case OpKind::kLinear: {
      std::string name = fmt::format("linear {} → {}", first.linear->weight.inputs(), first.linear->weight.outputs());
      const bool chain = ops.size() > 1 && ops[1].in[0].id == first.output.id;
      for (const Op& op : ops.subspan(1)) name += fmt::format(" {} {}", chain ? "→" : "+", op.linear->weight.outputs());
      return name;
    }
    default:
      return std::string(kRest);
  }
}

}  // namespace

void StepTimes::add(StepTime::Part part, const compute::Graph& graph, std::span<const Op> ops, int64_t context,
                    compute::DType kv, double ms) {
  if (ops.front().kind == OpKind::kInput) return;
  const int64_t rows = graph.shape(ops.front().output)[0];
  std::string what = name_of(graph, ops);
  if (rows == 1 && part == StepTime::Part::kPrompt)
    what = kRest;  // the last layer's and the head's one row: as decoding does them
  const auto [place, is_new] = places_.try_emplace({part, what}, steps_.size());
  if (is_new) steps_.push_back({part, what});
  StepTime& step = steps_[place->second];
  ++step.steps;
  if (what != kRest) step.rows += rows;
  step.ms += ms;
  const Work work = work_of(graph, ops, context, kv);
  step.ops += work.ops();
  step.bytes += work.weight_bytes + work.cache_bytes;
}

std::vector<StepTime> StepTimes::all() const {
  std::vector<StepTime> sorted = steps_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const StepTime& a, const StepTime& b) {
    return std::pair(a.part, a.what == kRest) < std::pair(b.part, b.what == kRest);
  });
  return sorted;
}

}  // namespace onsight::engine
