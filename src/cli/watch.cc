// onsight watch: the same question about what a source shows, again and again.
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/subprocess.h"
#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/request_options.h"
#include "cli/stats.h"
#include "cli/watch_source.h"
#include "media/glance.h"

namespace onsight::cli {
namespace {

using nlohmann::ordered_json;
using std::chrono::milliseconds;

constexpr milliseconds kCommandTime{60'000};
constexpr int64_t kLookFeatureBytes = int64_t{64} << 20;  // of the last picture or two, of which parts may stay

// "2s", "500ms", "1m", "1.5"
Result<milliseconds> parse_interval(const std::string& text) {
  constexpr std::pair<std::string_view, double> kUnits[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
  char* end = nullptr;
  const double number = text.empty() ? 0 : std::strtod(text.c_str(), &end);
  for (const auto& [unit, factor] : kUnits)
    if (end && unit == end && number * factor >= 1 && number * factor <= 8.64e7)
      return milliseconds(static_cast<int64_t>(number * factor));
  return make_error(ErrorCode::kUsage, "--every: expected a time as 2s, 500ms or 1m, found '{}'", text);
}

// What was said of a picture.
struct Decision {
  std::string text;
  double confidence = 0;  // the geometric mean of its tokens' probabilities
  double ms = 0;
};

class Watch : public Verb {
 public:
  void declare(Options& options) override {
    options.heading("What is watched");
    options_.declare_model(options);
    options.argument(
        "SOURCE", source_,
        "a video; a picture that is written again and again; a folder that fills; a stream (rtsp:, http:); "
        "a camera (/dev/video0)");
    options.text("--ask", "TEXT", ask_, "the question (default \"Describe this image.\")");
    options.text("--system", "TEXT", options_.system, "what the model is told before");
    options.text("--every", "TIME", every_, "between two looks: 2s (default), 500ms, 1m");
    options.number("--min-change", "N", min_change_, {.min = 0, .max = 255},
                   "a picture of which no part as large as a 32nd of its width and height differs by N of 255 from the "
                   "one that was read last is not read again (default 8; 0: each is read)");
    options_.declare_answer(options);
    options_.declare_form(options);
    options_.declare_cost(options);
    options.heading("What comes of it");
    options.flag("--on-change", on_change_, "print a line only when the answer is another than before");
    options.flag("--json", json_, "a JSON object a line");
    options.text("--exec", "COMMAND", command_,
                 "run by the shell when the answer is another than before, with ONSIGHT_ANSWER, ONSIGHT_BEFORE, "
                 "ONSIGHT_TIME, ONSIGHT_CONFIDENCE and ONSIGHT_FILE; for at most a minute");
    options.flag("--stats", stats_, "say at the end, on standard error, what was saved; on a terminal always");
  }

  Status run(Context& context) override {
    if (!source_) return make_error(ErrorCode::kUsage, "expected SOURCE, what is to be watched");
    WatchOptions watch;
    TRY(watch.every, parse_interval(every_.value_or("2s")));
    TRY_STATUS(options_.check_values());
    TRY_STATUS(expect_source(*source_));
    TRY(const Path folder, find_model(options_.model));
    TRY_STATUS(options_.load_schema());
    engine::EngineOptions engine_options = options_.engine_options();
    engine_options.limits.feature_bytes = kLookFeatureBytes;
    TRY(std::unique_ptr<engine::Engine> engine, context.services.load(folder, engine_options));
    interrupted() = false;
    const CatchInterrupts catching(Interrupts::kFlagOnce);
    watch.stop = [] { return interrupted().load(); };
    watch.complain = [](const std::string& sentence) { print_error(sentence); };
    Status watched = watch_source(*source_, watch, [&](const Look& look) { return decide(context, *engine, look); });
    // Ctrl-C is how it ends.
    if (!watched && watched.error().code != ErrorCode::kInterrupted) return watched;
    Output error(STDERR_FILENO);
    if (stats_ || error.is_terminal()) return error.write(summary());
    return {};
  }

 private:
  Status decide(Context& context, engine::Engine& engine, const Look& look) {
    const Stopwatch since;
    std::optional<media::Glance> glance;
    bool same = false;
    if (min_change_ > 0 && look.file.empty()) {
      glance = media::Glance::of(*look.picture);
      same = last_glance_ && glance->difference(*last_glance_) < min_change_;
    } else if (min_change_ > 0) {  // pictures of a folder are each their own: two invoices may differ in one digit
      same = is_equal(*look.picture);
    }
    if (!same) {
      Result<Decision> read = ask(engine, look);
      if (!read && !look.file.empty() && read.error().code != ErrorCode::kInterrupted) {
        print_error(fmt::format("{}: {}", look.file, read.error().message));
        return {};  // the folder's other pictures may go
      }
      if (!read) return tl::unexpected(std::move(read).error());
      last_glance_ = glance;
      if (!look.file.empty()) last_picture_ = look.picture;
      read_ms_ += read->ms;
      ++reads_;
      now_ = *std::move(read);
    }
    ++looks_;
    now_.ms = since.ms();
    const bool changed = !before_ || *before_ != now_.text;
    if (changed || !on_change_) TRY_STATUS(context.out.write(line_of(look, same, changed)));
    if (changed && before_ && command_) TRY_STATUS(react(look));
    before_ = now_.text;
    return {};
  }

  bool is_equal(const media::Image& picture) const {
    return last_picture_ && last_picture_->width == picture.width && last_picture_->height == picture.height &&
           last_picture_->rgb == picture.rgb;
  }

  Result<Decision> ask(engine::Engine& engine, const Look& look) {
    const Stopwatch since;
    engine::Request request = options_.request;
    if (options_.system) request.messages.push_back(system_message(*options_.system));
    const std::string question = question_of(ask_.value_or(""), kPlaceOfPicture, kDefaultPrompt);
    TRY(engine::Message message, engine::user_message({look.picture}, question));
    request.messages.push_back(std::move(message));
    request.cancelled = interrupted_flag();
    request.logprobs = 0;
    double sum = 0;
    int tokens = 0;
    engine::Callbacks callbacks;
    callbacks.on_token = [&](const engine::TokenProbability& token, std::span<const engine::TokenProbability>) {
      sum += static_cast<double>(token.logprob);
      ++tokens;
    };
    TRY(engine::Reply reply, engine.generate(request, callbacks));
    if (reply.finish_reason == engine::FinishReason::kCancelled)
      return make_error(ErrorCode::kInterrupted, "interrupted");
    return Decision{std::move(reply.text), tokens > 0 ? std::exp(sum / tokens) : 0, since.ms()};
  }

  std::string line_of(const Look& look, bool same, bool changed) const {
    if (!json_) {
      std::string file = look.file.empty() ? "" : fmt::format("  {}", printable(look.file));
      return fmt::format("{}{}  {}  {:.2f}  {:.0f} ms\n", look.time, file, printable(now_.text), now_.confidence,
                         now_.ms);
    }
    ordered_json row = {{"time", look.time}};
    if (!look.file.empty()) row["file"] = look.file;
    row["answer"] = now_.text;
    row["confidence"] = std::round(now_.confidence * 1e4) / 1e4;
    row["latency_ms"] = std::round(now_.ms * 10) / 10;
    row["changed"] = changed;
    row["read"] = !same;
    return row.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }

  Status react(const Look& look) const {
    const std::vector<std::pair<std::string, std::string>> variables = {
        {"ONSIGHT_ANSWER", now_.text},
        {"ONSIGHT_BEFORE", *before_},
        {"ONSIGHT_TIME", look.time},
        {"ONSIGHT_CONFIDENCE", fmt::format("{:.4f}", now_.confidence)},
        {"ONSIGHT_FILE", look.file}};
    const auto code = run_shell(*command_, variables, kCommandTime, [] { return interrupted().load(); });
    if (!code && code.error().code == ErrorCode::kInterrupted) return tl::unexpected(code.error());
    if (!code) print_error(fmt::format("--exec: {}", code.error().message));
    if (code && *code != 0) print_error(fmt::format("--exec: ended with code {}", *code));
    return {};
  }

  std::string summary() const {
    if (looks_ == 0) return "nothing was seen\n";
    const int64_t spared = looks_ - reads_;
    const double each = reads_ > 0 ? read_ms_ / static_cast<double>(reads_) : 0;
    return fmt::format("{} looks, {} read in {:.2f} s each; {} had not changed, which saved {:.1f} s\n",
                       readable_count(looks_), readable_count(reads_), each / 1e3, readable_count(spared),
                       each * static_cast<double>(spared) / 1e3);
  }

  RequestOptions options_;
  std::optional<std::string> source_, ask_, every_, command_;
  double min_change_ = 8;
  bool on_change_ = false, json_ = false, stats_ = false;
  std::optional<media::Glance> last_glance_;          // of the picture that was read last
  std::shared_ptr<const media::Image> last_picture_;  // the same of a folder
  Decision now_;
  std::optional<std::string> before_;
  int64_t looks_ = 0, reads_ = 0;
  double read_ms_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_watch() { return std::make_unique<Watch>(); }

}  // namespace onsight::cli
