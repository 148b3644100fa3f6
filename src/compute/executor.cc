#include "compute/executor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "compute/executor_run.h"
#include "compute/kernels/integer.h"

namespace onsight::compute {

MemoryPlan plan_memory(const Graph& graph) {
  const size_t n = graph.values();
  std::vector<size_t> last(n, 0);
  for (size_t i = 0; i < graph.ops().size(); ++i) {
    const Op& op = graph.ops()[i];
    last[static_cast<size_t>(op.output.id)] = i;
    for (Value v : op.in)
      if (v) last[static_cast<size_t>(v.id)] = i;
    // A chain writes the first rows of its second layer's output while its first layer still reads.
    if (is_chain(graph, i)) last[static_cast<size_t>(op.in[0].id)] = i + 1;
  }
  for (const Graph::Named& named : graph.outputs()) last[static_cast<size_t>(named.value.id)] = graph.ops().size();

  // First fit: each value takes the lowest gap between the values alive when it is made.
  MemoryPlan plan;
  plan.offsets.assign(n, -1);
  struct Block {
    int64_t begin, end;
    size_t last;
  };
  std::vector<Block> alive;
  for (size_t i = 0; i < graph.ops().size(); ++i) {
    const Op& op = graph.ops()[i];
    std::erase_if(alive, [&](const Block& b) { return b.last < i; });
    // What is between the layers of a chain is never there as a whole.
    if (op.kind == OpKind::kInput || op.kind == OpKind::kConstant || is_chain(graph, i)) continue;
    const int64_t bytes = (bytes_of(graph.dtype(op.output), graph.shape(op.output).elements()) + 63) / 64 * 64;
    // Element by element, what is made may take the place of what it is made of.
    if (op.kind == OpKind::kSwiglu || op.kind == OpKind::kAdd) {
      const int64_t place = plan.offsets[static_cast<size_t>(op.in[0].id)];
      const auto block = std::ranges::find(alive, place, &Block::begin);
      if (place >= 0 && block != alive.end() && block->last == i) {
        block->last = last[static_cast<size_t>(op.output.id)];
        plan.offsets[static_cast<size_t>(op.output.id)] = place;
        continue;
      }
    }
    int64_t offset = 0;
    size_t at = 0;
    for (; at < alive.size() && alive[at].begin - offset < bytes; ++at) offset = std::max(offset, alive[at].end);
    alive.insert(alive.begin() + static_cast<std::ptrdiff_t>(at),
                 {offset, offset + bytes, last[static_cast<size_t>(op.output.id)]});
    plan.offsets[static_cast<size_t>(op.output.id)] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
  }
  return plan;
}

namespace {

// How many of the ops, from the first on, run as one loop over their weights. Linear layers that follow each other on
// one input do; none may have a residual: its memory may be given to the output of the next.
size_t joined(std::span<const Op> ops) {
  const auto joins = [&](const Op& op) {
    return op.kind == OpKind::kLinear && !op.in[1] && op.in[0].id == ops[0].in[0].id &&
           (op.linear->fine == ops[0].linear->fine || (!op.group && !ops[0].group));
  };
  size_t n = 1;
  if (joins(ops[0]))
    while (n < ops.size() && joins(ops[n])) ++n;
  return n;
}

bool reads_much(const Op& op) { return op.kind == OpKind::kLinear || op.kind == OpKind::kCachedAttention; }

}  // namespace

Status Executor::run(const Graph& graph, const MemoryPlan& plan, const Bindings& bindings, const Observer& observer,
                     const Pause& pause) {
  if (arena_.bytes() < static_cast<size_t>(plan.bytes)) {
    arena_ = Buffer();  // free first: the peak counts
    arena_ = Buffer(static_cast<size_t>(plan.bytes));
  }
  scratch_.resize(static_cast<size_t>(pool_.threads()));
  Run run(graph, bindings);
  for (size_t v = 0; v < graph.values(); ++v) {
    Value value{static_cast<int32_t>(v)};
    run.values[v] = {graph.dtype(value), graph.shape(value),
                     plan.offsets[v] < 0 ? nullptr : arena_.data() + plan.offsets[v]};
  }
  for (const Graph::Named& named : graph.inputs()) {
    auto bound = bindings.inputs.find(named.name);
    ONSIGHT_CHECK(bound != bindings.inputs.end());
    ONSIGHT_CHECK(bound->second.shape == graph.shape(named.value) && bound->second.dtype == graph.dtype(named.value));
    run.values[static_cast<size_t>(named.value.id)] = bound->second;
  }
  codes_.value = -1;
  const std::span<const Op> ops = graph.ops();
  for (size_t i = 0; i < ops.size();) {
    const auto since = on_step_ ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
    size_t end = i + joined(ops.subspan(i));
    if (reads_much(ops[i])) expect_next(run, ops.subspan(end));
    if (end == i + 1 && is_chain(graph, i)) {
      chain(run, ops[i], ops[i + 1]);
      end = i + 2;
    } else if (ops[i].kind == OpKind::kLinear) {
      linears(run, ops.subspan(i, end - i));
    } else {
      execute(run, ops[i]);
    }
    if (on_step_) {
      const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - since;
      on_step_(graph, ops.subspan(i, end - i), ms.count());
    }
    if (pause && !pause()) return make_error(ErrorCode::kInterrupted, "interrupted");
    for (; i < end; ++i) {
      if (!observer) continue;
      for (const Graph::Named& named : graph.observed())
        if (named.value.id == ops[i].output.id) TRY_STATUS(observer(named.name, run.tensor(named.value)));
    }
  }
  outputs_.clear();
  for (const Graph::Named& named : graph.outputs()) outputs_[named.name] = run.tensor(named.value);
  return {};
}

void Executor::expect_next(const Run& run, std::span<const Op> ops) {
  constexpr size_t kFar = 6;  // ops: no two that read much are further from each other
  for (size_t i = 0; i < std::min(kFar, ops.size()); ++i) {
    if (!reads_much(ops[i])) continue;
    if (run.shape(ops[i].output)[0] > kExactRows) return;
    return ops[i].kind == OpKind::kLinear ? expect_weights(ops.subspan(i, joined(ops.subspan(i))))
                                          : expect_pages(run, ops[i]);
  }
}

Tensor Executor::output(std::string_view name) const {
  auto it = outputs_.find(name);
  ONSIGHT_CHECK(it != outputs_.end());
  return it->second;
}

void Executor::execute(Run& run, const Op& op) {
  const Shape& s = run.graph.shape(op.output);
  const int64_t width = s[-1], rows = s.elements() / std::max<int64_t>(1, width);
  const float* x = run.f32(op.in[0]);
  float* y = run.out(op);
  const auto each_row = [&](const auto& body) {
    constexpr int64_t kChunk = 16;  // rows a task: enough work to be worth sharing
    if (rows <= kChunk) {
      for (int64_t r = 0; r < rows; ++r) body(r);
      return;
    }
    pool_.run((rows + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
      for (int64_t r = chunk * kChunk; r < std::min(rows, (chunk + 1) * kChunk); ++r) body(r);
    });
  };
  switch (op.kind) {
    case OpKind::kInput:
      return;
    case OpKind::kConstant:
      run.values[static_cast<size_t>(op.output.id)] = op.table;
      return;
    case OpKind::kLinear:
      return linears(run, {&op, 1});
    case OpKind::kAttention:
      return op.in_codes && op.head_dim % kQuad == 0 && op.head_dim <= kLargestHead ? attention_in_codes(run, op)
                                                                                    : attention(run, op);
    case OpKind::kCachedAttention:
      return cached_attention(run, op);
    case OpKind::kLayerNorm:
      return each_row(
          [&](int64_t r) { kernels_.layer_norm(x + r * width, op.weight, op.bias, op.epsilon, width, y + r * width); });
    case OpKind::kRmsNorm:
      return each_row(
          [&](int64_t r) { kernels_.rms_norm(x + r * width, op.weight, op.epsilon, width, y + r * width); });
    case OpKind::kAdd:
      return each_row(
          [&](int64_t r) { kernels_.add(x + r * width, run.f32(op.in[1]) + r * width, width, y + r * width); });
    case OpKind::kSwiglu:
      return each_row([&](int64_t r) {
        kernels_.swiglu(x + r * width, run.f32(op.in[1]) + r * width, width, y + r * width);
        if (op.rotated) kernels_.rotate(y + r * width, width);
      });
    case OpKind::kRope: {
      const int64_t half = op.head_dim / 2;
      const float* angles = run.angles(op, rows);
      return each_row([&](int64_t r) {
        const float* table = angles + r * 2 * half;
        for (int h = 0; h < op.heads; ++h) {
          const int64_t at = r * width + int64_t{h} * op.head_dim;
          kernels_.rope(x + at, table, table + half, half, y + at);
        }
      });
    }
    case OpKind::kEmbed: {
      const int32_t* ids = run.i32(op.in[0]);
      return each_row([&](int64_t r) {
        if (op.rows) return op.rows->row(ids[r], y + r * width);
        to_f32(op.table.dtype, op.table.data + bytes_of(op.table.dtype, ids[r] * width), y + r * width, width);
      });
    }
    case OpKind::kAddRows: {
      const int32_t* ids = run.i32(op.in[1]);
      const int64_t period = run.shape(op.in[1])[0];
      return each_row([&](int64_t r) {
        float* out = y + r * width;
        to_f32(op.table.dtype, op.table.data + bytes_of(op.table.dtype, ids[r % period] * width), out, width);
        kernels_.add(x + r * width, out, width, out);
      });
    }
    case OpKind::kUnfoldPatches: {
      const Shape& p = run.shape(op.in[0]);
      const int64_t channels = p[1], height = p[2], image_width = p[3], patch = op.group;
      const int64_t across = image_width / patch, patches = height / patch * across;
      return each_row([&](int64_t r) {
        const int64_t tile = r / patches, row = r % patches / across, column = r % across;
        float* out = y + r * width;
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t i = 0; i < patch; ++i, out += patch)
            std::memcpy(out, x + ((tile * channels + c) * height + row * patch + i) * image_width + column * patch,
                        static_cast<size_t>(patch) * sizeof(float));
      });
    }
    case OpKind::kPixelShuffle: {
      const int64_t scale = op.group, tiles = op.layer;
      const int64_t out_side = std::llround(std::sqrt(static_cast<double>(rows / tiles)));
      const int64_t side = out_side * scale, depth = width / (scale * scale);
      return each_row([&](int64_t r) {
        const int64_t tile = r / (out_side * out_side), row = r / out_side % out_side, column = r % out_side;
        // Output channels hold the scale × scale neighbours row by row, each a whole input row.
        for (int64_t i = 0; i < scale; ++i) {
          const int64_t from = (tile * side + row * scale + i) * side + column * scale;
          std::memcpy(y + r * width + i * scale * depth, x + from * depth,
                      static_cast<size_t>(scale * depth) * sizeof(float));
        }
      });
    }
    case OpKind::kReplaceRows: {
      std::memcpy(y, x, static_cast<size_t>(rows * width) * sizeof(float));
      const int64_t count = run.shape(op.in[1])[0];
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(y + run.i32(op.in[1])[i] * width, run.f32(op.in[2]) + i * width,
                    static_cast<size_t>(width) * sizeof(float));
      return;
    }
    case OpKind::kGatherRows: {
      const int64_t each = s.rank() == 1 ? 1 : width;  // of i32 or f32: as many bytes
      for (int64_t r = 0; r < s[0]; ++r)
        std::memcpy(y + r * each, x + run.i32(op.in[1])[r] * each, static_cast<size_t>(each) * sizeof(float));
      return;
    }
  }
}

}  // namespace onsight::compute
