#include "cli/bench_measure.h"

#include <algorithm>
#include <atomic>

#include "cli/machine.h"
#include "cli/stats.h"
#include "compute/ceilings.h"
#include "engine/memory.h"

namespace onsight::cli {
namespace {

struct Asked {
  engine::Reply reply;
  int64_t tiles = 0;
  double decode_file_ms = 0;
};

Result<Asked> ask(engine::Engine& engine, const BenchRequest& bench, const std::string& prompt) {
  Asked asked;
  engine::Request request = bench.request;
  request.draft = false;  // a token a pass: what the ceilings speak of
  const Stopwatch reading;
  TRY(request.messages, bench.messages(prompt));
  asked.decode_file_ms = reading.ms();
  engine::Callbacks callbacks;
  callbacks.on_text = [](std::string_view) {};
  callbacks.on_progress = [&](engine::Stage stage, int64_t, int64_t total) {
    if (stage == engine::Stage::kVision) asked.tiles = total;
  };
  TRY(asked.reply, engine.generate(request, callbacks));
  return asked;
}

// Of one run, in the order of the first. `tokens` are all that were written, one a pass.
void add_steps(const std::vector<engine::StepTime>& steps, int64_t tiles, int64_t tokens, int runs,
               std::vector<engine::StepTime>& sum) {
  using Part = engine::StepTime::Part;
  for (engine::StepTime step : steps) {
    const int64_t parts = std::max<int64_t>(1, step.part == Part::kTile    ? tiles
                                               : step.part == Part::kToken ? tokens
                                                                           : 1);
    step.steps /= parts;
    step.rows /= parts;
    step.ms /= static_cast<double>(parts * runs);
    step.ops /= static_cast<double>(parts);
    step.bytes /= static_cast<double>(parts);
    const auto same = std::find_if(sum.begin(), sum.end(), [&](const engine::StepTime& other) {
      return other.part == step.part && other.what == step.what;
    });
    if (same == sum.end()) {
      sum.push_back(std::move(step));
    } else {
      same->ms += step.ms;
    }
  }
}

// Forward passes of the answer after the first token: a token that ended it was computed and is not counted in it.
int passes_of(const engine::Reply& reply) {
  return reply.completion_tokens - (reply.finish_reason == engine::FinishReason::kStop ? 0 : 1);
}

double decode_rate(const engine::Reply& reply) {
  const int steps = passes_of(reply);
  return steps > 0 && reply.timings_ms.decode > 0 ? steps * 1e3 / reply.timings_ms.decode : 0;
}

}  // namespace

Spread spread_of(std::vector<double> runs) {
  Spread spread;
  if (runs.empty()) return spread;
  spread.runs = runs;
  std::sort(runs.begin(), runs.end());
  const size_t half = runs.size() / 2;
  spread.median = runs.size() % 2 ? runs[half] : (runs[half - 1] + runs[half]) / 2;
  spread.min = runs.front();
  spread.max = runs.back();
  return spread;
}

Result<Figures> measure(const Services& services, const BenchRequest& bench,
                        const std::function<void(int done)>& done) {
  Figures figures;
  std::vector<double> load, preprocess, vision, tile, prefill, first, second, rate, reading, of_read;
  for (int run = 0; run < bench.runs; ++run) {
    done(run);
    const Stopwatch loading;
    engine::EngineOptions options = bench.engine;
    options.step_times = true;
    TRY(std::unique_ptr<engine::Engine> engine, services.load(bench.folder, options));
    load.push_back(loading.ms());
    TRY(Asked asked, ask(*engine, bench, bench.prompt));
    const engine::Timings& ms = asked.reply.timings_ms;
    preprocess.push_back(asked.decode_file_ms + ms.preprocess);
    vision.push_back(ms.vision);
    if (asked.tiles > 0) tile.push_back(ms.vision / static_cast<double>(asked.tiles));
    prefill.push_back(ms.prefill);
    first.push_back(asked.decode_file_ms + ms.first_token);
    rate.push_back(decode_rate(asked.reply));
    figures.tiles = asked.tiles;
    add_steps(engine->step_times(), asked.tiles, passes_of(asked.reply), bench.runs, figures.steps);
    figures.prompt_tokens = asked.reply.prompt_tokens;
    figures.completion_tokens = asked.reply.completion_tokens;
    if (!bench.second_prompt.empty()) {
      TRY(Asked again, ask(*engine, bench, bench.second_prompt));
      second.push_back(again.decode_file_ms + again.reply.timings_ms.first_token);
      figures.second_prompt_tokens = again.reply.prompt_tokens;
      figures.second_reused_tokens = again.reply.reused_tokens;
    }
    figures.model = engine->info();
    figures.work = engine->work(figures.prompt_tokens, figures.prompt_tokens + figures.completion_tokens / 2);
    figures.peak_memory_bytes = std::max(figures.peak_memory_bytes, engine::peak_memory_bytes());
    if (!bench.reading) continue;
    engine.reset();
    const double bytes_per_s = compute::measure_reading(
        {.threads = bench.engine.threads, .available_bytes = engine::available_memory_bytes()});
    reset_peak_memory();  // its buffers are not the model's
    if (bytes_per_s <= 0) continue;
    reading.push_back(bytes_per_s);
    if (rate.back() > 0) of_read.push_back(rate.back() * figures.work.token_bytes / bytes_per_s);
  }
  figures.load_ms = spread_of(std::move(load));
  figures.preprocess_ms = spread_of(std::move(preprocess));
  figures.vision_ms = spread_of(std::move(vision));
  figures.tile_ms = spread_of(std::move(tile));
  figures.prefill_ms = spread_of(std::move(prefill));
  figures.first_token_ms = spread_of(std::move(first));
  figures.second_first_token_ms = spread_of(std::move(second));
  figures.decode_tokens_per_s = spread_of(std::move(rate));
  figures.read_bytes_per_s = spread_of(std::move(reading));
  figures.decode_of_read = spread_of(std::move(of_read));
  return figures;
}

}  // namespace onsight::cli
