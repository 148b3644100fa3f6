#include "compute/executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace onsight::compute {

MemoryPlan plan_memory(const Graph& graph) {
  const size_t n = graph.values();
  std::vector<size_t> last(n, 0);
  for (size_t i = 0; i < graph.ops().size(); ++i) {
    const Op& op = graph.ops()[i];
    last[static_cast<size_t>(op.output.id)] = i;
    for (Value v : op.in)
      if (v) last[static_cast<size_t>(v.id)] = i;
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
    if (op.kind == OpKind::kInput || op.kind == OpKind::kConstant) continue;
    const int64_t bytes = (bytes_of(graph.dtype(op.output), graph.shape(op.output).elements()) + 63) / 64 * 64;
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

struct Executor::Run {
  const Graph& graph;
  const Bindings& bindings;
  std::vector<Tensor> values;
  float* out(const Op& op) const { return reinterpret_cast<float*>(const_cast<std::byte*>(tensor(op.output).data)); }
  const Tensor& tensor(Value v) const { return values[static_cast<size_t>(v.id)]; }
  const float* f32(Value v) const { return v ? reinterpret_cast<const float*>(tensor(v).data) : nullptr; }
  const int32_t* i32(Value v) const { return reinterpret_cast<const int32_t*>(tensor(v).data); }
  const Shape& shape(Value v) const { return graph.shape(v); }
};

Status Executor::run(const Graph& graph, const Bindings& bindings, const Observer& observer) {
  const MemoryPlan plan = plan_memory(graph);
  if (arena_.bytes() < static_cast<size_t>(plan.bytes)) {
    arena_ = Buffer();  // free first: the peak counts
    arena_ = Buffer(static_cast<size_t>(plan.bytes));
  }
  scratch_.resize(static_cast<size_t>(pool_.threads()));
  Run run{graph, bindings, std::vector<Tensor>(graph.values())};
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
  for (const Op& op : graph.ops()) {
    execute(run, op);
    if (!observer) continue;
    for (const Graph::Named& named : graph.observed())
      if (named.value.id == op.output.id) TRY_STATUS(observer(named.name, run.tensor(named.value)));
  }
  outputs_.clear();
  for (const Graph::Named& named : graph.outputs()) outputs_[named.name] = run.tensor(named.value);
  return {};
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
      return linear(run, op);
    case OpKind::kAttention:
      return attention(run, op);
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
      return each_row(
          [&](int64_t r) { kernels_.swiglu(x + r * width, run.f32(op.in[1]) + r * width, width, y + r * width); });
    case OpKind::kRope: {
      const int64_t half = op.head_dim / 2;
      const int32_t* positions = run.i32(op.in[1]);
      return each_row([&](int64_t r) {
        thread_local std::vector<float> table;
        table.resize(static_cast<size_t>(2 * half));
        for (int64_t i = 0; i < half; ++i) {
          const float angle = static_cast<float>(positions[r]) * (*op.frequencies)[static_cast<size_t>(i)];
          table[i] = std::cos(angle);
          table[half + i] = std::sin(angle);
        }
        for (int h = 0; h < op.heads; ++h) {
          const int64_t at = r * width + int64_t{h} * op.head_dim;
          kernels_.rope(x + at, table.data(), table.data() + half, half, y + at);
        }
      });
    }
    case OpKind::kEmbed: {
      const int32_t* ids = run.i32(op.in[0]);
      return each_row([&](int64_t r) {
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
    case OpKind::kGatherRows:
      return each_row([&](int64_t r) {
        std::memcpy(y + r * width, x + run.i32(op.in[1])[r] * width, static_cast<size_t>(width) * sizeof(float));
      });
  }
}

void Executor::linear(Run& run, const Op& op) {
  const Linear& layer = *op.linear;
  const int64_t rows = run.shape(op.output)[0], outputs = layer.weight.outputs(), inputs = layer.weight.inputs();
  const float* x = run.f32(op.in[0]);
  const float* residual = run.f32(op.in[1]);
  const float* bias = layer.bias.f32();
  float* y = run.out(op);
  const auto gemm = layer.weight.dtype() == DType::kBF16 ? kernels_.gemm_bf16 : kernels_.gemm_f32;
  // A task is a block of rows that stays in the second-level cache times a few panels of weights.
  const int64_t row_block = std::clamp<int64_t>((512 << 10) / (inputs * 4) / 12 * 12, 12, 240);
  const int64_t row_blocks = (rows + row_block - 1) / row_block;
  const int64_t panels = layer.weight.panels();
  const int64_t panel_block = std::max<int64_t>(1, std::min<int64_t>(8, row_blocks * panels / (4 * pool_.threads())));
  const int64_t panel_blocks = (panels + panel_block - 1) / panel_block;
  pool_.run(row_blocks * panel_blocks, [&](int64_t task, int) {
    const int64_t row = task / panel_blocks * row_block;
    const int64_t first = task % panel_blocks * panel_block;
    for (int64_t p = first; p < std::min(panels, first + panel_block); ++p) {
      const int64_t column = p * kPanel;
      gemm({.x = x + row * inputs,
            .x_stride = inputs,
            .rows = std::min(row_block, rows - row),
            .depth = inputs,
            .panel = layer.weight.panel(p),
            .y = y + row * outputs + column,
            .y_stride = outputs,
            .columns = static_cast<int>(std::min<int64_t>(kPanel, outputs - column)),
            .bias = bias ? bias + column : nullptr,
            .residual = residual ? residual + row * outputs + column : nullptr,
            .activation = op.activation});
    }
  });
}

void Executor::attend_all(Run&, std::vector<AttendBlock>& blocks, int64_t scratch_floats) {
  for (Buffer& scratch : scratch_)
    if (scratch.bytes() < static_cast<size_t>(scratch_floats) * sizeof(float))
      scratch = Buffer(static_cast<size_t>(scratch_floats) * sizeof(float));
  pool_.run(static_cast<int64_t>(blocks.size()), [&](int64_t i, int thread) {
    AttendBlock& block = blocks[static_cast<size_t>(i)];
    block.scratch = scratch_[static_cast<size_t>(thread)].f32();
    kernels_.attend(block);
  });
}

namespace {

// Copies one head of n rows into a page: keys transposed, values padded with zeros.
void fill_page(const float* k, const float* v, int64_t stride, int64_t n, int64_t first, int head_dim, float* keys,
               float* values) {
  const int64_t value_stride = (head_dim + kHeadAlign - 1) / kHeadAlign * kHeadAlign;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t d = 0; d < head_dim; ++d) keys[d * kKvPage + first + i] = k[i * stride + d];
    float* out = values + (first + i) * value_stride;
    std::memcpy(out, v + i * stride, static_cast<size_t>(head_dim) * sizeof(float));
    std::fill(out + head_dim, out + value_stride, 0.0f);
  }
}

}  // namespace

void Executor::attention(Run& run, const Op& op) {
  const int64_t rows = run.shape(op.output)[0], width = run.shape(op.output)[1], group = op.group;
  const int64_t pages = (group + kKvPage - 1) / kKvPage;
  const KvLayout layout = {.layers = 1, .kv_heads = 1, .head_dim = op.head_dim};
  const size_t head_bytes = static_cast<size_t>(pages * layout.head_floats()) * sizeof(float);
  const int64_t heads = rows / group * op.heads;  // one head of one group is independent of all others
  const size_t bytes = head_bytes * static_cast<size_t>(heads);
  if (pages_.bytes() < bytes) {
    pages_ = Buffer();
    pages_ = Buffer(bytes);
    std::memset(pages_.data(), 0, bytes);  // keys beyond the last are read, then masked
  }
  std::vector<KvPageView> views(static_cast<size_t>(heads * pages));
  pool_.run(heads, [&](int64_t head, int) {
    const int64_t first = head / op.heads * group, column = head % op.heads * op.head_dim;
    for (int64_t p = 0; p < pages; ++p) {
      float* keys = pages_.f32() + (head * pages + p) * layout.head_floats();
      float* values = keys + layout.keys_floats();
      const int64_t n = std::min<int64_t>(kKvPage, group - p * kKvPage);
      const int64_t at = (first + p * kKvPage) * width + column;
      fill_page(run.f32(op.in[1]) + at, run.f32(op.in[2]) + at, width, n, 0, op.head_dim, keys, values);
      views[static_cast<size_t>(head * pages + p)] = {keys, values};
    }
  });
  const std::vector<int32_t> visible(kAttendRows, static_cast<int32_t>(group));
  std::vector<AttendBlock> blocks;
  for (int64_t head = 0; head < heads; ++head) {
    const int64_t first = head / op.heads * group, column = head % op.heads * op.head_dim;
    for (int64_t r = 0; r < group; r += kAttendRows) {
      const int64_t at = (first + r) * width + column;
      blocks.push_back({.q = run.f32(op.in[0]) + at,
                        .q_stride = width,
                        .rows = static_cast<int>(std::min<int64_t>(kAttendRows, group - r)),
                        .head_dim = op.head_dim,
                        .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                        .pages = &views[static_cast<size_t>(head * pages)],
                        .visible = visible.data(),
                        .out = run.out(op) + at,
                        .out_stride = width,
                        .scratch = nullptr});
    }
  }
  attend_all(run, blocks, attend_scratch_floats(group, op.head_dim));
}

void Executor::cached_attention(Run& run, const Op& op) {
  const Bindings& b = run.bindings;
  const int64_t rows = run.shape(op.output)[0], width = run.shape(op.output)[1];
  const int64_t kv_width = int64_t{op.kv_heads} * op.head_dim;
  ONSIGHT_CHECK(static_cast<int64_t>(b.positions.size()) == rows && static_cast<int64_t>(b.sequences.size()) == rows);
  pool_.run(op.kv_heads, [&](int64_t head, int) {
    for (int64_t r = 0; r < rows; ++r) {
      KvCache& cache = *b.caches[static_cast<size_t>(b.sequences[r])];
      const int64_t page = b.positions[r] / kKvPage;
      const int64_t at = r * kv_width + head * op.head_dim;
      fill_page(run.f32(op.in[1]) + at, run.f32(op.in[2]) + at, kv_width, 1, b.positions[r] % kKvPage, op.head_dim,
                cache.keys(op.layer, static_cast<int>(head), page),
                cache.values(op.layer, static_cast<int>(head), page));
    }
  });

  // Page lists of each sequence and head.
  std::vector<std::vector<KvPageView>> views(b.caches.size() * static_cast<size_t>(op.kv_heads));
  int64_t longest = 1;
  std::vector<int32_t> visible(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    visible[r] = b.positions[r] + 1;
    longest = std::max<int64_t>(longest, visible[r]);
  }
  for (size_t s = 0; s < b.caches.size(); ++s)
    for (int h = 0; h < op.kv_heads; ++h)
      for (int64_t p = 0; p * kKvPage < b.caches[s]->length(); ++p)
        views[s * static_cast<size_t>(op.kv_heads) + static_cast<size_t>(h)].push_back(
            b.caches[s]->view(op.layer, h, p));

  const int queries = op.heads / op.kv_heads;  // query heads that share one key head
  std::vector<int32_t> repeated(static_cast<size_t>(rows) * static_cast<size_t>(std::min(queries, kAttendRows)));
  std::vector<AttendBlock> blocks;
  for (int64_t first = 0; first < rows;) {
    int64_t end = first + 1;
    while (end < rows && end - first < kAttendRows && b.sequences[end] == b.sequences[first]) ++end;
    const size_t sequence = static_cast<size_t>(b.sequences[first]);
    AttendBlock block = {.q = nullptr,
                         .q_stride = width,
                         .rows = static_cast<int>(end - first),
                         .head_dim = op.head_dim,
                         .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                         .pages = nullptr,
                         .visible = &visible[static_cast<size_t>(first)],
                         .out = nullptr,
                         .out_stride = width,
                         .scratch = nullptr};
    // A lone row (decoding) reads each key once for all query heads that share it.
    const bool lone = end - first == 1 && queries > 1 && queries <= kAttendRows;
    if (lone) {
      int32_t* same = &repeated[static_cast<size_t>(first * queries)];
      std::fill(same, same + queries, visible[first]);
      block.rows = queries;
      block.q_stride = block.out_stride = op.head_dim;
      block.visible = same;
    }
    for (int h = 0; h < op.heads; h += lone ? queries : 1) {
      const int64_t at = first * width + int64_t{h} * op.head_dim;
      block.q = run.f32(op.in[0]) + at;
      block.out = run.out(op) + at;
      block.pages = views[sequence * static_cast<size_t>(op.kv_heads) + static_cast<size_t>(h / queries)].data();
      blocks.push_back(block);
    }
    first = end;
  }
  attend_all(run, blocks, attend_scratch_floats(longest, op.head_dim));
}

}  // namespace onsight::compute
