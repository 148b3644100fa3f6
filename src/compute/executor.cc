#include "compute/executor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "compute/kernels/integer.h"

namespace onsight::compute {

namespace {
constexpr int64_t kChainRows = 32;   // of a chain of two layers: what is between them stays in a second-level cache
constexpr int64_t kCentreEvery = 8;  // rows: any point near the middle serves, since what is taken out comes back
constexpr int64_t kCentreSamples = kDotRows;  // rows that the centre between the layers of a chain is found with

// Two layers in codes, the second on what only the first makes, which nobody else sees.
bool is_chain(const Graph& graph, size_t first) {
  const std::span<const Op> ops = graph.ops();
  if (first + 1 >= ops.size()) return false;
  const Op &a = ops[first], &b = ops[first + 1];
  if (a.kind != OpKind::kLinear || b.kind != OpKind::kLinear || b.in[0].id != a.output.id || b.in[1].id == a.output.id)
    return false;
  if (!a.linear->weight.in_codes() || !b.linear->weight.in_codes() || a.group <= kChainRows) return false;
  for (size_t i = first + 2; i < ops.size(); ++i)
    for (Value v : ops[i].in)
      if (v.id == a.output.id) return false;
  const auto is_named = [&](const Graph::Named& named) { return named.value.id == a.output.id; };
  return std::none_of(graph.outputs().begin(), graph.outputs().end(), is_named) &&
         std::none_of(graph.observed().begin(), graph.observed().end(), is_named);
}

}  // namespace

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
  Run(const Graph& g, const Bindings& b) : graph(g), bindings(b), values(g.values()) {}
  const Graph& graph;
  const Bindings& bindings;
  std::vector<Tensor> values;
  float* out(const Op& op) const { return reinterpret_cast<float*>(const_cast<std::byte*>(tensor(op.output).data)); }
  const Tensor& tensor(Value v) const { return values[static_cast<size_t>(v.id)]; }
  const float* f32(Value v) const { return v ? reinterpret_cast<const float*>(tensor(v).data) : nullptr; }
  const int32_t* i32(Value v) const { return reinterpret_cast<const int32_t*>(tensor(v).data); }
  const Shape& shape(Value v) const { return graph.shape(v); }

  // Cosines, then sines, of each row: the same in all layers, so computed once.
  const float* angles(const Op& op, int64_t rows) {
    const size_t half = op.frequencies->size();
    if (turns_of_ == op.in[1].id && frequencies_ == op.frequencies) return turns_.data();
    turns_of_ = op.in[1].id;
    frequencies_ = op.frequencies;
    turns_.resize(static_cast<size_t>(rows) * 2 * half);
    const int32_t* positions = i32(op.in[1]);
    for (int64_t r = 0; r < rows; ++r)
      for (size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(positions[r]) * (*op.frequencies)[i];
        float* table = &turns_[static_cast<size_t>(r) * 2 * half];
        table[i] = std::cos(angle);
        table[half + i] = std::sin(angle);
      }
    return turns_.data();
  }

 private:
  int32_t turns_of_ = -1;
  const std::vector<float>* frequencies_ = nullptr;
  std::vector<float> turns_;
};

Status Executor::run(const Graph& graph, const Bindings& bindings, const Observer& observer) {
  const MemoryPlan plan = plan_memory(graph);
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
    // Linear layers that follow each other on one input run as one. None may have a residual: its memory may be given
    // to the output of the next.
    size_t end = i + 1;
    const auto joins = [&](const Op& op) {
      return op.kind == OpKind::kLinear && !op.in[1] && op.in[0].id == ops[i].in[0].id;
    };
    if (joins(ops[i]))
      while (end < ops.size() && joins(ops[end])) ++end;
    if (end == i + 1 && is_chain(graph, i)) {
      chain(run, ops[i], ops[i + 1]);
      end = i + 2;
    } else if (ops[i].kind == OpKind::kLinear) {
      linears(run, ops.subspan(i, end - i));
    } else {
      execute(run, ops[i]);
    }
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
      return each_row(
          [&](int64_t r) { kernels_.swiglu(x + r * width, run.f32(op.in[1]) + r * width, width, y + r * width); });
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
    case OpKind::kGatherRows:
      return each_row([&](int64_t r) {
        std::memcpy(y + r * width, x + run.i32(op.in[1])[r] * width, static_cast<size_t>(width) * sizeof(float));
      });
  }
}

// A block of rows times a block of panels of one layer.
struct Executor::LinearTask {
  const Linear* layer;
  const float* x;         // of the first row; rows `inputs` apart
  const float* residual;  // [rows, outputs] or nullptr
  float* y;
  Activation activation;
  bool in_groups;
  const Buffer* offsets;  // what the centre of a group of rows adds, the bias included; or nullptr
  int64_t row, rows, first_panel, last_panel;

