// onsight bench: what a request costs, stage by stage, beside what the machine could do.
#include <algorithm>
#include <cmath>

#include "base/thread_pool.h"
#include "cli/bench_measure.h"
#include "cli/bench_report.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/request_options.h"
#include "engine/memory.h"

namespace onsight::cli {
namespace {

constexpr const char* kSecondPrompt = "What else is there?";
constexpr int kRuns = 5, kSweepRuns = 3, kMaxTokens = 64, kSweepMaxTokens = 16;

// The examples stand beside the models in the source tree.
Result<std::string> default_picture() {
  const Path path = Path(ONSIGHT_SOURCE_MODELS).parent_path() / "examples" / "receipt.jpg";
  std::error_code error;
  if (std::filesystem::exists(path, error)) return path.string();
  return make_error(ErrorCode::kUsage, "expected a picture (--image FILE): the example is not installed");
}

// A picture of noise, unlike any other of its run: no tile of it can be found in a cache.
std::shared_ptr<const media::Image> noise(int side, uint32_t seed) {
  media::Image image{side, side, {}};
  image.rgb.resize(static_cast<size_t>(side) * side * 3);
  uint32_t state = seed * 2654435761u + 1;
  for (uint8_t& byte : image.rgb) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return std::make_shared<const media::Image>(std::move(image));
}

std::string words(int64_t n) {
  std::string text = "Repeat:";
  for (int64_t i = 0; i < n; ++i) text += " the";
  return text;
}

Status check_folder_of(const std::optional<std::string>& file) {
  if (!file) return {};
  const Path folder = Path(*file).has_parent_path() ? Path(*file).parent_path() : Path(".");
  std::error_code error;
  if (std::filesystem::is_directory(folder, error)) return {};
  return make_error(ErrorCode::kIo, "{}: cannot be written, its folder does not exist", *file);
}

class Bench : public Verb {
 public:
  void declare(Options& options) override {
    options_.request.max_tokens = 0;
    options_.declare_inputs(options, "a picture, in order (default: the receipt of the examples)");
    options.text("--prompt", "TEXT", options_.prompt, "the question (default \"Describe this image.\")");
    options.heading("What is measured");
    options.number("--runs", "N", runs_, {.min = 1, .max = 1000}, "measure N times (default 5, in a sweep 3)");
    options.number("-n,--max-tokens", "N", options_.request.max_tokens, {.min = 1, .max = 1'000'000},
                   "end each answer after N tokens (default 64, in a sweep 16)");
    options.text("--sweep", "WHAT", sweep_name_, "measure against the number of tiles, tokens or threads");
    options.number("--up-to", "N", up_to_, {.min = 1, .max = 1'000'000},
                   "end the sweep at N (default 17 tiles, 8000 tokens, all cores)");
    options_.declare_cost(options);
    options.heading("What is written");
    options.text("--json", "FILE", json_, "write all figures, each run's too");
    options.text("--plot", "FILE", plot_, "write a plot, as SVG");
  }

  Status run(Context& context) override {
    TRY_STATUS(check());
    TRY(bench_.folder, find_model(options_.model));
    const bool sweep = sweep_ != Sweep::kNone;
    BenchReport report;
    report.machine = this_machine();
    report.threads = options_.threads > 0 ? options_.threads : report.machine.cores;
    report.runs = runs_ > 0 ? runs_ : sweep ? kSweepRuns : kRuns;
    report.sweep = sweep_;
    bench_.runs = report.runs;
    bench_.engine = options_.engine_options();
    bench_.engine.threads = report.threads;
    bench_.request = options_.request;
    if (bench_.request.max_tokens == 0) bench_.request.max_tokens = sweep ? kSweepMaxTokens : kMaxTokens;

    reset_peak_memory();
    if (sweep_ == Sweep::kTiles) {
      TRY_STATUS(sweep_tiles(context, report));
    } else if (sweep_ == Sweep::kTokens) {
      TRY_STATUS(sweep_tokens(context, report));
    } else {
      TRY_STATUS(read_pictures(report));
      if (sweep) {
        TRY_STATUS(sweep_threads(context, report));
      } else {
        bench_.second_prompt = kSecondPrompt;
        bench_.reading = true;
        TRY(report.figures, measured(context, "measuring", 0, 1));
      }
    }
    // After the peak of memory has been read: the ceilings need buffers of their own.
    report.ceilings =
        compute::measure_ceilings({.threads = report.threads, .available_bytes = engine::available_memory_bytes()});
    if (!report.figures.read_bytes_per_s.runs.empty())
      report.ceilings.read_bytes_per_s = report.figures.read_bytes_per_s.median;
    bar_.clear();
    if (json_) TRY_STATUS(write_file_atomically(*json_, to_json(report)));
    if (plot_) TRY_STATUS(write_file_atomically(*plot_, to_svg(report)));
    return context.out.write(to_table(report));
  }

 private:
  Status check() {
    if (sweep_name_) {
      for (Sweep sweep : {Sweep::kTiles, Sweep::kTokens, Sweep::kThreads})
        if (*sweep_name_ == to_string(sweep)) sweep_ = sweep;
      if (sweep_ == Sweep::kNone)
        return make_error(ErrorCode::kUsage, "--sweep: expected tiles, tokens or threads, found '{}'", *sweep_name_);
    } else if (up_to_ > 0) {
      return make_error(ErrorCode::kUsage, "--up-to: expected --sweep with it");
    }
    if ((sweep_ == Sweep::kTiles || sweep_ == Sweep::kTokens) && !options_.images.empty())
      return make_error(ErrorCode::kUsage, "--image: a sweep of {} makes its own input", *sweep_name_);
    if (std::count(options_.images.begin(), options_.images.end(), "-") > 0)
      return make_error(ErrorCode::kUsage, "--image: expected a file, standard input can be read once only");
    for (const auto& [name, file] : {std::pair{"--json", &json_}, std::pair{"--plot", &plot_}})
      if (*file && (*file)->empty()) return make_error(ErrorCode::kUsage, "{}: expected a file, found nothing", name);
    TRY_STATUS(check_folder_of(json_));
    TRY_STATUS(check_folder_of(plot_));
    return options_.check_values();
  }

