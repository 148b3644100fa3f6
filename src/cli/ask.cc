// onsight ask: one question, one answer.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/request_options.h"
#include "cli/stats.h"

namespace onsight::cli {
namespace {

// Keys in this order; bytes that are not UTF-8 become U+FFFD.
std::string to_json(const engine::Reply& reply) {
  const engine::Timings& ms = reply.timings_ms;
  nlohmann::ordered_json object = {
      {"text", reply.text},
      {"prompt_tokens", reply.prompt_tokens},
      {"prompt_tokens_details", {{"cached_tokens", reply.reused_tokens}}},
      {"cached_tiles", reply.cached_tiles},
      {"completion_tokens", reply.completion_tokens},
      {"drafted_tokens", reply.drafted_tokens},
      {"accepted_tokens", reply.accepted_tokens},
      {"finish_reason", std::string(engine::to_string(reply.finish_reason))},
      {"timings_ms",
       {{"load", ms.load},
        {"preprocess", ms.preprocess},
        {"vision", ms.vision},
        {"prefill", ms.prefill},
        {"decode", ms.decode},
        {"first_token", ms.first_token}}},
      {"peak_memory_bytes", engine::peak_memory_bytes()},
  };
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string to_text(const engine::Estimate& e) {
  return fmt::format(
      "prompt   {} tokens, {} of them from {} tile{}\n"
      "answer   the first token after {:.2f} s, then {:.1f} ms each; at most {}, in {:.1f} s\n"
      "memory   {:.1f} MB beside the model\n",
      e.prompt_tokens, e.image_tokens, e.tiles, e.tiles == 1 ? "" : "s", e.first_token_ms / 1e3, e.token_ms,
      e.max_tokens, (e.first_token_ms + e.token_ms * std::max(0, e.max_tokens - 1)) / 1e3,
      static_cast<double>(e.memory_bytes) / 1e6);
}

std::string to_json(const engine::Estimate& e) {
  return nlohmann::ordered_json{
             {"prompt_tokens", e.prompt_tokens}, {"image_tokens", e.image_tokens},     {"tiles", e.tiles},
             {"max_tokens", e.max_tokens},       {"first_token_ms", e.first_token_ms}, {"token_ms", e.token_ms},
             {"memory_bytes", e.memory_bytes}}
             .dump() +
         "\n";
}

class Ask : public Verb {
 public:
  void declare(Options& options) override {
    options_.declare_inputs(options, "a picture, in order; - reads it from standard input");
    options_.declare_videos(options);
    options_.declare_prompt(options);
    options_.declare_answer(options);
    options_.declare_form(options);
    options_.declare_cost(options);
    options_.declare_savings(options);
    options.heading("What is printed");
    options.flag("--json", json_, "print one JSON object: text, tokens, finish reason, timings, memory");
    options.flag("--estimate", estimate_,
                 "print what the answer would take, from a second of measuring, instead of the answer");
    options.flag("--stats", stats_, "print tokens, times and memory on standard error after the answer");
  }

  Status run(Context& context) override {
    TRY_STATUS(options_.check());
    TRY(Path folder, find_model(options_.model));
    TRY_STATUS(options_.load_schema());
    Stopwatch decoding;
    TRY(options_.request.messages, make_messages(options_));
    double decode_ms = decoding.ms();
    Stopwatch loading;
    TRY(std::unique_ptr<engine::Engine> engine, context.services.load(folder, options_.engine_options()));
    double load_ms = loading.ms();
    say_quantised(engine->info(), load_ms);
    if (estimate_) {
      TRY(engine::Estimate estimate, engine->estimate(options_.request, 1));
      estimate.first_token_ms += decode_ms;
      return context.out.write(json_ ? to_json(estimate) : to_text(estimate));
    }
    TRY(Answer answer, generate(context, *engine, options_.request, {.print = !json_}));
    engine::Reply& reply = answer.reply;
    reply.timings_ms.load = load_ms;
    reply.timings_ms.preprocess += decode_ms;  // the engine starts from pixels, the user from a file
    if (json_) TRY_STATUS(context.out.write(to_json(reply)));
    if (stats_) print_stats(reply, engine->info(), answer.tiles);
    if (reply.finish_reason == engine::FinishReason::kCancelled)
      return make_error(ErrorCode::kInterrupted, "interrupted");
    return {};
  }

 private:
  // Where time went that `onsight convert` would save: said if asked, or where it is long.
  void say_quantised(const engine::ModelInfo& info, double load_ms) const {
    Output error(STDERR_FILENO);
    const std::string& format = info.text_quantisation.empty() ? info.vision_quantisation : info.text_quantisation;
    if (format.empty() || !(stats_ || load_ms > 1000)) return;
    (void)error.write(fmt::format(
        "weights brought into {} while loading, in {:.1f} s; `onsight convert` does it once\n", format, load_ms / 1e3));
  }

  RequestOptions options_;
  bool json_ = false, stats_ = false, estimate_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_ask() { return std::make_unique<Ask>(); }

}  // namespace onsight::cli