  int columns(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(kPanel, layer->weight.outputs() - panel * kPanel));
  }
  const float* bias(int64_t panel) const { return layer->bias.bytes() ? layer->bias.f32() + panel * kPanel : nullptr; }
  int64_t at(int64_t r, int64_t panel) const { return r * layer->weight.outputs() + panel * kPanel; }
};

namespace {

float* grow(Buffer& buffer, size_t bytes) {
  if (buffer.bytes() < bytes) {
    buffer = Buffer();
    buffer = Buffer(bytes);
  }
  return buffer.f32();
}

int64_t filled(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

constexpr int64_t kMostPanels = 8;  // a task

// Panels a task such that every thread gets as many, but for a fiftieth, in some tasks.
int64_t even_block(int64_t panels, int threads) {
  const int64_t share = (panels + threads - 1) / threads;
  int64_t block = std::clamp<int64_t>(share / 3, 1, kMostPanels);
  while ((filled(share, block) - share) * 50 > share) --block;
  return block;
}

}  // namespace

void Executor::linears(Run& run, std::span<const Op> ops) {
  std::vector<LinearCall> calls;
  calls.reserve(ops.size());
  for (const Op& op : ops)
    calls.push_back(
        {&op, op.in[0], run.f32(op.in[0]), run.f32(op.in[1]), run.out(op), run.shape(op.output)[0], op.group});
  linears(calls);
}

void Executor::chain(Run& run, const Op& first, const Op& second) {
  const Linear &a = *first.linear, &b = *second.linear;
  const int64_t rows = run.shape(first.output)[0], group = first.group, groups = rows / group;
  const int64_t inputs = a.weight.inputs(), between = a.weight.outputs(), outputs = b.weight.outputs();
  const float *x = run.f32(first.in[0]), *residual = run.f32(second.in[1]);
  float* y = run.out(second);
  chain_.resize(static_cast<size_t>(pool_.threads()));

  find_centres(x, rows, inputs, group, chain_centres_[0]);
  centre_offsets(chain_centres_[0], a, chain_offsets_[0]);
  // The centre of what is between the layers, from a few rows of each group.
  Centres& middle = chain_centres_[1];
  middle.values.assign(static_cast<size_t>(groups * between), 0.0f);
  std::vector<Codes> samples(static_cast<size_t>(groups));
  const int64_t step = group / kCentreSamples;
  for (int64_t g = 0; g < groups; ++g)
    quantise_rows(x + g * group * inputs, step * inputs, kCentreSamples, inputs, chain_centres_[0].of(g, inputs),
                  samples[static_cast<size_t>(g)]);
  pool_.run(a.weight.panels(), [&](int64_t p, int thread) {
    alignas(64) int32_t sums[kPanel];
    alignas(64) float part[kCentreSamples * kPanel] = {};
    const PanelCodes panel = panel_codes(a.weight, p, thread, sums);
    const int columns = static_cast<int>(std::min<int64_t>(kPanel, between - p * kPanel));
    for (int64_t g = 0; g < groups; ++g) {
      code_rows(samples[static_cast<size_t>(g)], 0, kCentreSamples, panel,
                {.y = part,
                 .y_stride = kPanel,
                 .columns = columns,
                 .bias = offset_of(chain_offsets_[0], a, g, p),
                 .residual = nullptr,
                 .activation = first.activation});
      for (int64_t r = 0; r < kCentreSamples; ++r)
        for (int j = 0; j < columns; ++j)
          middle.values[static_cast<size_t>(g * between + p * kPanel + j)] += part[r * kPanel + j] / kCentreSamples;
    }
  });
  encode_centres(middle, groups, between);
  centre_offsets(middle, b, chain_offsets_[1]);

  const int64_t blocks = (group + kChainRows - 1) / kChainRows;
  pool_.run(groups * blocks, [&](int64_t i, int thread) {
    const int64_t g = i / blocks, row = g * group + i % blocks * kChainRows,
                  n = std::min(kChainRows, group - i % blocks * kChainRows);
    ChainScratch& scratch = chain_[static_cast<size_t>(thread)];
    float* hidden = grow(scratch.between, static_cast<size_t>(kChainRows * between) * sizeof(float));
    alignas(64) int32_t sums[kPanel];
    const auto layer = [&](const Linear& linear, const Codes& codes, const Buffer& offsets, float* out,
                           const float* add, Activation activation) {
      for (int64_t p = 0; p < linear.weight.panels(); ++p)
        code_rows(codes, 0, n, panel_codes(linear.weight, p, thread, sums),
                  {.y = out + p * kPanel,
                   .y_stride = linear.weight.outputs(),
                   .columns = static_cast<int>(std::min<int64_t>(kPanel, linear.weight.outputs() - p * kPanel)),
                   .bias = offset_of(offsets, linear, g, p),
                   .residual = add ? add + p * kPanel : nullptr,
                   .activation = activation});
    };
    quantise_rows(x + row * inputs, inputs, n, inputs, chain_centres_[0].of(g, inputs), scratch.codes);
    layer(a, scratch.codes, chain_offsets_[0], hidden, nullptr, first.activation);
    quantise_rows(hidden, between, n, between, middle.of(g, between), scratch.codes);
    layer(b, scratch.codes, chain_offsets_[1], y + row * outputs, residual ? residual + row * outputs : nullptr,
          second.activation);
  });
}

void Executor::linears(std::span<const LinearCall> calls) {
  const int64_t rows = calls[0].rows;
  offsets_.resize(std::max(offsets_.size(), calls.size()));
  std::vector<LinearTask> tasks;
  tasks.reserve(64);
  int64_t all_panels = 0;
  for (const LinearCall& call : calls) all_panels += call.op->linear->weight.panels();
  bool in_codes = false, in_groups = false, others = false;
  for (const LinearCall& call : calls) {
    const PackedMatrix& w = call.op->linear->weight;
    const bool grouped = w.format() == WeightFormat::kQ4 && rows <= 2 * kFourBitRows;
    (grouped ? in_groups : in_codes) |= w.in_codes();
    others |= !grouped;
    // A block of rows stays in the second-level cache while the panels of weights pass by.
    const int64_t bytes = w.inputs() * (w.in_codes() ? 1 : 4), step = w.in_codes() ? kDotRows : 12;
    int64_t row_block = std::clamp<int64_t>((512 << 10) / bytes / step * step, step, 240);
    if (w.format() == WeightFormat::kQ4) row_block = rows;  // a panel is widened once for all
    const int64_t row_blocks = (rows + row_block - 1) / row_block, panels = w.panels();
    const int64_t panel_block = row_blocks == 1
                                    ? even_block(all_panels, pool_.threads())
                                    : std::clamp<int64_t>(row_blocks * panels / (4 * pool_.threads()), 1, kMostPanels);
    const int64_t run_of_rows = call.group && w.in_codes() ? call.group : rows;  // a block has one centre
    for (int64_t row = 0; row < rows; row += std::min(row_block, run_of_rows - row % run_of_rows))
      for (int64_t p = 0; p < panels; p += panel_block)
        tasks.push_back(
            {.layer = call.op->linear,
             .x = call.x,
             .residual = call.residual,
             .y = call.y,
             .activation = call.op->activation,
             .in_groups = grouped,
             .offsets = call.group && w.in_codes() ? &offsets_[static_cast<size_t>(&call - calls.data())] : nullptr,
             .row = row,
             .rows = std::min(row_block, run_of_rows - row % run_of_rows),
             .first_panel = p,
             .last_panel = std::min(panels, p + panel_block)});
  }
  // Layers in different formats may share an input: those that need it in the other kind of codes wait for their turn.
  for (const bool grouped : {false, true}) {
    if (grouped ? !in_groups : !others) continue;
    if (grouped || in_codes) quantise(calls[0], calls[0].op->linear->weight.inputs(), grouped);
    std::vector<LinearTask> part;
    const auto is_mine = [&](const LinearTask& task) { return task.in_groups == grouped; };
    if (in_groups && others) std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(part), is_mine);
    const std::vector<LinearTask>& mine = in_groups && others ? part : tasks;
    for (size_t i = 0; i < calls.size(); ++i)
      if (!grouped && calls[i].group && calls[i].op->linear->weight.in_codes())
        centre_offsets(codes_.centres, *calls[i].op->linear, offsets_[i]);
    pool_.run(static_cast<int64_t>(mine.size()), [&](int64_t i, int thread) {
      const LinearTask& task = mine[static_cast<size_t>(i)];
      if (!task.layer->weight.in_codes()) return float_task(task);
      grouped ? group_task(task, thread) : code_task(task, thread);
    });
  }
}

