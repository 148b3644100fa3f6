// Executor: plans the memory of a Graph and runs it on a thread pool with the kernels of this machine.
//
//   Executor executor(pool, *kernels);
//   Bindings bindings;
//   bindings.inputs["x"] = tensor;
//   executor.run(graph, bindings);            // throws std::bad_alloc only
//   Tensor y = executor.output("y");          // valid until the next run
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "compute/graph.h"
#include "compute/kernels/integer.h"
#include "compute/kv_cache.h"

namespace onsight::compute {

struct Bindings {
  std::map<std::string, Tensor, std::less<>> inputs;
  // Of graphs with cached attention: for each row its position in its sequence and which cache is its sequence's. The
  // caches must have room for the positions (KvCache::reserve).
  std::span<const int32_t> positions;
  std::span<const int32_t> sequences;
  std::span<KvCache* const> caches;
};

// Called with each observed value right after it has been computed; returning an error ends the run.
using Observer = std::function<Status(std::string_view name, const Tensor& value)>;
// Called between ops: a long run lets shorter ones of other executors on the same pool come in. False ends the run with
// ErrorCode::kInterrupted.
using Pause = std::function<bool()>;
// Called after each step of a run with the milliseconds of wall time that it took. A step is what runs as one: an op,
// or linear layers of one input, or two that follow each other.
using StepObserver = std::function<void(const Graph&, std::span<const Op>, double ms)>;

// Offsets into one block of memory such that values whose lives overlap do not.
struct MemoryPlan {
  std::vector<int64_t> offsets;  // of each value; −1 for inputs and constants
  int64_t bytes = 0;
};
MemoryPlan plan_memory(const Graph& graph);

// How many rows of different sequences may run together such that each gets what it would get alone, to the last bit;
// at least kExactRows. Integers add up to the same in any order, floats do not.
int64_t exact_rows(const Graph& graph);

class Executor {
 public:
  Executor(ThreadPool& pool, const KernelTable& kernels) : pool_(pool), kernels_(kernels) {}

  Status run(const Graph& graph, const Bindings& bindings, const Observer& observer = nullptr,
             const Pause& pause = nullptr) {
    return run(graph, plan_memory(graph), bindings, observer, pause);
  }
  // Of a graph that runs often: with the plan that was made of it.
  Status run(const Graph& graph, const MemoryPlan& plan, const Bindings& bindings, const Observer& observer = nullptr,
             const Pause& pause = nullptr);
  Tensor output(std::string_view name) const;
  // Of all runs from now on.
  void observe_steps(StepObserver observer) { on_step_ = std::move(observer); }
  const KernelTable& kernels() const { return kernels_; }
  // Frees the working memory; the next run allocates what it needs.
  void release() { arena_ = Buffer(); }

 private:
  struct Run;
  void execute(Run& run, const Op& op);
  // Where few rows wait for memory: tells the pool what each thread will read in the next step of `ops` that reads
  // much.
  void expect_next(const Run& run, std::span<const Op> ops);
  void expect_weights(std::span<const Op> layers);
  void expect_pages(const Run& run, const Op& op);
  // Layers of one input: one loop for all, and the input becomes codes once.
  void linears(Run& run, std::span<const Op> ops);
  // Rows of one layer: x [rows, inputs] -> y [rows, outputs]. `value` is what x is, or empty if codes made of it serve
  // nobody else.
  struct LinearCall {
    const Op* op;
    Value value;
    const float *x, *residual;
    float* y;
    int64_t rows, group;
  };
  void linears(std::span<const LinearCall> calls);
  // Two layers, the second on what only the first makes: each thread takes blocks of rows through both, so that what is
  // between them stays in its cache.
  void chain(Run& run, const Op& first, const Op& second);
  // A block of rows times a block of panels of one layer.
  struct LinearTask {
    const Linear* layer;
    const float* x;         // of the first row; rows `inputs` apart
    const float* residual;  // [rows, outputs] or nullptr
    float* y;
    Activation activation;
    bool in_groups, in_pairs;
    const Buffer* offsets;  // what the centre of a group of rows adds, the bias included; or nullptr
    int64_t row, rows, first_panel, last_panel;

