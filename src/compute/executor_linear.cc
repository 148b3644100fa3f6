// The executor's linear layers: in floats, in codes, and chains of two.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "compute/executor_run.h"
#include "compute/kernels/integer.h"
#include "compute/kernels/pairs.h"

namespace onsight::compute {

namespace {
constexpr int64_t kChainRows = 32;   // of a chain of two layers: what is between them stays in a second-level cache
constexpr int64_t kCentreEvery = 8;  // rows: any point near the middle serves, since what is taken out comes back
constexpr int64_t kCentreSamples = kDotRows;  // rows that the centre between the layers of a chain is found with

constexpr int64_t kMostPanels = 8;  // a task
constexpr int64_t kMostRows = 240;  // likewise
constexpr int64_t kTasks = 64;      // a thread, where rows are many: the last of them is waited for
constexpr int64_t kWorthRows = 64;  // a thread: fewer rows share their weights rather than their time
constexpr int64_t kPairDepth =
    768;  // inputs at a time of a layer in bf16: rows and weights stay in a second-level cache

// Panels a task such that every thread gets as many, but for a fiftieth, in some tasks.
int64_t even_block(int64_t panels, int threads) {
  const int64_t share = (panels + threads - 1) / threads;
  int64_t block = std::clamp<int64_t>(share / 3, 1, kMostPanels);
  while ((filled(share, block) - share) * 50 > share) --block;
  return block;
}

// Rows a task, at most so many, such that every thread gets as many rows. Its own are then the same ones in every op,
// and stay in its cache.
int64_t even_rows(int64_t rows, int64_t most, int threads) {
  if (rows <= most && rows < kWorthRows * threads) return rows;
  const int64_t blocks = filled((rows + most - 1) / most, threads);
  return filled((rows + blocks - 1) / blocks, kDotRows);
}

// 4-bit codes are multiplied group by group where rows are few, and widened for all of them where they are many.
constexpr int64_t kGroupedRows = 2 * kFourBitRows;

}  // namespace

int64_t exact_rows(const Graph& graph) {
  int64_t rows = std::numeric_limits<int64_t>::max();
  for (const Op& op : graph.ops()) {
    if (op.kind != OpKind::kLinear) continue;
    const PackedMatrix& w = op.linear->weight;
    if (!w.in_codes()) return kExactRows;
    if (w.format() == WeightFormat::kQ4) rows = kGroupedRows;
  }
  return rows;
}

bool is_chain(const Graph& graph, size_t first) {
  const std::span<const Op> ops = graph.ops();
  if (first + 1 >= ops.size()) return false;
  const Op &a = ops[first], &b = ops[first + 1];
  if (a.kind != OpKind::kLinear || b.kind != OpKind::kLinear || b.in[0].id != a.output.id || b.in[1].id == a.output.id)
    return false;
  if (!a.linear->weight.in_codes() || !b.linear->weight.in_codes() || a.linear->fine || b.linear->fine ||
      a.group <= kChainRows)
    return false;
  for (size_t i = first + 2; i < ops.size(); ++i)
    for (Value v : ops[i].in)
      if (v.id == a.output.id) return false;
  const auto is_named = [&](const Graph::Named& named) { return named.value.id == a.output.id; };
  return std::none_of(graph.outputs().begin(), graph.outputs().end(), is_named) &&
         std::none_of(graph.observed().begin(), graph.observed().end(), is_named);
}

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
  std::vector<RowCodes> samples(static_cast<size_t>(groups));
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
    const auto layer = [&](const Linear& linear, const RowCodes& codes, const Buffer& offsets, float* out,
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

void Executor::expect_weights(std::span<const Op> layers) {
  int64_t all = 0, tasks = 0;
  for (const Op& op : layers) all += op.linear->weight.panels();
  const int64_t block = even_block(all, pool_.threads());
  const auto tasks_of = [&](const Op& op) { return (op.linear->weight.panels() + block - 1) / block; };
  for (const Op& op : layers) tasks += tasks_of(op);
  for (int thread = 0; thread < pool_.threads(); ++thread) {
    int64_t task = pool_.first_of(tasks, thread);
    size_t i = 0;
    while (task >= tasks_of(layers[i])) task -= tasks_of(layers[i++]);
    const PackedMatrix& w = layers[i].linear->weight;
    pool_.expect(thread, {w.panel(task * block), w.panel(w.panels())});
  }
}

void Executor::linears(std::span<const LinearCall> calls) {
  const int64_t rows = calls[0].rows;
  offsets_.resize(std::max(offsets_.size(), calls.size()));
  std::vector<LinearTask>& tasks = tasks_;
  tasks.clear();
  int64_t all_panels = 0;
  for (const LinearCall& call : calls) all_panels += call.op->linear->weight.panels();
  bool in_codes = false, in_groups = false, others = false;
  const bool fine = calls[0].op->linear->weight.inputs() <= kMostFineInputs &&
                    std::any_of(calls.begin(), calls.end(), [](const LinearCall& c) { return c.op->linear->fine; });
  for (const LinearCall& call : calls) {
    const PackedMatrix& w = call.op->linear->weight;
    const bool grouped = w.format() == WeightFormat::kQ4 && rows <= kGroupedRows;
    (grouped ? in_groups : in_codes) |= w.in_codes();
    others |= !grouped;
    // A block of rows stays in the second-level cache while the panels of weights pass by.
    const int64_t bytes = w.inputs() * (w.in_codes() ? 1 : 4), step = w.in_codes() ? kDotRows : 12;
    int64_t row_block = std::clamp<int64_t>((512 << 10) / bytes / step * step, step, kMostRows);
    const bool in_pairs =
        kernels_.pairs && call.op->linear->rounded && w.format() == WeightFormat::kBF16 && rows > kExactRows;
    if (in_pairs) row_block = kMostRows;
    const bool centred = call.group && w.in_codes() && !fine;
    const int64_t run_of_rows = centred ? call.group : rows;  // a block has one centre
    if (w.format() == WeightFormat::kQ4)
      row_block = rows;  // a panel is widened once for all
    else if (w.in_codes())
      row_block = even_rows(run_of_rows, row_block, pool_.threads());
    const int64_t row_blocks = (rows + row_block - 1) / row_block, panels = w.panels();
    const int64_t panel_block =
        row_blocks == 1 ? even_block(all_panels, pool_.threads())
                        : std::clamp<int64_t>(row_blocks * all_panels / (kTasks * pool_.threads()), 1, kMostPanels);
    for (int64_t row = 0; row < rows; row += std::min(row_block, run_of_rows - row % run_of_rows))
      for (int64_t p = 0; p < panels; p += panel_block)
        tasks.push_back({.layer = call.op->linear,
                         .x = call.x,
                         .residual = call.residual,
                         .y = call.y,
                         .activation = call.op->activation,
                         .in_groups = grouped,
                         .in_pairs = in_pairs,
                         .offsets = centred ? &offsets_[static_cast<size_t>(&call - calls.data())] : nullptr,
                         .row = row,
                         .rows = std::min(row_block, run_of_rows - row % run_of_rows),
                         .first_panel = p,
                         .last_panel = std::min(panels, p + panel_block)});
  }
  if (rows > 1)
    std::stable_sort(tasks.begin(), tasks.end(),
                     [](const LinearTask& a, const LinearTask& b) { return a.row < b.row; });
  // Layers in different formats may share an input: those that need it in the other kind of codes wait for their turn.
  for (const bool grouped : {false, true}) {
    if (grouped ? !in_groups : !others) continue;
    if (grouped || in_codes) quantise(calls[0], calls[0].op->linear->weight.inputs(), grouped, fine && !grouped);
    std::vector<LinearTask> part;
    const auto is_mine = [&](const LinearTask& task) { return task.in_groups == grouped; };
    if (in_groups && others) std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(part), is_mine);
    const std::vector<LinearTask>& mine = in_groups && others ? part : tasks;
    for (size_t i = 0; i < calls.size(); ++i)
      if (!grouped && codes_.group && calls[i].op->linear->weight.in_codes())
        centre_offsets(codes_.centres, *calls[i].op->linear, offsets_[i]);
    pool_.run(static_cast<int64_t>(mine.size()), [&](int64_t i, int thread) {
      const LinearTask& task = mine[static_cast<size_t>(i)];
      if (task.in_pairs) return pair_task(task, thread);
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

void Executor::pair_task(const LinearTask& t, int thread) {
  const PackedMatrix& w = t.layer->weight;
  const int64_t depth = std::min(kPairDepth, filled(w.inputs(), 2)), panels = t.last_panel - t.first_panel;
  const int64_t sums = panels * t.rows * kPanel;
  float* y = grow(
      scratch_[static_cast<size_t>(thread)],
      static_cast<size_t>(sums) * sizeof(float) + static_cast<size_t>((t.rows + kPanel) * depth) * sizeof(uint16_t));
  auto* x = reinterpret_cast<uint16_t*>(y + sums);
  uint16_t* panel = x + t.rows * depth;
  for (int64_t k = 0; k < w.inputs(); k += depth) {
    const int64_t n = std::min(depth, w.inputs() - k);
    for (int64_t r = 0; r < t.rows; ++r) {
      kernels_.round_bf16(t.x + (t.row + r) * w.inputs() + k, n, x + r * depth);
      if (n % 2) x[r * depth + n] = 0;
    }
    for (int64_t p = 0; p < panels; ++p) {
      const std::byte* weights = w.panel(t.first_panel + p) + bytes_of(DType::kBF16, k * kPanel);
      const auto row = [&](int64_t i) { return i < n ? weights + bytes_of(DType::kBF16, i * kPanel) : nullptr; };
      for (int64_t i = 0; i < n; i += 2)
        kernels_.interleave(DType::kBF16, row(i), row(i + 1), kPanel, panel + i * kPanel);
      for (int64_t r = 0; r < t.rows; r += kPairRows)
        kernels_.pairs->tile({.x = x + r * depth,
                              .x_stride = depth,
                              .rows = static_cast<int>(std::min<int64_t>(kPairRows, t.rows - r)),
                              .pairs = (n + 1) / 2,
                              .panel = panel,
                              .panel_stride = 2 * kPanel,
                              .y = y + (p * t.rows + r) * kPanel,
                              .y_stride = kPanel,
                              .add = k > 0});
    }
  }
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t at = t.first_panel + p;
    finish_values(y + p * t.rows * kPanel, t.rows, 0,
                  {.y = t.y + t.at(t.row, at),
                   .y_stride = w.outputs(),
                   .columns = t.columns(at),
                   .bias = t.bias(at),
                   .residual = t.residual ? t.residual + t.at(t.row, at) : nullptr,
                   .activation = t.activation});
  }
}

Executor::PanelCodes Executor::panel_codes(const PackedMatrix& w, int64_t p, int thread, int32_t* sums) {
  if (w.format() != WeightFormat::kQ4) return {reinterpret_cast<const int8_t*>(w.panel(p)), w.scales(p), w.sums(p)};
  const int64_t groups = filled(w.inputs(), kGroup) / kGroup;
  auto* wide = reinterpret_cast<int8_t*>(
      grow(scratch_[static_cast<size_t>(thread)], static_cast<size_t>(groups * kGroup * kPanel)));
  kernels_.integer->widen(w.panel(p), groups, w.scales(p), wide, sums);
  return {wide, w.scales(p), sums};
}

const int8_t* Executor::widened_fine(const PackedMatrix& w, int64_t p, int thread) {
  const int64_t quads = filled(w.inputs(), kQuad) / kQuad;
  auto* wide = reinterpret_cast<int8_t*>(
      grow(scratch_[static_cast<size_t>(thread)], static_cast<size_t>(quads * kQuad * kPanel)));
  kernels_.integer->widen_fine(w.fine_panel(p), quads, wide);
  return wide;
}

namespace {

// Asks for the memory that a tile's outputs go to, rows that lie far apart, while its dots are computed.
void prefetch_outputs(float* y, const float* residual, int64_t stride, int rows, int columns) {
  constexpr int kLineFloats = 16;
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; j += kLineFloats) {
      __builtin_prefetch(y + r * stride + j, 1);
      if (residual) __builtin_prefetch(residual + r * stride + j);
    }
}

}  // namespace

void Executor::code_rows(const RowCodes& codes, int64_t first, int64_t rows, const PanelCodes& panel,
                         const PanelOutput& out) {
  alignas(64) int32_t acc[kDotRows * kPanel], fine[kDotRows * kPanel], rest[kDotRows * kPanel];
  int32_t zeros[kDotRows];
  const int64_t quads = codes.row_bytes / kQuad;
  for (int64_t r = 0; r < rows; r += kDotRows) {
    const int n = static_cast<int>(std::min<int64_t>(kDotRows, rows - r));
    const auto row = static_cast<size_t>(first + r);
    const int64_t at = (first + r) * codes.row_bytes;
    const std::byte* x = codes.codes.data() + at;
    DotFinish finish = out.from(r, n);
    prefetch_outputs(finish.y, finish.residual, finish.y_stride, n, finish.columns);
    kernels_.dot->signed_panel(x, n, quads, panel.codes, acc);
    finish.acc = acc;
    finish.x_scale = &codes.scale[row];
    finish.x_zero = &codes.zero[row];
    finish.w_scale = panel.scales;
    finish.w_sum = panel.sums;
    if (panel.fine) {
      kernels_.dot->fine_panel(x, n, quads, panel.fine, fine);
      finish.fine = fine;
    } else if (panel.wide_fine) {
      kernels_.dot->signed_panel(x, n, quads, panel.wide_fine, fine);
      finish.fine = fine;
    }
    if (panel.with_rest) {
      kernels_.dot->signed_panel(codes.rest.data() + at, n, quads, panel.codes, rest);
      finish.rest = rest;
      for (int i = 0; i < n; ++i) zeros[i] = 2 * codes.zero[row + static_cast<size_t>(i)] + 1;
      finish.x_zero = zeros;
    }
    kernels_.integer->finish(finish);
  }
}

void Executor::code_task(const LinearTask& t, int thread) {
  const PackedMatrix& w = t.layer->weight;
  alignas(64) int32_t sums[kPanel], combined[kPanel];
  alignas(64) float scales[kPanel];
  for (int64_t p = t.first_panel; p < t.last_panel; ++p) {
    PanelCodes panel = panel_codes(w, p, thread, sums);
    const PanelOutput out = {.y = t.y + t.at(t.row, p),
                             .y_stride = w.outputs(),
                             .columns = t.columns(p),
                             .bias = t.offsets ? offset_of(*t.offsets, *t.layer, t.row / codes_.group, p) : t.bias(p),
                             .residual = t.residual ? t.residual + t.at(t.row, p) : nullptr,
                             .activation = t.activation};
    // Of the fine codes rows that share a centre need none: it is in the centre that most of what they have left lies.
    const bool fine_weights = w.format() == WeightFormat::kQ10 && !t.offsets && w.inputs() <= kMostFineInputs,
               fine_inputs = t.layer->fine && codes_.fine;
    if (fine_weights || fine_inputs) {
      for (int j = 0; j < kPanel; ++j) {
        scales[j] = panel.scales[j] / static_cast<float>(fine_inputs ? kRestUnits : kFineUnits);
        // With a rest, zero counts in halves of a step: the rest begins half of one below its code.
        const int units = fine_weights ? kFineUnits : kRestUnits / 2;
        combined[j] = units * panel.sums[j] + (fine_weights ? w.fine_sums(p)[j] : 0);
      }
      panel.scales = scales;
      panel.sums = combined;
      panel.with_rest = fine_inputs;
      if (fine_weights && t.rows <= kDotRows && kernels_.dot->fine_panel)
        panel.fine = w.fine_panel(p);
      else if (fine_weights)
        panel.wide_fine = widened_fine(w, p, thread);
    }
    code_rows(codes_, t.row, t.rows, panel, out);
  }
}

// Outputs [rows, kPanel] that lack bias, activation and residual only, to the rows from `first` on.
void Executor::finish_values(const float* values, int64_t rows, int64_t first, const PanelOutput& out) const {
  DotFinish finish = out.from(first, static_cast<int>(rows));
  finish.values = values;
  kernels_.integer->finish(finish);
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
      finish_values(values, rows, r - t.row,
                    {.y = t.y + t.at(t.row, p),
                     .y_stride = w.outputs(),
                     .columns = t.columns(p),
                     .bias = t.bias(p),
                     .residual = t.residual ? t.residual + t.at(t.row, p) : nullptr,
                     .activation = t.activation});
    }
}

namespace {

// What is left of a row x [width] where its codes stand for it.
void subtract_codes(const DotTiles& dot, float* x, int64_t width, const std::byte* codes, float scale, int32_t zero) {
  for (int64_t i = 0; i < width; ++i) {
    const int32_t code = dot.x_offset ? static_cast<int32_t>(static_cast<int8_t>(codes[i]))
                                      : static_cast<int32_t>(static_cast<uint8_t>(codes[i]));
    x[i] -= scale * static_cast<float>(code - zero);
  }
}

}  // namespace

void Executor::RowCodes::reserve(int64_t rows, int64_t bytes_a_row, int64_t scales_a_row) {
  row_bytes = bytes_a_row;
  grow(codes, static_cast<size_t>(rows * row_bytes));
  scale.resize(std::max(scale.size(), static_cast<size_t>(rows * scales_a_row)));
  zero.resize(scale.size());
}

void Executor::quantise(const LinearCall& call, int64_t width, bool in_groups, bool fine) {
  const int64_t rows = call.rows, group = in_groups || fine ? 0 : call.group,
                tile = in_groups ? kFourBitRows : kDotRows;
  if (call.value && codes_.value == call.value.id && codes_.in_groups == in_groups && codes_.fine == fine &&
      codes_.group == group)
    return;
  const float* x = call.x;
  codes_.value = call.value.id;
  codes_.in_groups = in_groups;
  codes_.fine = fine;
  codes_.group = group;
  const int64_t row_bytes = filled(width, in_groups ? kGroup : kQuad), groups = in_groups ? row_bytes / kGroup : 1;
  codes_.reserve(rows, row_bytes, groups);
  if (fine) grow(codes_.rest, static_cast<size_t>(rows * row_bytes));
  if (group) find_centres(x, rows, width, group, codes_.centres);
  // Tiles begin anew with each group, as its blocks of rows do.
  const int64_t run_of_rows = group ? group : rows, tiles = (run_of_rows + tile - 1) / tile;
  const auto one_tile = [&](int64_t i, int) {
    const int64_t first = i / tiles * run_of_rows + i % tiles * tile,
                  n = std::min(tile, run_of_rows - i % tiles * tile);
    std::byte* out = codes_.codes.data() + first * row_bytes;
    if (in_groups) {
      for (int64_t r = 0; r < n; ++r) {
        const auto at = static_cast<size_t>(first * groups + r);
        kernels_.integer->quantise_groups(x + (first + r) * width, width, reinterpret_cast<int8_t*>(out) + r * kQuad,
                                          n * kQuad, &codes_.scale[at], &codes_.zero[at], static_cast<int>(n));
      }
      return;
    }
    const auto at = static_cast<size_t>(first);
    if (!fine)
      return kernels_.integer->quantise(x + first * width, width, static_cast<int>(n),
                                        group ? codes_.centres.of(first / group, width) : nullptr, width,
                                        kernels_.dot->x_offset, out, &codes_.scale[at], &codes_.zero[at]);
    kernels_.integer->quantise_fine(x + first * width, width, static_cast<int>(n), width, kernels_.dot->x_offset, out,
                                    codes_.rest.data() + first * row_bytes, &codes_.scale[at], &codes_.zero[at]);
  };
  const int64_t all = rows / run_of_rows * tiles;
  if (all <= 2)
    for (int64_t t = 0; t < all; ++t) one_tile(t, 0);
  else
    pool_.run(all, one_tile);
}

void Executor::quantise_rows(const float* x, int64_t stride, int64_t rows, int64_t width, const float* centre,
                             RowCodes& out) const {
  out.reserve(rows, filled(width, kQuad));
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
      subtract_codes(*kernels_.dot, rest.data(), width, row.data(), centres.scale[at], centres.zero[at]);
    }
  }
}