  // One picture is read now, to say what it is; each run reads all of them anew.
  Status read_pictures(BenchReport& report) {
    if (options_.images.empty()) {
      TRY(std::string example, default_picture());
      options_.images.push_back(std::move(example));
    }
    TRY(Picture picture, load_picture(options_.images[0]));
    report.picture = Path(picture.path).filename().string();
    report.picture_width = picture.image->width;
    report.picture_height = picture.image->height;
    bench_.prompt = options_.prompt.value_or(kDefaultPrompt);
    bench_.messages = [this](const std::string& prompt) {
      RequestOptions asked = options_;
      asked.prompt = prompt;
      return make_messages(asked);
    };
    return {};
  }

  Result<Figures> measured(Context& context, std::string_view what, size_t point, size_t points) {
    const int64_t before = static_cast<int64_t>(point) * bench_.runs,
                  total = static_cast<int64_t>(points) * bench_.runs;
    return measure(context.services, bench_, [&](int done) { bar_.show(what, before + done, total); });
  }

  Status sweep_tiles(Context& context, BenchReport& report) {
    TRY(engine::ModelInfo model, context.services.inspect(bench_.folder));
    // Beside its rows of features a tile takes the few tokens that separate it.
    const int fit = (model.context_length - bench_.request.max_tokens - 100) / (model.tokens_per_tile + 16);
    std::vector<int> counts;
    for (int n : {1, 2, 3, 5, 9, 13, 17, 25, 37})
      if (n <= std::min(up_to_ > 0 ? up_to_ : 17, std::max(1, fit))) counts.push_back(n);
    bench_.prompt = options_.prompt.value_or(kDefaultPrompt);
    bench_.request.picture.max_tiles = 1;
    for (size_t i = 0; i < counts.size(); ++i) {
      // One-tile pictures, so that every number of tiles can be had from every model.
      std::vector<std::shared_ptr<const media::Image>> pictures;
      for (int k = 0; k < counts[i]; ++k) pictures.push_back(noise(std::max(1, model.tile_size), pictures_made_++));
      bench_.messages = [pictures](const std::string& prompt) -> Result<std::vector<engine::Message>> {
        TRY(engine::Message message, engine::user_message(pictures, prompt));
        return std::vector<engine::Message>{std::move(message)};
      };
      TRY_STATUS(add_point(context, report, i, counts.size()));
    }
    return {};
  }

  Status sweep_tokens(Context& context, BenchReport& report) {
    TRY(engine::ModelInfo model, context.services.inspect(bench_.folder));
    bench_.messages = [](const std::string& prompt) -> Result<std::vector<engine::Message>> {
      TRY(engine::Message message, engine::user_message({}, prompt));
      return std::vector<engine::Message>{std::move(message)};
    };
    TRY(const int64_t few, tokens_of(context, 1));
    TRY(const int64_t many, tokens_of(context, 33));
    const double a_word = std::max(1.0, static_cast<double>(many - few) / 32);
    const int most = std::min(up_to_ > 0 ? up_to_ : 8000, model.context_length - bench_.request.max_tokens - 1);
    std::vector<int64_t> counts;
    for (int64_t n : {128, 256, 512, 1024, 2048, 4096, 8000, 16000, 32000})
      if (n <= most) counts.push_back(1 + std::llround(std::floor(static_cast<double>(n - few) / a_word)));
    if (counts.empty()) counts.push_back(1);
    for (size_t i = 0; i < counts.size(); ++i) {
      bench_.prompt = words(counts[i]);
      TRY_STATUS(add_point(context, report, i, counts.size()));
    }
    return {};
  }

  // How many tokens a prompt of so many words is.
  Result<int64_t> tokens_of(Context& context, int64_t n) {
    BenchRequest one = bench_;
    one.prompt = words(n);
    one.request.max_tokens = one.runs = 1;
    TRY(Figures figures, measure(context.services, one, [](int) {}));
    return int64_t{figures.prompt_tokens};
  }

  Status sweep_threads(Context& context, BenchReport& report) {
    const int most = up_to_ > 0 ? up_to_ : report.threads;
    std::vector<int> counts;
    for (int n = 1; n < most; n *= 2) counts.push_back(n);
    counts.push_back(most);
    bench_.prompt = options_.prompt.value_or(kDefaultPrompt);
    for (size_t i = 0; i < counts.size(); ++i) {
      bench_.engine.threads = counts[i];
      TRY_STATUS(add_point(context, report, i, counts.size()));
    }
    report.threads = most;
    return {};
  }

  Status add_point(Context& context, BenchReport& report, size_t i, size_t points) {
    reset_peak_memory();
    TRY(Figures figures, measured(context, fmt::format("sweep of {}", to_string(sweep_)), i, points));
    report.points.push_back({bench_.engine.threads, std::move(figures)});
    return {};
  }

  RequestOptions options_;
  std::optional<std::string> sweep_name_, json_, plot_;
  int runs_ = 0, up_to_ = 0;
  Sweep sweep_ = Sweep::kNone;
  BenchRequest bench_;
  ProgressBar bar_;
  uint32_t pictures_made_ = 1;
};

}  // namespace

std::unique_ptr<Verb> make_bench() { return std::make_unique<Bench>(); }

}  // namespace onsight::cli
