// Engine: a model in memory that answers requests.
//
//   TRY(std::unique_ptr<Engine> engine, Engine::load("models/onsight-nano", {}));
//   Request request;
//   TRY(Message message, user_message({image}, "What is the total?"));  request.messages = {message};
//   TRY(Reply reply, engine->generate(request, {.on_text = [](std::string_view piece) { std::cout << piece; }}));
//
// Many at once: requests are submitted from any thread, and one thread runs them, all together.
//
//   std::jthread worker([&](std::stop_token stop) { engine->run(stop); });
//   TRY_STATUS(engine->submit(request, {.on_text = send}, [](Result<Reply> reply) { … }));
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "compute/tensor.h"
#include "media/image.h"
#include "media/video.h"
#include "text/json_schema.h"

namespace onsight::engine {

// What the weights of linear layers are in memory. kAuto: a model of over 100 million parameters in q8, others as they
// come. A native file has them in the format that it was converted to: kAuto, kNone, and that.
enum class Quantisation { kAuto, kNone, kQ8, kQ4, kF32 };

// What submitted requests may take together. One that does not fit waits for others to end; one that finds the queue
// full, or that would not fit even alone, is refused.
struct Limits {
  int active = 32;           // requests whose answers are written at the same time
  int queued = 256;          // that wait
  int64_t memory_bytes = 0;  // of keys, values and features; 0: half of what is free when the model has been loaded
  int64_t feature_bytes = int64_t{256} << 20;  // of tiles that were read, for requests about the same pixels
};

struct EngineOptions {
  int threads = 0;  // 0: one for each core that this process may use
  Quantisation text = Quantisation::kAuto, vision = Quantisation::kAuto;
  // Keys and values: kF32, kF16, or kI8 for codes of 8 bits, which take half of the memory of f16. Nothing: kF16 where
  // the text model's weights are in codes, otherwise kF32.
  std::optional<compute::DType> kv = {};
  // A folder that keeps image features and the state of prompts' starts for other runs, up to so many bytes; empty:
  // none does.
  Path cache = {};
  int64_t cache_bytes = int64_t{1} << 30;
  Limits limits = {};
  bool step_times = false;  // Engine::step_times
};

// How the next token is chosen. temperature 0 is greedy: the most probable token, the lower id if equal.
struct Sampling {
  float temperature = 0;
  int top_k = 0;                 // 0: off
  float top_p = 1;               // 1: off
  float min_p = 0;               // 0: off
  float repetition_penalty = 1;  // as transformers': applied to every token of prompt and answer
  uint64_t seed = 0;
};

// The documented ways to spend less on a picture; the defaults are the reference's behaviour.
struct PictureOptions {
  int max_tiles = 0;  // 0: as many as the checkpoint's processor makes; 1: the global picture only
  bool allow_upscale =
      true;  // false: a picture smaller than the processor's size is not enlarged beyond what tiling needs
};

struct Part {
  enum class Kind { kText, kImage, kVideo };
  Kind kind = Kind::kText;
  std::string text;
  std::shared_ptr<const media::Image> image;
  media::Clip clip = {};
};
struct Message {
  std::string role = "user";  // "user", "assistant" or "system"
  std::vector<Part> content;
};

struct Request {
  std::vector<Message> messages;
  Sampling sampling;
  PictureOptions picture;
  int max_tokens = 1024;
  bool draft = true;  // guess tokens from what was said before and check several at once; the answer is the same
  std::vector<std::string> stop;  // the answer ends before the first of these
  // The answer is a value of this schema, whole even where max_tokens ends it; refused if max_tokens is too few for any
  // value, or if there are stops.
  std::shared_ptr<const text::JsonSchema> schema;
  // How many of the most probable tokens are told beside each token of the answer (Callbacks::on_token); -1: nothing
  // is.
  int logprobs = -1;
  std::string client;                                  // requests that wait are taken from each client in turn
  std::shared_ptr<const std::atomic<bool>> cancelled;  // looked at between tokens and tiles
};

enum class FinishReason {
  kStop,
  kLength,
  kCancelled
};                                                // an end token or stop string; max_tokens or the context; the caller
std::string_view to_string(FinishReason reason);  // "stop", "length", "cancelled"

struct Timings {  // milliseconds of wall time
  double load = 0, preprocess = 0, vision = 0, prefill = 0, decode = 0;
  double mask = 0;         // of decode: to find the tokens that a schema allows
  double first_token = 0;  // from the start of generate() to the first token
};

struct Reply {
  std::string
      text;  // valid UTF-8, special tokens left out, and without the one space that the family's answers begin with
  std::vector<int32_t> tokens;  // of the answer, end token excluded
  int prompt_tokens = 0;
  int reused_tokens = 0;  // of prompt_tokens: their state was left by the previous request, or kept by an earlier run
  int cached_tiles = 0;   // that an earlier run had read: EngineOptions::cache
  int completion_tokens = 0;
  int drafted_tokens = 0, accepted_tokens = 0;  // guessed; and of these, in the answer
  FinishReason finish_reason = FinishReason::kStop;
  Timings timings_ms;
};

enum class Stage { kFrames, kVision, kPrefill };

// A token and the logarithm of its probability: softmax of the model's logits, before temperature and the like.
struct TokenProbability {
  int32_t token = 0;
  std::string bytes;  // as they stand in the text; may be a part of a character
  float logprob = 0;
};

// Of one request, in the order in which things happen. Called on the thread that runs the engine; they must not wait.
struct Callbacks {
  std::function<void(std::string_view)> on_text;  // whole UTF-8 characters, as they become certain
  // Each token of the text and, the most probable first, those that might have stood there: Request::logprobs. Their
  // bytes join to the text, but for U+FFFD: what a stop string or the one space in front takes of a token is not told.
  // A token comes when all of it is certain, before the on_text that tells its end.
  std::function<void(const TokenProbability&, std::span<const TokenProbability>)> on_token;
  std::function<void(Stage, int64_t done, int64_t total)>
      on_progress;  // frames of videos decoded; tiles read; prompt tokens processed
};

// Receives named tensors of one forward pass: "input_ids" [n] i32, "pixel_values" [tiles, 3, T, T],
// "image_features" [tiles * N, d_text], "vision.embeddings", "vision.layers.<i>", "vision.post_layernorm" [tiles,
// patches, d_vision], "text.embeddings", "text.layers.<i>", "text.norm" [n, d_text], "logits" [n, vocabulary]. The
// tensor is valid during the call only.
using TraceSink = std::function<Status(std::string_view name, const compute::Tensor& tensor)>;

struct ModelInfo {
  std::string name;          // of the folder or the file
  std::string architecture;  // "SmolVLMForConditionalGeneration"
  int64_t parameters = 0, vision_parameters = 0, text_parameters = 0;
  std::string weight_types;  // "bf16" or "bf16 (471), f32 (3)"
  std::string text_quantisation,
      vision_quantisation;   // "q8" or "q4" where loading changes the weights, otherwise empty
  int64_t file_bytes = 0;    // of the weights on disk
  int64_t memory_bytes = 0;  // weights + one full context + the working memory of one picture
  int tile_size = 0, patch_size = 0, tokens_per_tile = 0,
      max_tiles = 0;  // max_tiles: of one picture, the global one included
  int context_length = 0, vocabulary_size = 0;
  std::string vision_shape, text_shape;  // "d 768, 12 layers, 12 heads, FFN 3072"
};

// What answers to a request will take, predicted from its prompt and from how long such work has taken on this machine.
struct Estimate {
  int prompt_tokens = 0, image_tokens = 0, tiles = 0;  // image_tokens: of prompt_tokens
  int max_tokens = 0;         // of each: what is left of the context for it, at most what it asks for
  double first_token_ms = 0;  // of the first of them, alone on the machine, nothing reused
  double token_ms = 0;        // of a further token of each, which are written together
  int64_t memory_bytes = 0;   // beside the model: keys, values and features to their ends
};

// How busy the engine is.
struct Activity {
  int active = 0, queued = 0;
  int64_t memory_bytes = 0, memory_limit_bytes = 0;  // of Limits::memory_bytes; what is kept for reuse included
  double wait_ms = 0;                                // predicted, of a request that comes now
  int64_t requests = 0, refused = 0, cancelled = 0;  // since the start
  int64_t prompt_tokens = 0, reused_tokens = 0, completion_tokens = 0, tiles = 0;
};

// What the parts of a request ask of the machine, counted from the graphs that run (engine/work.h); for measurements.
struct RequestWork {
  double tile_ops = 0, tile_linear_ops = 0, tile_attention_ops = 0;        // of one tile
  double prompt_ops = 0, prompt_linear_ops = 0, prompt_attention_ops = 0;  // of the whole prompt
  double token_ops = 0, token_bytes = 0;  // of one token of the answer; bytes: weights, keys and values that it reads
};

// Steps of one kind, all that have run: a step is what runs as one, such as the layers that make queries, keys and
// values of the same rows.
struct StepTime {
  enum class Part { kTile, kPrompt, kToken };  // of the tower; of what reads the prompt; of what writes the answer
  Part part = Part::kTile;
  std::string what;  // "linear 768 → 3072 → 768", "attention, 12 heads of 64", "the rest"
  int64_t rows = 0;  // of all; 0 of the rest
  int64_t steps = 0;
  double ms = 0, ops = 0, bytes = 0;  // of all; operations and bytes as RequestWork counts them
};

class Engine {
 public:
  // A checkpoint folder in Hugging Face layout, a native file, or GGUF files (models::open_model says how they are
  // named). Fails with one sentence if anything is missing, broken or not supported.
  static Result<std::unique_ptr<Engine>> load(const Path& path, const EngineOptions& options);
  // What load() would find, without reading the weights' values. Fails as load() would fail on headers, shapes and
  // configs.
  static Result<ModelInfo> inspect(const Path& path, const EngineOptions& options = {});
  virtual ~Engine() = default;