void Executor::float_task(const LinearTask& t) {
  const PackedMatrix& w = t.layer->weight;
  const auto gemm = w.format() == WeightFormat::kBF16 ? kernels_.gemm_bf16 : kernels_.gemm_f32;
  for (int64_t p = t.first_panel; p < t.last_panel; ++p)
    gemm({.x = t.x + t.row * w.inputs(),
          .x_stride = w.inputs(),
          .rows = t.rows,
          .depth = w.inputs(),
          .panel = w.panel(p),
          .y = t.y + t.at(t.row, p),
          .y_stride = w.outputs(),
          .columns = t.columns(p),
          .bias = t.bias(p),
          .residual = t.residual ? t.residual + t.at(t.row, p) : nullptr,
          .activation = t.activation});
}

Executor::PanelCodes Executor::panel_codes(const PackedMatrix& w, int64_t p, int thread, int32_t* sums) {
  if (w.format() != WeightFormat::kQ4) return {reinterpret_cast<const int8_t*>(w.panel(p)), w.scales(p), w.sums(p)};
  const int64_t groups = filled(w.inputs(), kGroup) / kGroup;
  auto* wide = reinterpret_cast<int8_t*>(
      grow(scratch_[static_cast<size_t>(thread)], static_cast<size_t>(groups * kGroup * kPanel)));
  kernels_.integer->widen(w.panel(p), groups, w.scales(p), wide, sums);
  return {wide, w.scales(p), sums};
}

