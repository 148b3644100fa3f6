// The program with a scripted engine in place of a model, for tests of what happens around an answer: signals, pipes,
// terminals.
//
//   ONSIGHT_SCRIPT='{"pieces": ["Hello", " you"], "delay_ms": 50}' onsight_scripted ask --model /tmp "Hi"
//
// Keys: pieces (the answer), delay_ms (before each), tiles (progress is reported for so many), load_ms (how long
// loading takes), log (a file to which each request is appended as a line of JSON), fail (an error sentence), code (its
// ErrorCode), throw ("bad_alloc" or "system_error"), offset (added to each traced value), layers (of a trace).
#include <chrono>
#include <fstream>
#include <system_error>
#include <thread>

#include "base/json.h"
#include "cli/program.h"

namespace onsight {
namespace {

void wait_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

Json describe(const engine::Request& request) {
  Json messages = Json::array();
  for (const engine::Message& message : request.messages) {
    Json parts = Json::array();
    for (const engine::Part& part : message.content)
      parts.push_back(part.image ? fmt::format("<{}x{}>", part.image->width, part.image->height) : part.text);
    messages.push_back({{"role", message.role}, {"parts", parts}});
  }
  const engine::Sampling& s = request.sampling;
  return {{"messages", messages},
          {"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"repetition_penalty", s.repetition_penalty},
          {"seed", s.seed},
          {"max_tiles", request.picture.max_tiles},
          {"allow_upscale", request.picture.allow_upscale},
          {"max_tokens", request.max_tokens},
          {"draft", request.draft},
          {"stop", request.stop}};
}

class ScriptedEngine : public engine::Engine {
 public:
  ScriptedEngine(Json script, const Path& folder) : script_(std::move(script)) {
    info_.name = folder.filename().string();
    info_.tokens_per_tile = 64;
  }
  const engine::ModelInfo& info() const override { return info_; }

  Result<engine::Reply> generate(const engine::Request& request, const engine::Callbacks& callbacks) override {
    TRY_STATUS(begin(request));
    engine::Reply reply;
    reply.prompt_tokens = 7;
    int64_t tiles = script_.value("tiles", 0), delay = script_.value("delay_ms", 0);
    for (int64_t done = 0; done <= tiles && tiles > 0; ++done) {
      callbacks.on_progress(engine::Stage::kVision, done, tiles);
      wait_ms(delay);
      if (request.cancelled->load()) return cancelled(std::move(reply));
    }
    for (const std::string& piece : script_.value("pieces", std::vector<std::string>{"Seen", "."})) {
      wait_ms(delay);
      if (request.cancelled->load()) return cancelled(std::move(reply));
      reply.text += piece;
      reply.tokens.push_back(reply.completion_tokens++);
      callbacks.on_text(piece);
    }
    reply.timings_ms.decode = 10;
    return reply;
  }

  Status trace(const engine::Request& request, std::string_view answer, const engine::TraceSink& sink) override {
    TRY_STATUS(begin(request));
    std::vector<int32_t> ids = {1, 2, 3};
    for (const char c : answer) ids.push_back(c);
    const auto n = static_cast<int64_t>(ids.size());
    TRY_STATUS(sink("input_ids", {compute::DType::kI32, {n}, reinterpret_cast<std::byte*>(ids.data())}));
    std::vector<float> values(4 * ids.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) + 1 + script_.value("offset", 0.0f);
    std::vector<std::string> names = {"text.embeddings"};
    for (int i = 0; i < script_.value("layers", 11); ++i) names.push_back(fmt::format("text.layers.{}", i));
    names.push_back("logits");
    for (const std::string& name : names) {
      wait_ms(script_.value("delay_ms", 0));
      TRY_STATUS(sink(name, {compute::DType::kF32, {n, 4}, reinterpret_cast<std::byte*>(values.data())}));
    }
    return {};
  }

  engine::RequestWork work(int64_t prompt_tokens, int64_t) const override {
    const double prompt_ops = 1e6 * static_cast<double>(prompt_tokens);
    return {.tile_ops = 3e9,
            .tile_linear_ops = 2e9,
            .tile_attention_ops = 1e9,
            .prompt_ops = prompt_ops,
            .prompt_linear_ops = prompt_ops,
            .token_ops = 1e6,
            .token_bytes = 1e6};
  }

 private:
  Status begin(const engine::Request& request) {
    if (script_.contains("log"))
      std::ofstream(script_["log"].get<std::string>(), std::ios::app) << describe(request) << "\n";
    std::string thrown = script_.value("throw", "");
    if (thrown == "bad_alloc") throw std::bad_alloc();
    if (thrown == "system_error")
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    if (script_.contains("fail"))
      return make_error(static_cast<ErrorCode>(script_.value("code", 1)), "{}", script_["fail"].get<std::string>());
    return {};
  }
  static engine::Reply cancelled(engine::Reply reply) {
    reply.finish_reason = engine::FinishReason::kCancelled;
    return reply;
  }

  Json script_;
  engine::ModelInfo info_;
};

Result<std::unique_ptr<engine::Engine>> load(const Path& folder, const engine::EngineOptions&) {
  const char* text = std::getenv("ONSIGHT_SCRIPT");
  TRY(Json script, parse_json(text ? text : "{}", "ONSIGHT_SCRIPT"));
  wait_ms(script.value("load_ms", 0));
  return std::make_unique<ScriptedEngine>(std::move(script), folder);
}

Result<engine::ModelInfo> inspect(const Path& folder) {
  engine::ModelInfo info;
  info.name = folder.filename().string();
  info.parameters = 1'234'567;
  return info;
}

}  // namespace
}  // namespace onsight

int main(int argc, char** argv) { return onsight::cli::run_program(argc, argv, {onsight::load, onsight::inspect}); }
