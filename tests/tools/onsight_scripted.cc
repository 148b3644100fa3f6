// The program with a scripted engine in place of a model, for tests of what happens around an answer: signals, pipes,
// terminals.
//
//   ONSIGHT_SCRIPT='{"pieces": ["Hello", " you"], "delay_ms": 50}' onsight_scripted ask --model /tmp "Hi"
//
// Keys: pieces (the answer), repeat (so many times over), delay_ms (before each), tiles (progress is reported for so
// many), load_ms (how long loading takes), log (a file to which each request is appended as a line of JSON), fail (an
// error sentence), code (its ErrorCode), field and reason (its), context (the model's), throw ("bad_alloc" or
// "system_error"), offset (added to each traced value), layers (of a trace), queued (so many submitted requests may
// wait). Submitted requests are answered at the same time, a piece of each in a round.
#include <array>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/json.h"
#include "cli/program.h"

namespace onsight {
namespace {

void wait_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// "<6x4>" is a picture; "<64x48, 48 at 12/s>" a video, behind which stands what of it was asked for.
std::string describe(const engine::Part& part) {
  if (part.image) return fmt::format("<{}x{}>", part.image->width, part.image->height);
  if (!part.clip.video) return part.text;
  const media::VideoFacts& facts = part.clip.video->facts();
  const media::ClipOptions& asked = part.clip.options;
  std::string out = fmt::format("<{}x{}, {} at {:g}/s", facts.width, facts.height, facts.frames, facts.fps);
  if (asked.fps > 0) out += fmt::format(", fps {:g}", asked.fps);
  if (asked.max_frames == media::kHoweverMany)
    out += ", however many";
  else if (asked.max_frames > 0)
    out += fmt::format(", most {}", asked.max_frames);
  if (asked.start > 0 || asked.end > 0) out += fmt::format(", from {:g} to {:g}", asked.start, asked.end);
  return out + ">";
}

Json describe(const engine::Request& request) {
  Json messages = Json::array();
  for (const engine::Message& message : request.messages) {
    Json parts = Json::array();
    for (const engine::Part& part : message.content) parts.push_back(describe(part));
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
    info_.context_length = script_.value("context", 8192);
    reason_ = script_.value("reason", "");
  }
  const engine::ModelInfo& info() const override { return info_; }

  Result<engine::Reply> generate(const engine::Request& request, const engine::Callbacks& callbacks) override {
    TRY_STATUS(begin(request));
    Job job{request, callbacks, {}, {}, 0, 0};
    while (!job_step(job)) wait_ms(script_.value("delay_ms", 0));
    return std::move(job.reply);
  }

  Status submit(const engine::Request& request, engine::Callbacks callbacks,
                std::function<void(Result<engine::Reply>)> on_done) override {
    TRY_STATUS(begin(request));
    const std::scoped_lock lock(mutex_);
    if (static_cast<int>(jobs_.size()) >= script_.value("queued", 256)) {
      ++activity_.refused;
      return make_error(ErrorCode::kBusy, "{} requests wait already", jobs_.size());
    }
    ++activity_.requests;
    jobs_.push_back({request, std::move(callbacks), std::move(on_done), {}, 0, 0});
    wake_.notify_all();
    return {};
  }

  // Each round does a step of every request.
  void run(const std::stop_token& stop) override {
    std::unique_lock lock(mutex_);
    while (wake_.wait(lock, stop, [&] { return !jobs_.empty(); })) {
      std::list<Job> jobs = std::move(jobs_);
      jobs_.clear();
      activity_.active = static_cast<int>(jobs.size());
      lock.unlock();
      wait_ms(script_.value("delay_ms", 0));
      for (auto job = jobs.begin(); job != jobs.end();) {
        const bool done = stop.stop_requested() || job_step(*job);
        if (done) {
          if (stop.stop_requested()) job->reply = cancelled(std::move(job->reply));
          job->on_done(std::move(job->reply));
        }
        job = done ? jobs.erase(job) : std::next(job);
      }
      lock.lock();
      jobs_.splice(jobs_.begin(), jobs);
      activity_.active = static_cast<int>(jobs_.size());
    }
  }

  Result<engine::Estimate> estimate(const engine::Request& request, int answers) override {
    TRY_STATUS(begin(request));
    return engine::Estimate{.prompt_tokens = kPromptTokens,
                            .image_tokens = 3,
                            .tiles = script_.value("tiles", 0),
                            .max_tokens = request.max_tokens,
                            .first_token_ms = 5,
                            .token_ms = 1.0 * answers,
                            .memory_bytes = 1000 * answers};
  }

  engine::Activity activity() const override {
    const std::scoped_lock lock(mutex_);
    return activity_;
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
  static constexpr int kPromptTokens = 7;
  struct Job {
    engine::Request request;
    engine::Callbacks callbacks;
    std::function<void(Result<engine::Reply>)> on_done;
    engine::Reply reply;
    int64_t tiles = 0;
    size_t pieces = 0;
  };

  // The next tile or piece of the answer; true if there is none.
  bool job_step(Job& job) {
    engine::Reply& reply = job.reply;
    reply.prompt_tokens = kPromptTokens;
    reply.timings_ms.decode = 10;
    if (job.request.cancelled && job.request.cancelled->load()) {
      reply = cancelled(std::move(reply));
      return true;
    }
    const int64_t tiles = script_.value("tiles", 0);
    if (tiles > 0 && job.tiles <= tiles) {
      if (job.callbacks.on_progress) job.callbacks.on_progress(engine::Stage::kVision, job.tiles, tiles);
      ++job.tiles;
      return false;
    }
    const auto pieces = script_.value("pieces", std::vector<std::string>{"Seen", "."});
    if (job.pieces == pieces.size() * script_.value("repeat", size_t{1})) return true;
    if (reply.completion_tokens == job.request.max_tokens) {
      reply.finish_reason = engine::FinishReason::kLength;
      return true;
    }
    const std::string& piece = pieces[job.pieces++ % pieces.size()];
    reply.text += piece;
    reply.tokens.push_back(reply.completion_tokens++);
    if (job.request.logprobs >= 0 && job.callbacks.on_token) {
      const engine::TokenProbability chosen{reply.tokens.back(), piece, -0.5f}, other{99, "?", -1.5f};
      const std::array top{chosen, other};
      job.callbacks.on_token(chosen,
                             std::span(top).first(std::min<size_t>(2, static_cast<size_t>(job.request.logprobs))));
    }
    if (job.callbacks.on_text) job.callbacks.on_text(piece);
    return false;
  }

  Status begin(const engine::Request& request) {
    if (script_.contains("log"))
      std::ofstream(script_["log"].get<std::string>(), std::ios::app) << describe(request) << "\n";
    std::string thrown = script_.value("throw", "");
    if (thrown == "bad_alloc") throw std::bad_alloc();
    if (thrown == "system_error")
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
    if (script_.contains("fail"))
      return tl::unexpected<Error>({.code = static_cast<ErrorCode>(script_.value("code", 1)),
                                    .message = script_["fail"].get<std::string>(),
                                    .field = script_.value("field", ""),
                                    .reason = reason_});
    return {};
  }
  static engine::Reply cancelled(engine::Reply reply) {
    reply.finish_reason = engine::FinishReason::kCancelled;
    return reply;
  }

  Json script_;
  engine::ModelInfo info_;
  std::string reason_;  // an Error has a view of it
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::list<Job> jobs_;
  engine::Activity activity_;
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