void Executor::code_rows(const Codes& codes, int64_t first, int64_t rows, const PanelCodes& panel,
                         const PanelOutput& out) {
  alignas(64) int32_t acc[kDotRows * kPanel];
  for (int64_t r = 0; r < rows; r += kDotRows) {
    const int n = static_cast<int>(std::min<int64_t>(kDotRows, rows - r));
    const auto row = static_cast<size_t>(first + r);
    kernels_.dot->signed_panel(codes.codes.data() + (first + r) * codes.row_bytes, n, codes.row_bytes / kQuad,
                               panel.codes, acc);
    kernels_.integer->finish({.acc = acc,
                              .values = nullptr,
                              .rows = n,
                              .x_scale = &codes.scale[row],
                              .x_zero = &codes.zero[row],
                              .w_scale = panel.scales,
                              .w_sum = panel.sums,
                              .y = out.y + r * out.y_stride,
                              .y_stride = out.y_stride,
                              .columns = out.columns,
                              .bias = out.bias,
                              .residual = out.residual ? out.residual + r * out.y_stride : nullptr,
                              .activation = out.activation});
  }
}

void Executor::code_task(const LinearTask& t, int thread) {
  const PackedMatrix& w = t.layer->weight;
  alignas(64) int32_t sums[kPanel];
  for (int64_t p = t.first_panel; p < t.last_panel; ++p)
    code_rows(codes_, t.row, t.rows, panel_codes(w, p, thread, sums),
              {.y = t.y + t.at(t.row, p),
               .y_stride = w.outputs(),
               .columns = t.columns(p),
               .bias = t.offsets ? offset_of(*t.offsets, *t.layer, t.row / codes_.group, p) : t.bias(p),
               .residual = t.residual ? t.residual + t.at(t.row, p) : nullptr,
               .activation = t.activation});
}

void Executor::group_task(const LinearTask& t, int) {
  const PackedMatrix& w = t.layer->weight;
  const int64_t groups = codes_.row_bytes / kGroup;
  alignas(64) float values[kFourBitRows * kPanel];
  for (int64_t p = t.first_panel; p < t.last_panel; ++p)
    for (int64_t r = t.row; r < t.row + t.rows; r += kFourBitRows) {
      const int rows = static_cast<int>(std::min<int64_t>(kFourBitRows, t.row + t.rows - r));
      const auto first = static_cast<size_t>(r * groups);
      kernels_.dot->four_bit(reinterpret_cast<const int8_t*>(codes_.codes.data()) + r * codes_.row_bytes,
                             &codes_.scale[first], &codes_.zero[first], rows, groups, w.panel(p), values);
      kernels_.integer->finish({.acc = nullptr,
                                .values = values,
                                .rows = rows,
                                .x_scale = nullptr,
                                .x_zero = nullptr,
                                .w_scale = nullptr,
                                .w_sum = nullptr,
                                .y = t.y + t.at(r, p),
                                .y_stride = w.outputs(),
                                .columns = t.columns(p),
                                .bias = t.bias(p),
                                .residual = t.residual ? t.residual + t.at(r, p) : nullptr,
                                .activation = t.activation});
    }
}

