// onsight trace: the tensors of one forward pass as .npy files, and the comparison of two such folders.
#include <unistd.h>

#include <set>

#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/request_options.h"
#include "cli/trace_compare.h"
#include "formats/npy.h"

namespace onsight::cli {
namespace {

namespace fs = std::filesystem;

// Collects files in a folder inside `target` and moves them out at the end, so that a failure changes nothing.
class Staging {
 public:
  static Result<Staging> create(const Path& target) {
    Staging staging;
    staging.target_ = target;
    std::error_code error;
    // What did not exist before is removed again if this run fails.
    for (Path p = fs::absolute(target, error).lexically_normal(); !p.empty() && !fs::exists(p, error);
         p = p.parent_path())
      if (p.has_filename()) staging.created_.push_back(p);
    fs::create_directories(target, error);
    if (error || !fs::is_directory(target))
      return make_error(ErrorCode::kIo, "{}: cannot be made a folder ({})", target.string(),
                        error ? error.message() : "there is a file of that name");
    staging.folder_ = target / fmt::format(".trace-{}", ::getpid());
    fs::create_directory(staging.folder_, error);
    if (error) return make_error(ErrorCode::kIo, "{}: cannot be written ({})", target.string(), error.message());
    return staging;
  }
  Staging(Staging&&) = default;
  ~Staging() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
    if (committed_) return;
    for (const Path& path : created_) fs::remove(path, ignored);  // only if empty
  }

  Status write(const std::string& name, const compute::Tensor& tensor) {
    auto status = formats::write_npy(folder_ / (name + ".npy"), tensor);
    if (!status) return make_error(status.error().code, "{}", final_name(status.error().message));
    names_.insert(name);
    return {};
  }

  Status commit() {
    std::error_code error;
    for (const std::string& name : names_) {
      fs::rename(folder_ / (name + ".npy"), target_ / (name + ".npy"), error);
      if (error)
        return make_error(ErrorCode::kIo, "{}: cannot be written ({})", (target_ / (name + ".npy")).string(),
                          error.message());
    }
    committed_ = true;
    std::vector<Path> stale;
    for (fs::directory_iterator it(target_, error), end; !error && it != end; it.increment(error)) {
      std::string name = it->path().stem().string();
      if (it->path().extension() == ".npy" && is_trace_name(name) && !names_.contains(name))
        stale.push_back(it->path());
    }
    for (const Path& path : stale) fs::remove(path, error);
    return {};
  }

 private:
  Staging() = default;
  // The user knows the file by its place in the target folder.
  std::string final_name(std::string message) const {
    std::string staged = folder_.string();
    if (size_t at = message.find(staged); at != std::string::npos) message.replace(at, staged.size(), target_.string());
    return message;
  }

  Path target_, folder_;
  std::vector<Path> created_;  // innermost first
  std::set<std::string> names_;
  bool committed_ = false;
};

class Trace : public Verb {
 public:
  void declare(Options& options) override {
    options.heading("Where it is written");
    options.text("-o,--out", "DIR", out_, "the folder of this trace; made if it does not exist");
    options.text("--compare", "OTHER_DIR", other_, "compare with this folder of traces");
    options.number("--tolerance", "R", tolerance_, {.min = 0, .max = 1e9},
                   "the relative error that is still equal (default 0.001)");
    options_.declare_inputs(options, "a picture, in order; - reads it from standard input");
    options_.declare_videos(options);
    options_.declare_prompt(options);
    options.text("--answer", "TEXT", answer_, "an answer as ask prints it, run through after the prompt");
    options_.quantisation = static_cast<int>(engine::Quantisation::kNone);  // what is compared is the checkpoint
    options_.declare_cost(options);
  }

  Status run(Context& context) override {
    if (!out_ || out_->empty()) return make_error(ErrorCode::kUsage, "expected --out DIR, the folder of the trace");
    bool compare_only = other_ && options_.images.empty() && options_.videos.empty() && !options_.prompt && !answer_;
    if (!compare_only) TRY_STATUS(write_trace(context));
    if (!other_) return {};
    TRY(Comparison comparison, compare_traces(*out_, *other_, tolerance_));
    TRY_STATUS(context.out.write(comparison.table));
    if (comparison.first_difference.empty())
      return context.out.write(fmt::format("all {} tensors agree within {:g}\n", comparison.tensors, tolerance_));
    return bad_input("{} and {} differ first in {}", *out_, *other_, comparison.first_difference);
  }

 private:
  Status write_trace(Context& context) {
    TRY_STATUS(options_.check());
    TRY(Path folder, find_model(options_.model));
    engine::Request request = options_.request;
    TRY(request.messages, make_messages(options_));
    TRY(std::unique_ptr<engine::Engine> engine, context.services.load(folder, options_.engine_options()));
    interrupted() = false;
    CatchInterrupts catching(Interrupts::kFlagOnce);  // so that nothing half-written is left
    request.cancelled = interrupted_flag();
    TRY(Staging staging, Staging::create(*out_));
    auto stopped = []() -> Status {
      if (interrupted()) return make_error(ErrorCode::kInterrupted, "interrupted");
      return {};
    };
    const auto write = [&](std::string_view name, const compute::Tensor& tensor) -> Status {
      TRY_STATUS(stopped());
      return staging.write(std::string(name), tensor);
    };
    Status traced = engine->trace(request, answer_.value_or(""), write);
    TRY_STATUS(std::move(traced));
    TRY_STATUS(stopped());
    return staging.commit();
  }

  RequestOptions options_;
  std::optional<std::string> out_, other_, answer_;
  double tolerance_ = 1e-3;
};

}  // namespace

std::unique_ptr<Verb> make_trace() { return std::make_unique<Trace>(); }

}  // namespace onsight::cli