  virtual const ModelInfo& info() const = 0;
  // Takes a request in: cuts and tokenises its prompt on the caller's thread, and queues it. Refuses what can never
  // run; ErrorCode::kBusy if the queue is full. `on_done` is called once, last. Thread safe.
  virtual Status submit(const Request& request, Callbacks callbacks, std::function<void(Result<Reply>)> on_done) = 0;
  // Runs what is submitted until stopped, and sleeps while there is nothing. Where nobody has asked for an estimate
  // before, it predicts nothing, and the shorter of two waiting requests has no precedence. Requests that are not done
  // when it is stopped are cancelled.
  virtual void run(const std::stop_token& stop) = 0;
  // Runs one request to its end on the caller's thread, and whatever else is submitted meanwhile; not beside run().
  // Requests that share a prefix with earlier ones (a chat) reuse its computed state.
  virtual Result<Reply> generate(const Request& request, const Callbacks& callbacks) = 0;
  // What so many answers to a request would take; refuses what submit() would, whatever others do. The first call
  // measures the machine, in a second or so on the caller's thread, and must come before run(); then it is thread safe.
  virtual Result<Estimate> estimate(const Request& request, int answers) = 0;
  virtual Activity activity() const = 0;  // thread safe
  // One forward pass over the prompt of `request` and `answer` after it, a text as in Reply, or nothing; nothing is
  // generated.
  virtual Status trace(const Request& request, std::string_view answer, const TraceSink& sink) = 0;
  // Of a request with so many tokens before the answer, of an answer token that stands behind `context` others.
  virtual RequestWork work(int64_t prompt_tokens, int64_t context) const = 0;
  // Since loading, with EngineOptions::step_times; not while a request runs.
  virtual std::vector<StepTime> step_times() const { return {}; }
};

// A user message: the pictures in order, then the text; or, where `prompt` holds "{image}", a picture at each. Refuses
// a number of
// "{image}" that is neither zero nor the number of pictures.
Result<Message> user_message(const std::vector<std::shared_ptr<const media::Image>>& images, std::string_view prompt);
// The same of videos, which stand where the prompt says {video}.
Result<Message> video_message(const std::vector<media::Clip>& clips, std::string_view prompt);

// The most memory this process has held, in bytes (VmHWM).
int64_t peak_memory_bytes();

// The instruction set of the kernels that this machine gets, as ONSIGHT_ISA names it; empty if that names none.
std::string kernels_name();

}  // namespace onsight::engine