void Executor::quantise(const LinearCall& call, int64_t width, bool in_groups) {
  const int64_t rows = call.rows, group = in_groups ? 0 : call.group, tile = in_groups ? kFourBitRows : kDotRows;
  if (call.value && codes_.value == call.value.id && codes_.in_groups == in_groups && codes_.group == group) return;
  const float* x = call.x;
  codes_.value = call.value.id;
  codes_.in_groups = in_groups;
  codes_.group = group;
  codes_.row_bytes = filled(width, in_groups ? kGroup : kQuad);
  const int64_t groups = in_groups ? codes_.row_bytes / kGroup : 1;
  grow(codes_.codes, static_cast<size_t>(rows * codes_.row_bytes));
  codes_.scale.resize(std::max(codes_.scale.size(), static_cast<size_t>(rows * groups)));
  codes_.zero.resize(codes_.scale.size());
  if (group) find_centres(x, rows, width, group, codes_.centres);
  // Tiles begin anew with each group, as its blocks of rows do.
  const int64_t run_of_rows = group ? group : rows, tiles = (run_of_rows + tile - 1) / tile;
  const auto one_tile = [&](int64_t i, int) {
    const int64_t first = i / tiles * run_of_rows + i % tiles * tile,
                  n = std::min(tile, run_of_rows - i % tiles * tile);
    std::byte* out = codes_.codes.data() + first * codes_.row_bytes;
    if (!in_groups)
      return kernels_.integer->quantise(x + first * width, width, static_cast<int>(n),
                                        group ? codes_.centres.of(first / group, width) : nullptr, width,
                                        kernels_.dot->x_offset, out, &codes_.scale[static_cast<size_t>(first)],
                                        &codes_.zero[static_cast<size_t>(first)]);
    for (int64_t r = 0; r < n; ++r) {
      const auto at = static_cast<size_t>(first * groups + r);
      kernels_.integer->quantise_groups(x + (first + r) * width, width, reinterpret_cast<int8_t*>(out) + r * kQuad,
                                        n * kQuad, &codes_.scale[at], &codes_.zero[at], static_cast<int>(n));
    }
  };
  const int64_t all = rows / run_of_rows * tiles;
  if (all <= 2)
    for (int64_t t = 0; t < all; ++t) one_tile(t, 0);
  else
    pool_.run(all, one_tile);
}

void Executor::quantise_rows(const float* x, int64_t stride, int64_t rows, int64_t width, const float* centre,
                             Codes& out) const {
  out.row_bytes = filled(width, kQuad);
  grow(out.codes, static_cast<size_t>(rows * out.row_bytes));
  out.scale.resize(std::max(out.scale.size(), static_cast<size_t>(rows)));
  out.zero.resize(out.scale.size());
  for (int64_t r = 0; r < rows; r += kDotRows)
    kernels_.integer->quantise(x + r * stride, stride, static_cast<int>(std::min<int64_t>(kDotRows, rows - r)), centre,
                               width, kernels_.dot->x_offset, out.codes.data() + r * out.row_bytes,
                               &out.scale[static_cast<size_t>(r)], &out.zero[static_cast<size_t>(r)]);
}

void Executor::find_centres(const float* x, int64_t rows, int64_t width, int64_t group, Centres& out) {
  const int64_t groups = rows / group, used = (group + kCentreEvery - 1) / kCentreEvery;
  out.values.assign(static_cast<size_t>(groups * width), 0.0f);
  for (int64_t g = 0; g < groups; ++g) {
    float* centre = &out.values[static_cast<size_t>(g * width)];
    for (int64_t r = 0; r < group; r += kCentreEvery) kernels_.add(centre, x + (g * group + r) * width, width, centre);
    for (int64_t i = 0; i < width; ++i) centre[i] /= static_cast<float>(used);
  }
  encode_centres(out, groups, width);
}

void Executor::encode_centres(Centres& centres, int64_t groups, int64_t width) const {
  centres.groups = groups;
  centres.row_bytes = filled(width, kQuad);
  grow(centres.codes, static_cast<size_t>(groups * 2 * centres.row_bytes));
  centres.scale.resize(static_cast<size_t>(2 * groups));
  centres.zero.resize(static_cast<size_t>(2 * groups));
  std::vector<float> rest(static_cast<size_t>(width));
  std::vector<std::byte> row(static_cast<size_t>(centres.row_bytes));
  for (int64_t g = 0; g < groups; ++g) {
    std::copy_n(centres.of(g, width), width, rest.begin());
    for (int pass = 0; pass < 2; ++pass) {
      const auto at = static_cast<size_t>(2 * g + pass);
      kernels_.integer->quantise(rest.data(), width, 1, nullptr, width, kernels_.dot->x_offset, row.data(),
                                 &centres.scale[at], &centres.zero[at]);
      std::byte* codes = centres.codes.data() + g * 2 * centres.row_bytes + pass * kQuad;
      for (int64_t q = 0; q < centres.row_bytes / kQuad; ++q)
        std::memcpy(codes + q * 2 * kQuad, &row[static_cast<size_t>(q * kQuad)], kQuad);
      const auto code = [&](int64_t i) {
        const std::byte b = row[static_cast<size_t>(i)];
        return kernels_.dot->x_offset ? static_cast<int32_t>(static_cast<int8_t>(b))
                                      : static_cast<int32_t>(static_cast<uint8_t>(b));
      };
      for (int64_t i = 0; i < width; ++i)
        rest[static_cast<size_t>(i)] -= centres.scale[at] * static_cast<float>(code(i) - centres.zero[at]);
    }
  }
}

