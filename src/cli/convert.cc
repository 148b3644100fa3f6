// onsight convert: a model becomes one file, in the form in which the kernels read it.
#include "engine/convert.h"

#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/stats.h"
#include "engine/weight_choice.h"
#include "formats/native_writer.h"

namespace onsight::cli {
namespace {

// Names of --quant and what they mean; f16 has no kernels of its own, and none keeps its numbers.
constexpr std::pair<const char*, engine::Quantisation> kFormats[] = {
    {"auto", engine::Quantisation::kAuto}, {"q8", engine::Quantisation::kQ8},    {"q4", engine::Quantisation::kQ4},
    {"f32", engine::Quantisation::kF32},   {"f16", engine::Quantisation::kNone}, {"none", engine::Quantisation::kNone},
};

class Convert : public Verb {
 public:
  void declare(Options& options) override {
    std::vector<std::string> names;
    for (const auto& [name, format] : kFormats) names.emplace_back(name);
    options.argument(
        "SRC", source_,
        "a checkpoint folder, a GGUF file with its mmproj beside it, TEXT.gguf,MMPROJ.gguf, or the name of "
        "an installed model");
    options.argument("DST", target_, "the file to write, NAME.onsight; one that is there is replaced");
    options.choice(
        "--quant", "FORMAT", names, text_,
        "the text model's weights: q8; q4 (its last layer, v and o q8); none or f16, as they come (bf16 stays bf16, "
        "others become f32); f32; auto (q8 from 100 million parameters on, else none; default)");
    options.choice("--vision-quant", "FORMAT", names, vision_,
                   "the same for the vision tower (default: as --quant, but q8 for q4)");
    options.flag("--calibrate", calibrate_,
                 "correct the vision tower's biases for what rounding its weights moved, found on drawn pictures");
    options.number("--threads", "N", threads_, {.min = 1, .max = 1024}, "compute with N threads (default: one a core)");
  }

  Status run(Context&) override {
    if (!source_ || !target_) return make_error(ErrorCode::kUsage, "expected SRC, a model, and DST, a file to write");
    const Path target = *target_;
    if (!formats::is_native_name(target))
      return make_error(ErrorCode::kUsage, "{}: expected a name that ends in .onsight, by which it is known", *target_);
    std::error_code ignored;
    if (std::filesystem::is_directory(target, ignored))
      return make_error(ErrorCode::kUsage, "{}: expected a file to write, found a folder", *target_);
    TRY(Path source, find_model(source_));
    const engine::Quantisation text = kFormats[text_].second;
    const engine::EngineOptions options = {
        .threads = threads_,
        .text = text,
        .vision = vision_ < 0 ? engine::vision_like(text) : kFormats[vision_].second};
    interrupted() = false;
    CatchInterrupts catching(Interrupts::kFlagOnce);  // so that nothing half-written is left
    ProgressBar bar;
    const Stopwatch since;
    TRY_STATUS(engine::convert(source, target, options, {.vision = calibrate_}, "onsight " ONSIGHT_VERSION,
                               [&](std::string_view what, int64_t done, int64_t total) {
                                 bar.show(what, done >> 20, total >> 20);
                                 return !interrupted();
                               }));
    bar.clear();
    Output error(STDERR_FILENO);
    if (error.is_terminal())
      (void)error.write(fmt::format("{}: {}, in {:.1f} s\n", printable(*target_),
                                    readable_bytes(static_cast<int64_t>(std::filesystem::file_size(target, ignored))),
                                    since.ms() / 1e3));
    return {};
  }

 private:
  std::optional<std::string> source_, target_;
  bool calibrate_ = false;
  int text_ = 0, vision_ = -1, threads_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_convert() { return std::make_unique<Convert>(); }

}  // namespace onsight::cli
