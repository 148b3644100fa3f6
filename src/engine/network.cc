#include "engine/network.h"

#include <algorithm>
#include <cstring>

namespace onsight::engine {

using compute::Bindings;
using compute::Buffer;
using compute::DType;
using compute::Graph;
using compute::Tensor;
using compute::Value;
using compute::view;

ImageRows image_rows(const models::Prompt& prompt, const Tiles& tiles, const models::ModelFacts& facts, int64_t begin,
                     int64_t end) {
  ImageRows out;
  const auto rows = static_cast<size_t>(facts.tokens_per_tile), width = static_cast<size_t>(facts.text_width);
  for (size_t i = 0; i < prompt.image_positions.size(); ++i) {
    const int64_t position = prompt.image_positions[i];
    if (position < begin || position >= end) continue;
    out.at.push_back(static_cast<int32_t>(position - begin));
    const float* row = tiles[i / rows]->features.f32() + i % rows * width;
    out.features.insert(out.features.end(), row, row + width);
  }
  return out;
}

namespace {

constexpr int64_t kMostRows = 32;  // a pass: more hardly save anything, and keep what is being read waiting

size_t find_rows_together(const models::Model& model) {
  Graph graph;
  const Value x = model.text(graph, model.embed(graph, graph.input("ids", DType::kI32, {1})),
                             graph.input("positions", DType::kI32, {1}));
  graph.output("logits", model.head(graph, x));
  return static_cast<size_t>(std::min(kMostRows, compute::exact_rows(graph)));
}

}  // namespace

Network::Network(std::unique_ptr<models::Model> model, const compute::KernelTable& kernels,
                 std::unique_ptr<ThreadPool> pool)
    : pool_(std::move(pool)),
      reader_(*pool_, kernels),
      writer_(*pool_, kernels),
      model_(std::move(model)),
      rows_together_(find_rows_together(*model_)) {}

void Network::time_steps(compute::Executor& executor, StepTime::Part part, int64_t context) {
  if (!times_) return;
  executor.observe_steps([this, part, context](const Graph& graph, std::span<const compute::Op> ops, double ms) {
    times_->add(part, graph, ops, context, facts().kv.dtype, ms);
  });
}

Status Network::see(const media::Image& tile, Buffer& keep, const compute::Observer& observer,
                    const compute::Pause& pause) {
  const int64_t side = facts().tile_size;
  Buffer pixels(static_cast<size_t>(3 * side * side) * sizeof(float));
  model_->normalise(tile, pixels.f32());
  Graph graph;
  graph.output("features", model_->vision(graph, graph.input("pixels", DType::kF32, {1, 3, side, side})));
  Bindings bindings;
  bindings.inputs["pixels"] = view(DType::kF32, {1, 3, side, side}, pixels.f32());
  time_steps(reader_, StepTime::Part::kTile, 0);
  TRY_STATUS(reader_.run(graph, bindings, observer, pause));
  const Tensor features = reader_.output("features");
  Buffer copy(static_cast<size_t>(features.bytes()));
  std::memcpy(copy.data(), features.data, copy.bytes());
  keep = std::move(copy);
  return {};
}

Network::Pass Network::make_pass(int64_t rows, int64_t image_rows, Logits which) const {
  Pass pass;
  Graph& graph = pass.graph;
  Value x = model_->embed(graph, graph.input("ids", DType::kI32, {rows}));
  if (image_rows > 0)
    x = graph.replace_rows(x, graph.input("image_rows", DType::kI32, {image_rows}),
                           graph.input("image_features", DType::kF32, {image_rows, facts().text_width}));
  // Of a prompt one hidden state is wanted at most: the last layer is computed for its keys and values, and for that.
  const Value wanted = which != Logits::kAll && rows > 1 ? graph.input("last", DType::kI32, {1}) : Value{};
  x = model_->text(graph, x, graph.input("positions", DType::kI32, {rows}), wanted);
  if (which != Logits::kNone) graph.output("logits", model_->head(graph, x));
  pass.plan = compute::plan_memory(graph);
  return pass;
}

Status Network::read(const Run& run, const ImageRows& images, Logits which, const compute::Observer& observer,
                     const compute::Pause& pause) {
  time_steps(reader_, StepTime::Part::kPrompt, run.first);
  const Pass pass = make_pass(std::ssize(run.ids), std::ssize(images.at), which);
  return forward(reader_, pass, {&run, 1}, images, observer, pause);
}

Status Network::write(std::span<const Run> runs) {
  time_steps(writer_, StepTime::Part::kToken, runs.empty() ? 0 : runs[0].first);
  int64_t rows = 0;
  for (const Run& run : runs) rows += std::ssize(run.ids);
  auto pass = writes_.find(rows);
  if (pass == writes_.end()) pass = writes_.emplace(rows, make_pass(rows, 0, Logits::kAll)).first;
  return forward(writer_, pass->second, runs, {}, nullptr, nullptr);
}

Status Network::forward(compute::Executor& executor, const Pass& pass, std::span<const Run> runs,
                        const ImageRows& images, const compute::Observer& observer, const compute::Pause& pause) {
  std::vector<int32_t> ids, positions, sequences;
  std::vector<compute::KvCache*> caches;
  for (const Run& run : runs) {
    run.cache->reserve(run.first + static_cast<int64_t>(run.ids.size()));
    for (size_t i = 0; i < run.ids.size(); ++i) {
      positions.push_back(static_cast<int32_t>(run.first) + static_cast<int32_t>(i));
      sequences.push_back(static_cast<int32_t>(caches.size()));
    }
    ids.insert(ids.end(), run.ids.begin(), run.ids.end());
    caches.push_back(run.cache);
  }
  const auto n = static_cast<int64_t>(ids.size()), m = static_cast<int64_t>(images.at.size());
  const auto last = static_cast<int32_t>(n - 1);
  Bindings bindings;
  bindings.inputs["ids"] = view(DType::kI32, {n}, ids.data());
  bindings.inputs["image_rows"] = view(DType::kI32, {m}, images.at.data());
  bindings.inputs["image_features"] = view(DType::kF32, {m, facts().text_width}, images.features.data());
  bindings.inputs["last"] = view(DType::kI32, {1}, &last);
  bindings.inputs["positions"] = view(DType::kI32, {n}, positions.data());
  bindings.positions = positions;
  bindings.sequences = sequences;
  bindings.caches = caches;
  return executor.run(pass.graph, pass.plan, bindings, observer, pause);
}

std::span<const float> Network::row_of(const compute::Executor& executor, size_t row) const {
  const auto vocabulary = static_cast<size_t>(facts().vocabulary_size);
  return executor.output("logits").f32().subspan(row * vocabulary, vocabulary);
}

}  // namespace onsight::engine