void Executor::centre_offsets(const Centres& centres, const Linear& layer, Buffer& out) {
  const PackedMatrix& w = layer.weight;
  grow(out, static_cast<size_t>(centres.groups * w.panels() * kPanel) * sizeof(float));
  pool_.run(w.panels(), [&](int64_t p, int thread) {
    alignas(64) int32_t acc[2 * kPanel], sums[kPanel];
    alignas(64) float both[2 * kPanel];
    const PanelCodes panel = panel_codes(w, p, thread, sums);
    for (int64_t g = 0; g < centres.groups; ++g) {
      kernels_.dot->signed_panel(centres.codes.data() + g * 2 * centres.row_bytes, 2, centres.row_bytes / kQuad,
                                 panel.codes, acc);
      kernels_.integer->finish({.acc = acc,
                                .values = nullptr,
                                .rows = 2,
                                .x_scale = &centres.scale[static_cast<size_t>(2 * g)],
                                .x_zero = &centres.zero[static_cast<size_t>(2 * g)],
                                .w_scale = panel.scales,
                                .w_sum = panel.sums,
                                .y = both,
                                .y_stride = kPanel,
                                .columns = kPanel,
                                .bias = nullptr,
                                .residual = nullptr,
                                .activation = Activation::kNone});
      float* offset = out.f32() + (g * w.panels() + p) * kPanel;
      for (int64_t j = 0; j < kPanel; ++j) {
        const bool has_bias = layer.bias.bytes() && p * kPanel + j < w.outputs();
        offset[j] = both[j] + both[kPanel + j] + (has_bias ? layer.bias.f32()[p * kPanel + j] : 0);
      }
    }
  });
}

const float* Executor::offset_of(const Buffer& offsets, const Linear& layer, int64_t group, int64_t panel) {
  return offsets.f32() + (group * layer.weight.panels() + panel) * kPanel;
}

void Executor::attention_in_codes(Run& run, const Op& op) {
  const int64_t rows = run.shape(op.output)[0], width = run.shape(op.output)[1], group = op.group;
  const int64_t heads = rows / group * op.heads;
  const int64_t head_bytes = filled(IntHead::bytes(group, op.head_dim), 64);
  grow(pages_, static_cast<size_t>(heads * head_bytes));
  for (Buffer& scratch : scratch_) grow(scratch, static_cast<size_t>(attend_int_scratch_bytes(group, op.head_dim)));
  std::vector<IntHead> prepared(static_cast<size_t>(heads));
  const auto at = [&](int64_t head, int64_t row) {
    return (head / op.heads * group + row) * width + head % op.heads * op.head_dim;
  };
  pool_.run(heads, [&](int64_t h, int thread) {
    std::byte* memory = pages_.data() + h * head_bytes;
    const int64_t codes = filled(group, kQuad) * op.head_dim;
    IntHead& head = prepared[static_cast<size_t>(h)];
    head = {.keys = group,
            .head_dim = op.head_dim,
            .k = memory,
            .v = reinterpret_cast<int8_t*>(memory + codes),
            .v_scale = reinterpret_cast<float*>(memory + 2 * codes),
            .v_mean = reinterpret_cast<float*>(memory + 2 * codes) + std::max(op.head_dim, 8),
            .k_scale = 1};
    kernels_.integer->prepare_head(*kernels_.dot, run.f32(op.in[1]) + at(h, 0), run.f32(op.in[2]) + at(h, 0), width,
                                   head, scratch_[static_cast<size_t>(thread)].data());
  });
  const int64_t blocks = (group + kAttendQueries - 1) / kAttendQueries;
  pool_.run(heads * blocks, [&](int64_t i, int thread) {
    const int64_t h = i / blocks, row = i % blocks * kAttendQueries;
    kernels_.integer->attend(*kernels_.dot, prepared[static_cast<size_t>(h)], run.f32(op.in[0]) + at(h, row), width,
                             static_cast<int>(std::min<int64_t>(kAttendQueries, group - row)),
                             1.0f / std::sqrt(static_cast<float>(op.head_dim)), run.out(op) + at(h, row), width,
                             scratch_[static_cast<size_t>(thread)].data());
  });
}