void Executor::centre_offsets(const Centres& centres, const Linear& layer, Buffer& out) {
  const PackedMatrix& w = layer.weight;
  grow(out, static_cast<size_t>(centres.groups * w.panels() * kPanel) * sizeof(float));
  pool_.run(w.panels(), [&](int64_t p, int thread) {
    alignas(64) int32_t acc[2 * kPanel], sums[kPanel];
    alignas(64) float both[2 * kPanel], scales[kPanel];
    const PanelCodes panel = panel_codes(w, p, thread, sums);
    const bool fine = w.format() == WeightFormat::kQ10;
    PanelCodes rest = panel;
    if (fine) {
      for (int j = 0; j < kPanel; ++j) scales[j] = panel.scales[j] / kFineUnits;
      rest = {widened_fine(w, p, thread), scales, w.fine_sums(p)};
    }
    for (int64_t g = 0; g < centres.groups; ++g) {
      const auto add = [&](const PanelCodes& codes, const float* before) {
        kernels_.dot->signed_panel(centres.codes.data() + g * 2 * centres.row_bytes, 2, centres.row_bytes / kQuad,
                                   codes.codes, acc);
        kernels_.integer->finish({.acc = acc,
                                  .values = nullptr,
                                  .rows = 2,
                                  .x_scale = &centres.scale[static_cast<size_t>(2 * g)],
                                  .x_zero = &centres.zero[static_cast<size_t>(2 * g)],
                                  .w_scale = codes.scales,
                                  .w_sum = codes.sums,
                                  .y = both,
                                  .y_stride = kPanel,
                                  .columns = kPanel,
                                  .bias = nullptr,
                                  .residual = before,
                                  .activation = Activation::kNone});
      };
      add(panel, nullptr);
      if (fine) add(rest, both);
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

}  // namespace onsight::compute
