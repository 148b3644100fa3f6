#include "engine/engine.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "engine/guarded.h"
#include "engine/memory.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/step_times.h"
#include "engine/trace.h"
#include "engine/weight_choice.h"
#include "engine/work.h"
#include "models/model.h"

namespace onsight::engine {
namespace {

using compute::DType;
using compute::Graph;
using compute::Value;

std::string describe_types(const formats::Checkpoint& checkpoint) {
  std::map<std::string_view, int> counts;
  for (const auto& [name, tensor] : checkpoint.tensors()) counts[compute::info(tensor.dtype).name]++;
  for (const auto& [name, packed] : checkpoint.packed()) counts[to_string(packed.format)]++;
  std::string out;
  for (const auto& [type, n] : counts)
    out += (out.empty() ? "" : ", ") + (counts.size() == 1 ? std::string(type) : fmt::format("{} ({})", type, n));
  return out;
}

ModelInfo describe(const Path& path, const formats::Checkpoint& checkpoint, const models::ModelFacts& facts,
                   const models::WeightFormats& formats) {
  ModelInfo info;
  info.name =
      checkpoint.gguf().empty() ? models::name_of(path) : Path(checkpoint.gguf().front().where()).filename().string();
  info.architecture = facts.architecture;
  info.parameters = facts.parameters;
  info.vision_parameters = facts.vision_parameters;
  info.text_parameters = facts.text_parameters;
  info.weight_types = describe_types(checkpoint);
  if (formats.text) info.text_quantisation = to_string(*formats.text);
  if (formats.vision) info.vision_quantisation = to_string(*formats.vision);
  info.file_bytes = static_cast<int64_t>(checkpoint.total_bytes());
  const int64_t context_pages = (facts.context_length + compute::kKvPage - 1) / compute::kKvPage;
  info.memory_bytes = facts.weight_bytes + context_pages * facts.kv.page_bytes() + facts.vision_scratch_bytes;
  info.tile_size = facts.tile_size;
  info.patch_size = facts.patch_size;
  info.tokens_per_tile = facts.tokens_per_tile;
  info.max_tiles = facts.max_tiles;
  info.context_length = facts.context_length;
  info.vocabulary_size = facts.vocabulary_size;
  info.vision_shape = facts.vision_shape;
  info.text_shape = facts.text_shape;
  return info;
}

class ModelEngine : public Engine {
 public:
  ModelEngine(std::unique_ptr<models::Model> model, ModelInfo info, const compute::KernelTable& kernels,
              std::unique_ptr<ThreadPool> pool, const EngineOptions& options, const Stopwatch& since)
      : network_(std::move(model), kernels, std::move(pool)),
        info_(std::move(info)),
        scheduler_(network_, options.limits),
        load_ms_(since.ms()) {
    if (options.step_times) network_.time_into(&step_times_);
  }

  const ModelInfo& info() const override { return info_; }

  void keep_in(DiskCache disk, const Digest& model) {
    std::string how = fmt::format("{} {} {} {}", network_.kernels().name, info_.vision_quantisation,
                                  info_.text_quantisation, compute::info(network_.facts().kv.dtype).name);
    scheduler_.keep_in({std::move(disk), model, std::move(how), network_.pool()});
  }

  Status submit(const Request& request, Callbacks callbacks, std::function<void(Result<Reply>)> on_done) override {
    return guarded([&]() -> Status {
      TRY(auto sequence, Sequence::make(network_, request, std::move(callbacks), std::move(on_done), tries_));
      return scheduler_.add(std::move(sequence), true);
    });
  }

  void run(const std::stop_token& stop) override {
    running_ = true;
    scheduler_.run(stop);
    running_ = false;
  }

  Result<Reply> generate(const Request& request, const Callbacks& callbacks) override {
    return guarded([&]() -> Result<Reply> {
      std::optional<Result<Reply>> outcome;
      TRY(auto sequence,
          Sequence::make(
              network_, request, callbacks, [&](Result<Reply> reply) { outcome = std::move(reply); }, tries_));
      TRY_STATUS(scheduler_.add(std::move(sequence), false));
      while (!outcome) scheduler_.step();
      if (*outcome) (*outcome)->timings_ms.load = load_ms_;
      return *std::move(outcome);
    });
  }

  Result<Estimate> estimate(const Request& request, int answers) override {
    return guarded([&]() -> Result<Estimate> {
      TRY_STATUS(measure());
      const Stopwatch preparing;
      TRY(const models::Prompt prompt, prepare(network_.model(), request));
      const models::ModelFacts& facts = network_.facts();
      const auto n = static_cast<int64_t>(prompt.ids.size());
      TRY_STATUS(mask_of(network_.model(), request, n, tries_));
      const int64_t most = budget_of(facts, request, n);
      int different = 0;  // tiles with the same pixels are read once
      for (auto tile = prompt.tiles.begin(); tile != prompt.tiles.end(); ++tile)
        different += std::none_of(prompt.tiles.begin(), tile, [&](const auto& t) { return t.rgb == tile->rgb; });
      const Speeds& speeds = scheduler_.speeds();
      const int64_t pages = (n + std::max<int64_t>(0, most) + compute::kKvPage - 1) / compute::kKvPage;
      return Estimate{.prompt_tokens = static_cast<int>(n),
                      .image_tokens = static_cast<int>(prompt.image_positions.size()),
                      .tiles = static_cast<int>(prompt.tiles.size()),
                      .max_tokens = static_cast<int>(most),
                      .first_token_ms = preparing.ms() + different * speeds.tile_ms() + speeds.prompt_ms(0, n),
                      .token_ms = speeds.token_ms(n + most / 2, answers),
                      .memory_bytes = answers * pages * facts.kv.page_bytes() +
                                      bytes_of(DType::kF32, std::ssize(prompt.image_positions) * facts.text_width)};
    });
  }