void Executor::attend_all(std::vector<AttendBlock>& blocks, int64_t scratch_floats) {
  for (Buffer& scratch : scratch_)
    if (scratch.bytes() < static_cast<size_t>(scratch_floats) * sizeof(float))
      scratch = Buffer(static_cast<size_t>(scratch_floats) * sizeof(float));
  pool_.run(static_cast<int64_t>(blocks.size()), [&](int64_t i, int thread) {
    AttendBlock& block = blocks[static_cast<size_t>(i)];
    block.scratch = scratch_[static_cast<size_t>(thread)].f32();
    kernels_.attend(block);
  });
}

void Executor::attention(Run& run, const Op& op) {
  const int64_t rows = run.shape(op.output)[0], width = run.shape(op.output)[1], group = op.group;
  const int64_t pages = (group + kKvPage - 1) / kKvPage;
  const KvLayout layout = {.layers = 1, .kv_heads = 1, .head_dim = op.head_dim};
  const int64_t heads = rows / group * op.heads;  // one head of one group is independent of all others
  const size_t bytes = static_cast<size_t>(heads * pages * layout.head_bytes());
  if (pages_.bytes() < bytes) {
    pages_ = Buffer();
    pages_ = Buffer(bytes);
    std::memset(pages_.data(), 0, bytes);  // keys beyond the last are read, then masked
  }
  std::vector<KvPageView> views(static_cast<size_t>(heads * pages));
  pool_.run(heads, [&](int64_t head, int) {
    for (int64_t p = 0; p < pages; ++p) {
      std::byte* keys = pages_.data() + (head * pages + p) * layout.head_bytes();
      std::byte* values = keys + layout.keys_bytes();
      for (int64_t i = p * kKvPage; i < std::min(group, (p + 1) * kKvPage); ++i) {
        const int64_t at = (head / op.heads * group + i) * width + head % op.heads * op.head_dim;
        kernels_.put_kv(run.f32(op.in[1]) + at, run.f32(op.in[2]) + at, op.head_dim, DType::kF32,
                        static_cast<int>(i % kKvPage), keys, values);
      }
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
                        .kv = DType::kF32,
                        .pages = &views[static_cast<size_t>(head * pages)],
                        .visible = visible.data(),
                        .out = run.out(op) + at,
                        .out_stride = width,
                        .scratch = nullptr});
    }
  }
  attend_all(blocks, attend_scratch_floats(group, op.head_dim));
}

void Executor::cached_attention(Run& run, const Op& op) {
  const Bindings& b = run.bindings;
  const int64_t rows = run.shape(op.output)[0], kv_width = int64_t{op.kv_heads} * op.head_dim;
  ONSIGHT_CHECK(static_cast<int64_t>(b.positions.size()) == rows && static_cast<int64_t>(b.sequences.size()) == rows);
  const auto put_head = [&](int64_t head, int) {
    for (int64_t r = 0; r < rows; ++r) {
      KvCache& cache = *b.caches[static_cast<size_t>(b.sequences[r])];
      const int64_t page = b.positions[r] / kKvPage, at = r * kv_width + head * op.head_dim;
      kernels_.put_kv(run.f32(op.in[1]) + at, run.f32(op.in[2]) + at, op.head_dim, cache.layout().dtype,
                      b.positions[r] % kKvPage, cache.keys(op.layer, static_cast<int>(head), page),
                      cache.values(op.layer, static_cast<int>(head), page));
    }
  };
  if (rows <= kExactRows)
    for (int64_t head = 0; head < op.kv_heads; ++head) put_head(head, 0);
  else
    pool_.run(op.kv_heads, put_head);

  // Rows of one sequence that follow each other: a few are decoded, many are a prompt.
  std::vector<RowRun> few, many;
  for (int64_t first = 0; first < rows;) {
    int64_t end = first + 1;
    while (end < rows && b.sequences[end] == b.sequences[first]) ++end;
    (end - first <= kExactRows ? few : many).push_back({first, end});
    first = end;
  }
  if (!few.empty()) attend_by_pages(run, op, few);
  if (!many.empty()) attend_by_rows(run, op, many);
}