    int columns(int64_t panel) const {
      return static_cast<int>(std::min<int64_t>(kPanel, layer->weight.outputs() - panel * kPanel));
    }
    const float* bias(int64_t panel) const {
      return layer->bias.bytes() ? layer->bias.f32() + panel * kPanel : nullptr;
    }
    int64_t at(int64_t r, int64_t panel) const { return r * layer->weight.outputs() + panel * kPanel; }
  };
  void float_task(const LinearTask& task);
  void pair_task(const LinearTask& task, int thread);
  void code_task(const LinearTask& task, int thread);
  void group_task(const LinearTask& task, int thread);
  void quantise(const LinearCall& call, int64_t width, bool in_groups, bool fine);
  // The mean of some rows of each group. It is rounded twice, the second time what the first has left.
  struct Centres {
    int64_t groups = 0, row_bytes = 0;
    std::vector<float> values;  // [group][width]
    Buffer codes;               // [group][quads][2][4]
    std::vector<float> scale;   // [group][2]
    std::vector<int32_t> zero;
    const float* of(int64_t group, int64_t width) const { return &values[static_cast<size_t>(group * width)]; }
  };
  void find_centres(const float* x, int64_t rows, int64_t width, int64_t group, Centres& out);
  void encode_centres(Centres& centres, int64_t groups, int64_t width) const;
  // What a layer makes of the centres, and its bias: [group][outputs, filled up to whole panels].
  void centre_offsets(const Centres& centres, const Linear& layer, Buffer& out);
  static const float* offset_of(const Buffer& offsets, const Linear& layer, int64_t group, int64_t panel);
  // Rows in codes, in tiles of up to kDotRows rows, or of kFourBitRows rows in groups.
  struct RowCodes {
    int64_t row_bytes = 0;
    Buffer codes;
    std::vector<float> scale;   // of a row; in groups: of each group of a row, [tile][group][row]
    std::vector<int32_t> zero;  // likewise; in groups: the sum of the codes
    Buffer rest;                // where inputs are fine: as IntKernels::quantise_fine says
    void reserve(int64_t rows, int64_t bytes_a_row, int64_t scales_a_row = 1);
  };
  // Those of one value.
  struct Codes : RowCodes {
    int32_t value = -1;
    bool in_groups = false, fine = false;
    int64_t group = 0;  // rows that share a centre, or 0
    Centres centres;
  };
  // By one thread, without groups.
  void quantise_rows(const float* x, int64_t stride, int64_t rows, int64_t width, const float* centre,
                     RowCodes& out) const;
  struct PanelCodes {
    const int8_t* codes;
    const float* scales;
    const int32_t* sums;
    // Of a q10 panel, where they count: the fine codes for DotTiles::fine_panel, or widened.
    const std::byte* fine = nullptr;
    const int8_t* wide_fine = nullptr;
    bool with_rest = false;  // of the inputs
  };
  // 4-bit panels are widened into the thread's scratch memory, their sums into `sums` [kPanel].
  PanelCodes panel_codes(const PackedMatrix& w, int64_t p, int thread, int32_t* sums);
  // The fine codes of a q10 panel, likewise.
  const int8_t* widened_fine(const PackedMatrix& w, int64_t p, int thread);
  struct PanelOutput {
    float* y;
    int64_t y_stride;
    int columns;
    const float *bias, *residual;
    Activation activation;
    // The rows from `first` on; what they are made of is left open.
    DotFinish from(int64_t first, int rows) const {
      return {.acc = nullptr,
              .values = nullptr,
              .rows = rows,
              .x_scale = nullptr,
              .x_zero = nullptr,
              .w_scale = nullptr,
              .w_sum = nullptr,
              .y = y + first * y_stride,
              .y_stride = y_stride,
              .columns = columns,
              .bias = bias,
              .residual = residual ? residual + first * y_stride : nullptr,
              .activation = activation};
    }
  };
  void finish_values(const float* values, int64_t rows, int64_t first, const PanelOutput& out) const;
  void code_rows(const RowCodes& codes, int64_t first, int64_t rows, const PanelCodes& panel, const PanelOutput& out);
  void attention(Run& run, const Op& op);
  void attention_in_codes(Run& run, const Op& op);
  void cached_attention(Run& run, const Op& op);
  struct RowRun {
    int64_t first, end;  // rows of one sequence
  };
  struct Queries {  // as in Bindings, of the rows that ask
    std::span<const int32_t> positions, sequences;
  };
  // A few rows each: page by page, so that memory is read once, in order, by all threads.
  void attend_by_pages(Run& run, const Op& op, const Queries& asked, std::span<const RowRun> runs);
  // Many rows each: block by block of rows of one head.
  void attend_by_rows(Run& run, const Op& op, const Queries& asked, std::span<const RowRun> runs);
  void attend_in_pairs(Run& run, const Op& op, const Queries& asked, std::span<const RowRun> runs);
  // The pages of each run's cache, [run · kv_heads + head]; those in codes as f16, for as long as pages_ is left alone.
  std::vector<std::vector<KvPageView>> float_pages(const Run& run, const Op& op, const Queries& asked,
                                                   std::span<const RowRun> runs);
  void attend_all(std::vector<AttendBlock>& blocks, int64_t scratch_floats);

  ThreadPool& pool_;
  const KernelTable& kernels_;
  Buffer arena_;
  std::vector<Buffer> scratch_;  // one a thread
  Codes codes_;
  std::vector<LinearTask> tasks_;  // a token has some 150 steps, each of which would allocate them
  std::vector<Buffer> offsets_;    // of the layers that run as one
  Centres chain_centres_[2];       // before each layer of a chain
  Buffer chain_offsets_[2];
  struct ChainScratch {
    RowCodes codes;
    Buffer between;
  };
  std::vector<ChainScratch> chain_;  // one a thread
  Buffer pages_;                     // keys and values of full attention
  Buffer parts_, queries_;           // of attend_by_pages
  Buffer pairs_;                     // keys and values of attend_in_pairs
  std::map<std::string, Tensor, std::less<>> outputs_;
  StepObserver on_step_;
};

}  // namespace onsight::compute