  Activity activity() const override { return scheduler_.activity(); }

  Status trace(const Request& request, std::string_view answer, const TraceSink& sink) override {
    return guarded([&] { return trace_prompt(network_, request, answer, sink); });
  }

  RequestWork work(int64_t prompt_tokens, int64_t context) const override {
    const models::ModelFacts& facts = network_.facts();
    Graph vision;
    (void)network_.model().vision(vision,
                                  vision.input("pixels", DType::kF32, {1, 3, facts.tile_size, facts.tile_size}));
    const auto decoder = [&](int64_t rows, int64_t before) {
      Graph graph, last;
      const Value embedded = network_.model().embed(graph, graph.input("ids", DType::kI32, {rows}));
      (void)network_.model().text(graph, embedded, graph.input("positions", DType::kI32, {rows}));
      (void)network_.model().head(last, last.input("hidden", DType::kF32, {1, facts.text_width}));
      Work sum = work_of(graph, before, facts.kv.dtype);
      const Work head = work_of(last, 0);
      sum.linear_ops += head.linear_ops;
      sum.weight_bytes += head.weight_bytes;
      return sum;
    };
    const Work tile = work_of(vision, 0), prompt = decoder(std::max<int64_t>(1, prompt_tokens), 0);
    const Work token = decoder(1, std::max<int64_t>(0, context));
    return {.tile_ops = tile.ops(),
            .tile_linear_ops = tile.linear_ops,
            .tile_attention_ops = tile.attention_ops,
            .prompt_ops = prompt.ops(),
            .prompt_linear_ops = prompt.linear_ops,
            .prompt_attention_ops = prompt.attention_ops,
            .token_ops = token.ops(),
            .token_bytes = token.weight_bytes + token.cache_bytes};
  }

  std::vector<StepTime> step_times() const override { return step_times_.all(); }

 private:
  Status measure() {
    const std::scoped_lock lock(measuring_);
    if (scheduler_.speeds().measured()) return {};
    if (running_) return make_error(ErrorCode::kBusy, "estimate: expected a first one before the engine ran");
    return guarded([&] { return scheduler_.speeds().measure(network_); });
  }

  StepTimes step_times_;
  Network network_;
  ModelInfo info_;
  Scheduler scheduler_;
  TrieMaker tries_;
  std::mutex measuring_;
  std::atomic<bool> running_{false};
  double load_ms_;
};

}  // namespace

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "";
}

std::string kernels_name() {
  const auto kernels = compute::select_kernels();
  return kernels ? (*kernels)->name : "";
}

Result<std::unique_ptr<Engine>> Engine::load(const Path& path, const EngineOptions& options) {
  return guarded([&]() -> Result<std::unique_ptr<Engine>> {
    const Stopwatch since;
    std::optional<DiskCache> disk;
    if (!options.cache.empty()) {
      TRY(disk, DiskCache::open(options.cache, options.cache_bytes));
    }
    TRY(const compute::KernelTable* kernels, compute::select_kernels());
    TRY(models::OpenModel opened, models::open_model(path));
    TRY(const models::WeightFormats formats, choose_formats(opened.checkpoint, options, path));
    auto pool = std::make_unique<ThreadPool>(options.threads);
    ModelInfo info;
    const auto accept = [&](const formats::Checkpoint& checkpoint, const models::ModelFacts& facts) -> Status {
      info = describe(path, checkpoint, facts, formats);
      const int64_t needed = facts.weight_bytes + facts.vision_scratch_bytes + facts.kv.page_bytes();
      if (needed <= available_memory_bytes()) return {};
      return make_error(ErrorCode::kOutOfMemory, "{}: needs {} MB of memory, {} MB are free", path.string(),
                        needed >> 20, available_memory_bytes() >> 20);
    };
    TRY(std::unique_ptr<models::Model> model,
        opened.def->load(path, std::move(opened.checkpoint), formats, *pool, accept));
    auto engine =
        std::make_unique<ModelEngine>(std::move(model), std::move(info), *kernels, std::move(pool), options, since);
    if (disk) engine->keep_in(*std::move(disk), model_identity(path));
    return engine;
  });
}

Result<ModelInfo> Engine::inspect(const Path& path, const EngineOptions& options) {
  return guarded([&]() -> Result<ModelInfo> {
    TRY(models::OpenModel opened, models::open_model(path));
    TRY(const models::WeightFormats formats, choose_formats(opened.checkpoint, options, path));
    TRY(models::ModelFacts facts, opened.def->inspect(path, opened.checkpoint, formats));
    return describe(path, opened.checkpoint, facts, formats);
  });
}

}  // namespace onsight::engine