void Executor::attend_by_pages(Run& run, const Op& op, std::span<const RowRun> runs) {
  const Bindings& b = run.bindings;
  const int64_t width = run.shape(op.output)[1], value_stride = kv_value_stride(op.head_dim);
  const int queries = op.heads / op.kv_heads;  // query heads that share one key head
  const auto pages_of = [&](int64_t row) { return b.positions[row] / kKvPage + 1; };
  struct PageTask {
    RowRun rows;
    int64_t page, pages;
    float* parts;  // [row][head]: largest [pages], sum [pages], mixed [pages, value_stride]
  };
  const int64_t part_floats = 2 + value_stride;
  std::vector<PageTask> tasks;
  int64_t floats = 0;
  for (const RowRun& rows : runs) floats += (rows.end - rows.first) * op.heads * pages_of(rows.end - 1) * part_floats;
  float* parts = grow(parts_, static_cast<size_t>(floats) * sizeof(float));
  for (const RowRun& rows : runs) {
    const int64_t pages = pages_of(rows.end - 1);
    for (int64_t p = 0; p < pages; ++p) tasks.push_back({rows, p, pages, parts});
    parts += (rows.end - rows.first) * op.heads * pages * part_floats;
  }
  // All heads of a page lie one after the other, and so do the pages that a thread begins with.
  pool_.run(static_cast<int64_t>(tasks.size()), [&](int64_t i, int) {
    const PageTask& task = tasks[static_cast<size_t>(i)];
    const KvCache& cache = *b.caches[static_cast<size_t>(b.sequences[task.rows.first])];
    for (int h = 0; h < op.kv_heads; ++h)
      for (int64_t r = task.rows.first; r < task.rows.end; ++r) {
        const int64_t visible = std::min<int64_t>(kKvPage, b.positions[r] + 1 - task.page * kKvPage);
        if (visible <= 0) continue;
        float* part = task.parts +
                      ((r - task.rows.first) * op.heads + int64_t{h} * queries) * task.pages * part_floats + task.page;
        kernels_.attend_page({.q = run.f32(op.in[0]) + r * width + int64_t{h} * queries * op.head_dim,
                              .rows = queries,
                              .head_dim = op.head_dim,
                              .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                              .kv = cache.layout().dtype,
                              .page = cache.view(op.layer, h, task.page),
                              .visible = static_cast<int>(visible),
                              .largest = part,
                              .sum = part + task.pages,
                              .stride = task.pages * part_floats,
                              .mixed = part - task.page + 2 * task.pages + task.page * value_stride,
                              .mixed_stride = task.pages * part_floats});
      }
  });
  for (size_t i = 0; i < tasks.size(); i += static_cast<size_t>(tasks[i].pages)) {
    const PageTask& task = tasks[i];
    const auto merge = [&](int64_t n, int) {
      const int64_t r = task.rows.first + n / op.heads;
      float* part = task.parts + n * task.pages * part_floats;
      kernels_.merge_pages(part, part + task.pages, part + 2 * task.pages, pages_of(r), op.head_dim,
                           run.out(op) + r * width + n % op.heads * op.head_dim);
    };
    const int64_t merges = (task.rows.end - task.rows.first) * op.heads;
    constexpr int64_t kWorthSharing = 4096;  // pages: some ten microseconds
    if (merges * task.pages >= kWorthSharing)
      pool_.run(merges, merge);
    else
      for (int64_t n = 0; n < merges; ++n) merge(n, 0);
  }
}

void Executor::attend_by_rows(Run& run, const Op& op, std::span<const RowRun> runs) {
  const Bindings& b = run.bindings;
  const int64_t width = run.shape(op.output)[1];
  std::vector<int32_t> visible(b.positions.size());
  int64_t longest = 1;
  std::vector<std::vector<KvPageView>> views;  // [run, head]
  std::vector<AttendBlock> blocks;
  for (const RowRun& rows : runs) {
    const KvCache& cache = *b.caches[static_cast<size_t>(b.sequences[rows.first])];
    for (int64_t r = rows.first; r < rows.end; ++r) {
      visible[static_cast<size_t>(r)] = b.positions[r] + 1;
      longest = std::max<int64_t>(longest, b.positions[r] + 1);
    }
    for (int h = 0; h < op.kv_heads; ++h) {
      std::vector<KvPageView>& list = views.emplace_back();
      for (int64_t p = 0; p * kKvPage < cache.length(); ++p) list.push_back(cache.view(op.layer, h, p));
    }
    const size_t first_view = views.size() - static_cast<size_t>(op.kv_heads);
    for (int64_t first = rows.first; first < rows.end; first += kAttendRows)
      for (int h = 0; h < op.heads; ++h) {
        const int64_t at = first * width + int64_t{h} * op.head_dim;
        blocks.push_back({.q = run.f32(op.in[0]) + at,
                          .q_stride = width,
                          .rows = static_cast<int>(std::min<int64_t>(kAttendRows, rows.end - first)),
                          .head_dim = op.head_dim,
                          .scale = 1.0f / std::sqrt(static_cast<float>(op.head_dim)),
                          .kv = cache.layout().dtype,
                          .pages = views[first_view + static_cast<size_t>(h / (op.heads / op.kv_heads))].data(),
                          .visible = &visible[static_cast<size_t>(first)],
                          .out = run.out(op) + at,
                          .out_stride = width,
                          .scratch = nullptr});
      }
  }
  attend_all(blocks, attend_scratch_floats(longest, op.head_dim));
}

}  // namespace onsight::compute
