// Network: a model and what runs it. Two executors share one pool: while one reads a picture or a prompt, the other may
// write tokens of answers between its ops.
//
//   Network network(std::move(model), kernels, std::move(pool));
//   TRY_STATUS(network.see(tile, features));
//   const Run rows[] = {{.ids = ids, .first = 0, .cache = &cache}};
//   TRY_STATUS(network.write(rows));
//   std::span<const float> logits = network.logits(0);
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "compute/executor.h"
#include "engine/features.h"
#include "engine/step_times.h"
#include "models/model.h"

namespace onsight::engine {

// Tokens of one sequence that follow each other, the first of them at position `first`. Their keys and values go to the
// cache.
struct Run {
  std::span<const int32_t> ids;
  int64_t first = 0;
  compute::KvCache* cache = nullptr;
};

// Rows of image features in place of some of a run's tokens.
struct ImageRows {
  std::vector<int32_t> at;  // counted from the run's first
  std::vector<float> features;
};

// The features that stand in [begin, end) of the prompt.
ImageRows image_rows(const models::Prompt& prompt, const Tiles& tiles, const models::ModelFacts& facts, int64_t begin,
                     int64_t end);

class Network {
 public:
  Network(std::unique_ptr<models::Model> model, const compute::KernelTable& kernels, std::unique_ptr<ThreadPool> pool);

  const models::Model& model() const { return *model_; }
  const models::ModelFacts& facts() const { return model_->facts(); }
  ThreadPool& pool() { return *pool_; }
  const compute::KernelTable& kernels() const { return reader_.kernels(); }

  // Features of one tile, [tokens_per_tile, text_width], into `keep`.
  Status see(const media::Image& tile, compute::Buffer& keep, const compute::Observer& observer = nullptr,
             const compute::Pause& pause = nullptr);
  // A part of a prompt; logits of its last row, of every row, or of none.
  enum class Logits { kNone, kLast, kAll };
  Status read(const Run& run, const ImageRows& images, Logits which, const compute::Observer& observer = nullptr,
              const compute::Pause& pause = nullptr);
  // Tokens of answers, of one sequence or of several; logits of every row. Up to rows_together() of them are computed
  // as if each were alone, to the last bit.
  Status write(std::span<const Run> runs);
  size_t rows_together() const { return rows_together_; }
  // From now on; null: none.
  void time_into(StepTimes* times) { times_ = times; }

  // [vocabulary] of a row of the last write(), counted through its runs; valid until the next.
  std::span<const float> written(size_t row) const { return row_of(writer_, row); }
  // The same of the last read().
  std::span<const float> logits(size_t row) const { return row_of(reader_, row); }
  compute::Tensor all_logits() const { return reader_.output("logits"); }

 private:
  // The decoder over so many rows, some of them image features.
  struct Pass {
    compute::Graph graph;
    compute::MemoryPlan plan;
  };
  Pass make_pass(int64_t rows, int64_t image_rows, Logits which) const;
  void time_steps(compute::Executor& executor, StepTime::Part part, int64_t context);
  Status forward(compute::Executor& executor, const Pass& pass, std::span<const Run> runs, const ImageRows& images,
                 const compute::Observer& observer, const compute::Pause& pause);
  std::span<const float> row_of(const compute::Executor& executor, size_t row) const;

  std::unique_ptr<ThreadPool> pool_;
  compute::Executor reader_, writer_;
  std::unique_ptr<models::Model> model_;
  size_t rows_together_;
  std::map<int64_t, Pass> writes_;  // by their rows: to make one takes as long as some layers of a token
  StepTimes* times_ = nullptr;
};

}  // namespace onsight::engine
