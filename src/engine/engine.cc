#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>

#include "base/thread_pool.h"
#include "compute/executor.h"
#include "engine/drafter.h"
#include "engine/memory.h"
#include "engine/run_cache.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "engine/text_stream.h"
#include "engine/weight_choice.h"
#include "engine/work.h"
#include "models/model.h"
#include "text/token_mask.h"

namespace onsight::engine {
namespace {

using compute::Bindings;
using compute::Buffer;
using compute::DType;
using compute::Graph;
using compute::Shape;
using compute::Tensor;
using compute::Value;

constexpr int64_t kPrefillChunk = 256;  // rows a pass: bounds working memory and the wait for Ctrl-C
static_assert(kPrefillChunk % compute::kKvPage == 0);
constexpr int64_t kFewRows = 16;  // cost a pass hardly anything
constexpr int64_t kFeatureCacheBytes = int64_t{256} << 20;

class Stopwatch {
 public:
  double ms() const { return std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

template <class T>
Tensor view(DType dtype, Shape shape, const T* data) {
  return {dtype, shape, reinterpret_cast<const std::byte*>(data)};
}

// Third-party exceptions and failed allocations end here.
template <class Body>
auto guarded(const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "not enough memory: an allocation was refused, {} MB are free",
                      available_memory_bytes() >> 20);
  } catch (const std::exception& e) {
    return bad_input("unexpected failure: {}", e.what());
  }
}

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
  std::error_code error;
  if (checkpoint.gguf().empty()) {
    const Path canonical = std::filesystem::weakly_canonical(path, error);
    info.name = (canonical.has_filename() ? canonical : canonical.parent_path()).filename().string();
  } else {
    info.name = Path(checkpoint.gguf().front().where()).filename().string();
  }
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
              std::unique_ptr<ThreadPool> pool, const Stopwatch& since)
      : pool_(std::move(pool)),
        executor_(*pool_, kernels),
        model_(std::move(model)),
        info_(std::move(info)),
        cache_(model_->facts().kv),
        load_ms_(since.ms()) {}

  const ModelInfo& info() const override { return info_; }

  void keep_in(DiskCache disk, const Digest& model) {
    std::string how =
        fmt::format("{} {} {}", executor_.kernels().name, info_.vision_quantisation, info_.text_quantisation);
    kept_.emplace(std::move(disk), model, std::move(how), *pool_);
  }

  Result<Reply> generate(const Request& request, const Callbacks& callbacks) override {
    return guarded([&] { return run(request, callbacks); });
  }

  Status submit(const Request& request, Callbacks callbacks, std::function<void(Result<Reply>)> on_done) override {
    const std::scoped_lock lock(mutex_);
    jobs_.push_back({request, std::move(callbacks), std::move(on_done)});
    wake_.notify_all();
    return {};
  }
  void run(const std::stop_token& stop) override {
    std::unique_lock lock(mutex_);
    while (wake_.wait(lock, stop, [&] { return !jobs_.empty(); })) {
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job.on_done(generate(job.request, job.callbacks));
      lock.lock();
    }
  }
  Result<Estimate> estimate(const Request&) override { return Estimate{}; }
  Activity activity() const override { return {}; }

  Status trace(const Request& request, std::string_view answer, const TraceSink& sink) override {
    return guarded([&] { return run_trace(request, answer, sink); });
  }

  RequestWork work(int64_t prompt_tokens, int64_t context) const override {
    const models::ModelFacts& facts = model_->facts();
    Graph vision;
    (void)model_->vision(vision, vision.input("pixels", DType::kF32, {1, 3, facts.tile_size, facts.tile_size}));
    const auto decoder = [&](int64_t rows, int64_t before) {
      Graph graph, last;
      const Value embedded = model_->embed(graph, graph.input("ids", DType::kI32, {rows}));
      (void)model_->text(graph, embedded, graph.input("positions", DType::kI32, {rows}));
      (void)model_->head(last, last.input("hidden", DType::kF32, {1, facts.text_width}));
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

 private:
  Result<models::Prompt> prepare(const Request& request) const {
    std::vector<text::ChatMessage> messages;
    std::vector<std::shared_ptr<const media::Image>> images;
    for (const Message& message : request.messages) {
      text::ChatMessage& out = messages.emplace_back();
      out.role = message.role;
      for (const Part& part : message.content) {
        if (part.kind == Part::Kind::kImage) {
          out.content.push_back({text::ChatPart::Kind::kImage, {}});
          images.push_back(part.image);
        } else {
          out.content.push_back({text::ChatPart::Kind::kText, part.text});
        }
      }
    }
    TRY(models::Prompt prompt,
        model_->prompt(messages, images, {request.picture.max_tiles, request.picture.allow_upscale}));
    const size_t context = static_cast<size_t>(model_->facts().context_length);
    if (prompt.ids.size() >= context)
      return bad_input("prompt: {} tokens, expected fewer than the model's context of {}", prompt.ids.size(), context);
    for (int32_t id : prompt.ids)
      if (id < 0 || id >= model_->facts().vocabulary_size)
        return bad_input("tokenizer: id {}, expected less than the vocabulary of {}", id,
                         model_->facts().vocabulary_size);
    return prompt;
  }

  // Features of one tile, [tokens_per_tile, text_width]. `keep` receives them.
  Status see(const media::Image& tile, Buffer& keep, const compute::Observer& observer = nullptr) {
    const int64_t side = model_->facts().tile_size;
    Buffer pixels(static_cast<size_t>(3 * side * side) * sizeof(float));
    model_->normalise(tile, pixels.f32());
    Graph graph;
    graph.output("features", model_->vision(graph, graph.input("pixels", DType::kF32, {1, 3, side, side})));
    Bindings bindings;
    bindings.inputs["pixels"] = view(DType::kF32, {1, 3, side, side}, pixels.f32());
    TRY_STATUS(executor_.run(graph, bindings, observer));
    const Tensor features = executor_.output("features");
    Buffer copy(static_cast<size_t>(features.bytes()));
    std::memcpy(copy.data(), features.data, copy.bytes());
    keep = std::move(copy);
    return {};
  }

  // Runs positions [first, first + ids.size()) through the decoder; logits of the last row, or of every row, or of
  // none.
  enum class Logits { kNone, kLast, kAll };
  Status forward(std::span<const int32_t> ids, int64_t first, std::span<const int32_t> image_rows,
                 const float* image_features, Logits which, const compute::Observer& observer = nullptr) {
    const int64_t n = static_cast<int64_t>(ids.size()), width = model_->facts().text_width;
    cache_.reserve(first + n);
    std::vector<int32_t> positions(ids.size()), sequences(ids.size(), 0);
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
    const int32_t last = static_cast<int32_t>(n - 1);

    Graph graph;
    Bindings bindings;
    Value x = model_->embed(graph, graph.input("ids", DType::kI32, {n}));
    bindings.inputs["ids"] = view(DType::kI32, {n}, ids.data());
    if (!image_rows.empty()) {
      const int64_t m = static_cast<int64_t>(image_rows.size());
      x = graph.replace_rows(x, graph.input("image_rows", DType::kI32, {m}),
                             graph.input("image_features", DType::kF32, {m, width}));
      bindings.inputs["image_rows"] = view(DType::kI32, {m}, image_rows.data());
      bindings.inputs["image_features"] = view(DType::kF32, {m, width}, image_features);
    }
    x = model_->text(graph, x, graph.input("positions", DType::kI32, {n}));
    bindings.inputs["positions"] = view(DType::kI32, {n}, positions.data());
    if (which == Logits::kLast && n > 1) {
      x = graph.gather_rows(x, graph.input("last", DType::kI32, {1}));
      bindings.inputs["last"] = view(DType::kI32, {1}, &last);
    }
    if (which != Logits::kNone) graph.output("logits", model_->head(graph, x));
    compute::KvCache* caches[] = {&cache_};
    bindings.positions = positions;
    bindings.sequences = sequences;
    bindings.caches = caches;
    return executor_.run(graph, bindings, observer);
  }

  static bool is_cancelled(const Request& request) {
    return request.cancelled && request.cancelled->load(std::memory_order_relaxed);
  }

  bool stands_before(const models::Prompt& prompt, int64_t tile, int64_t position) const {
    return prompt.image_positions[static_cast<size_t>((tile + 1) * model_->facts().tokens_per_tile - 1)] < position;
  }

  // Reads the tiles that have not been seen and stand behind the first `reused` tokens; false if the caller cancelled.
  Result<bool> see_all(const models::Prompt& prompt, int64_t reused, const Request& request, const Callbacks& callbacks,
                       const Tiles& tiles, Reply& reply) {
    const models::ModelFacts& facts = model_->facts();
    const size_t bytes =
        sizeof(float) * static_cast<size_t>(facts.tokens_per_tile) * static_cast<size_t>(facts.text_width);
    bool added = false;
    const int64_t total = static_cast<int64_t>(tiles.size());
    for (int64_t i = 0; i < total; ++i) {
      FeatureCache::Entry& tile = *tiles[static_cast<size_t>(i)];
      if (is_cancelled(request)) return false;
      if (callbacks.on_progress) callbacks.on_progress(Stage::kVision, i, total);
      if (stands_before(prompt, i, reused) || tile.features.bytes() > 0) continue;
      if (kept_ && kept_->load_features(tile, bytes)) {
        ++reply.cached_tiles;
        continue;
      }
      TRY_STATUS(see(tile.tile, tile.features));
      if (kept_) kept_->save_features(tile);
      added = true;
    }
    if (kept_ && added) kept_->trim();
    if (callbacks.on_progress && total) callbacks.on_progress(Stage::kVision, total, total);
    return true;
  }

  std::vector<PositionKey> keys_of(const models::Prompt& prompt, const Tiles& tiles) const {
    std::vector<PositionKey> keys;
    for (int32_t id : prompt.ids) keys.push_back({id, 0});
    const size_t rows = static_cast<size_t>(model_->facts().tokens_per_tile);
    for (size_t i = 0; i < prompt.image_positions.size(); ++i)
      keys[static_cast<size_t>(prompt.image_positions[i])] = {static_cast<int32_t>(i % rows), tiles[i / rows]->id};
    return keys;
  }

  // The part of the image features that stands in [begin, end) of the prompt: row numbers relative to begin, and the
  // rows' numbers.
  struct ImageRows {
    std::vector<int32_t> at;
    std::vector<float> features;
  };
  ImageRows image_rows(const models::Prompt& prompt, const Tiles& tiles, int64_t begin, int64_t end) const {
    ImageRows out;
    const size_t rows = static_cast<size_t>(model_->facts().tokens_per_tile);
    const size_t width = static_cast<size_t>(model_->facts().text_width);
    for (size_t i = 0; i < prompt.image_positions.size(); ++i) {
      const int64_t position = prompt.image_positions[i];
      if (position < begin || position >= end) continue;
      out.at.push_back(static_cast<int32_t>(position - begin));
      const float* row = tiles[i / rows]->features.f32() + i % rows * width;
      out.features.insert(out.features.end(), row, row + width);
    }
    return out;
  }

  Result<Reply> run(const Request& request, const Callbacks& callbacks) {
    const Stopwatch total;
    Reply reply;
    reply.timings_ms.load = load_ms_;
    TRY(models::Prompt prompt, prepare(request));
    reply.timings_ms.preprocess = total.ms();
    reply.prompt_tokens = static_cast<int>(prompt.ids.size());

    TRY(text::TokenMask * mask, constrain(request, reply.prompt_tokens));

    const Stopwatch recalling;
    Tiles tiles;
    for (const media::Image& tile : prompt.tiles) tiles.push_back(features_.find_or_add(tile));
    const std::vector<PositionKey> keys = keys_of(prompt, tiles);
    Fill fill = reuse(prompt, keys, tiles, reply);
    reply.timings_ms.prefill = recalling.ms();

    const Stopwatch vision;
    TRY(bool seen, see_all(prompt, fill.begin, request, callbacks, tiles, reply));
    reply.timings_ms.vision = vision.ms();
    if (!seen) return cancelled(std::move(reply));

    const Stopwatch prefill;
    TRY(bool filled, run_fill(fill, prompt, keys, tiles, request, callbacks));
    reply.timings_ms.prefill += prefill.ms();
    features_.trim();
    if (!filled) return cancelled(std::move(reply));

    TRY_STATUS(decode(request, callbacks, prompt.ids, mask, total, reply));
    if (fill.prefix) {
      kept_->save_prefix(fill.key, *fill.prefix);  // nobody waits for it before the answer
      kept_->trim();
    }
    return reply;
  }

  int64_t budget(const Request& request, int64_t prompt_tokens) const {
    return std::min<int64_t>(request.max_tokens, model_->facts().context_length - prompt_tokens);
  }

  // The mask of the request's schema at the begin of an answer; null without one.
  Result<text::TokenMask*> constrain(const Request& request, int64_t prompt_tokens) {
    if (!request.schema) return nullptr;
    if (!request.stop.empty())
      return make_error(ErrorCode::kUsage, "stop: '{}', expected none beside a schema", request.stop[0]);
    const models::ModelFacts& facts = model_->facts();
    if (!trie_)
      trie_ = std::make_shared<const text::TokenTrie>(model_->tokenizer(), facts.vocabulary_size, facts.end_tokens);
    if (!mask_ || schema_ != request.schema) {
      TRY(mask_, text::TokenMask::make(*request.schema, trie_));
      schema_ = request.schema;
    }
    mask_->restart();
    const int64_t left = budget(request, prompt_tokens), least = mask_->least_tokens();
    if (least > left)
      return bad_input("schema: its shortest value takes {} tokens, {} allows {}", least,
                       left < request.max_tokens ? "the model's context" : "max_tokens", left);
    return &*mask_;
  }

  Reply cancelled(Reply reply) {
    features_.trim();
    reply.finish_reason = FinishReason::kCancelled;
    return reply;
  }

  // How the cache comes to hold a prompt. Its start, which ends with the pictures, runs in chunks of its own that end
  // at multiples of kPrefillChunk: rows of another number in a pass may have other last bits, and so every request,
  // whatever is reused for it, computes the same start.
  struct Fill {
    int64_t start = 0;  // where the pictures end; 0 without any
    int64_t begin = 0;  // what is there already
    // Of the start, to be kept for other runs; a fork, so that it stays as it is.
    bool keep = false;
    Digest key{};
    std::optional<compute::KvCache> prefix = {};
  };

  // Takes what the last request left, or what an earlier run kept of the prompt's start if that is more.
  Fill reuse(const models::Prompt& prompt, const std::vector<PositionKey>& keys, const Tiles& tiles, Reply& reply) {
    const auto n = static_cast<int64_t>(keys.size());
    const auto whole_chunks = [](int64_t positions) { return positions / kPrefillChunk * kPrefillChunk; };
    Fill fill;
    if (!prompt.image_positions.empty()) fill.start = prompt.image_positions.back() + int64_t{1};
    if (fill.start == n) fill.start = whole_chunks(n - 1);
    // The last position is always computed: its logits are the answer's first.
    int64_t reused = std::min<int64_t>(static_cast<int64_t>(common_prefix(keys_, keys)), n - 1);
    if (reused < fill.start) {
      reused = whole_chunks(std::min(reused, start_));
    } else if (reused - fill.start <= kFewRows) {
      reused = fill.start;  // another question about the same pictures
    }
    if (kept_ && reused < fill.start) {
      fill.key = kept_->prefix_key(prompt, fill.start, tiles);
      fill.keep = !kept_->load_prefix(fill.key, fill.start, cache_);
      if (!fill.keep) {
        reused = fill.start;
        keys_.assign(keys.begin(), keys.begin() + reused);
        start_ = reused;
        for (size_t i = 0; i < tiles.size(); ++i)
          reply.cached_tiles += stands_before(prompt, static_cast<int64_t>(i), reused);
      }
    }
    keys_.resize(static_cast<size_t>(reused));
    cache_.truncate(reused);
    start_ = std::min(start_, reused);
    fill.begin = reused;
    reply.reused_tokens = static_cast<int>(reused);
    return fill;
  }

  // Brings the cache to the whole prompt; false if cancelled.
  Result<bool> run_fill(Fill& fill, const models::Prompt& prompt, const std::vector<PositionKey>& keys,
                        const Tiles& tiles, const Request& request, const Callbacks& callbacks) {
    const auto n = static_cast<int64_t>(keys.size());
    for (int64_t begin = fill.begin; begin < n;) {
      if (is_cancelled(request)) return false;
      if (callbacks.on_progress) callbacks.on_progress(Stage::kPrefill, begin, n);
      const int64_t end = std::min(begin < fill.start ? fill.start : n, begin + kPrefillChunk);
      const ImageRows rows = image_rows(prompt, tiles, begin, end);
      const std::span<const int32_t> ids =
          std::span(prompt.ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      TRY_STATUS(forward(ids, begin, rows.at, rows.features.data(), end == n ? Logits::kLast : Logits::kNone));
      keys_.insert(keys_.end(), keys.begin() + begin, keys.begin() + end);
      begin = end;
      if (end <= fill.start) start_ = end;
      if (end == fill.start && fill.keep) fill.prefix = cache_;
    }
    if (callbacks.on_progress) callbacks.on_progress(Stage::kPrefill, n, n);
    return true;
  }

  Status decode(const Request& request, const Callbacks& callbacks, std::vector<int32_t> sequence,
                text::TokenMask* mask, const Stopwatch& total, Reply& reply) {
    const models::ModelFacts& facts = model_->facts();
    Sampler sampler(request.sampling);
    TextStream stream(request.stop);
    const auto emit = [&](const std::string& piece) {
      if (!piece.empty() && callbacks.on_text) callbacks.on_text(piece);
    };
    const Stopwatch decoding;
    const auto vocabulary = static_cast<size_t>(facts.vocabulary_size);
    static_assert(1 + Drafter::kMaxGuess <= compute::kExactRows);
    Drafter drafter;
    std::vector<int32_t> guessed, pass;  // pass: the last token and those of the guessed that ran with it
    size_t row = 0;                      // of the last pass
    const int64_t most = budget(request, reply.prompt_tokens);
    reply.finish_reason = FinishReason::kLength;
    while (static_cast<int>(reply.tokens.size()) < request.max_tokens) {
      const std::span<const float> logits = executor_.output("logits").f32().subspan(row * vocabulary, vocabulary);
      const int32_t token =
          mask ? sampler.next(logits, sequence, mask->allowed(most - static_cast<int64_t>(reply.tokens.size())))
               : sampler.next(logits, sequence);
      if (reply.tokens.empty()) reply.timings_ms.first_token = total.ms();
      const bool right = row < guessed.size() && guessed[row] == token;
      if (row < guessed.size()) drafter.judge(right);
      const bool ahead = right && row + 1 < pass.size();  // the token has run
      if (std::find(facts.end_tokens.begin(), facts.end_tokens.end(), token) != facts.end_tokens.end()) {
        reply.finish_reason = FinishReason::kStop;
        break;
      }
      reply.accepted_tokens += ahead;
      reply.tokens.push_back(token);
      sequence.push_back(token);
      if (!model_->tokenizer().is_special(token)) emit(stream.push(model_->tokenizer().token_bytes(token)));
      if (mask) mask->accept(token);
      if (stream.stopped() || (mask && mask->ended())) {
        reply.finish_reason = FinishReason::kStop;
        break;
      }
      if (is_cancelled(request)) {
        reply.finish_reason = FinishReason::kCancelled;
        break;
      }
      const int64_t position = static_cast<int64_t>(sequence.size()) - 1;
      const int64_t left = std::min<int64_t>(request.max_tokens - static_cast<int64_t>(reply.tokens.size()),
                                             facts.context_length - position - 1);
      if (left <= 0) break;
      if (ahead) {
        keys_.push_back({token, 0});
        ++row;
        continue;
      }
      cache_.truncate(position);  // forgets guesses that were wrong
      guessed.clear();
      size_t drafted = 0;
      if (request.draft) {
        const std::span<const int32_t> guess = drafter.guess(sequence);
        guessed.assign(guess.begin(), guess.end());
        drafted = static_cast<size_t>(std::min<int64_t>(drafter.paying(), left - 1));
      }
      pass.assign(1, token);
      pass.insert(pass.end(), guessed.begin(), guessed.begin() + static_cast<std::ptrdiff_t>(drafted));
      const Stopwatch passing;
      TRY_STATUS(forward(pass, position, {}, nullptr, Logits::kAll));
      drafter.timed(static_cast<int>(pass.size()), passing.ms());
      keys_.push_back({token, 0});
      reply.drafted_tokens += static_cast<int>(drafted);
      row = 0;
    }
    if (mask && mask->complete() && reply.finish_reason == FinishReason::kLength)
      reply.finish_reason = FinishReason::kStop;
    if (!stream.stopped()) emit(stream.finish());
    reply.text = stream.text();
    reply.completion_tokens = static_cast<int>(reply.tokens.size());
    reply.timings_ms.decode = decoding.ms();
    return {};
  }

  // Appends what generate() would have sampled for this text: it begins with the space that TextStream leaves out.
  Status append_answer(std::string_view answer, std::vector<int32_t>& ids) const {
    if (answer.empty()) return {};
    const std::vector<int32_t> more = model_->tokenizer().encode(fmt::format(" {}", answer));
    ids.insert(ids.end(), more.begin(), more.end());
    const auto context = static_cast<size_t>(model_->facts().context_length);
    if (ids.size() <= context) return {};
    return bad_input("prompt and answer: {} tokens, expected at most the model's context of {}", ids.size(), context);
  }

  Status run_trace(const Request& request, std::string_view answer, const TraceSink& sink) {
    TRY(models::Prompt prompt, prepare(request));
    TRY_STATUS(append_answer(answer, prompt.ids));
    const models::ModelFacts& facts = model_->facts();
    const int64_t n = static_cast<int64_t>(prompt.ids.size()), tiles = static_cast<int64_t>(prompt.tiles.size());
    TRY_STATUS(sink("input_ids", view(DType::kI32, {n}, prompt.ids.data())));

    // Observed values of all tiles side by side: [tiles, patches, d].
    struct Stack {
      Shape shape;
      std::vector<float> values;
    };
    std::vector<std::pair<std::string, Stack>> stacks;
    Tiles seen;
    if (tiles > 0) {
      const int64_t side = facts.tile_size, pixels = 3 * side * side;
      std::vector<float> all(static_cast<size_t>(tiles * pixels));
      for (int64_t i = 0; i < tiles; ++i)
        model_->normalise(prompt.tiles[static_cast<size_t>(i)], all.data() + i * pixels);
      TRY_STATUS(sink("pixel_values", view(DType::kF32, {tiles, 3, side, side}, all.data())));
      for (const media::Image& tile : prompt.tiles) {
        auto entry = std::make_shared<FeatureCache::Entry>();
        TRY_STATUS(see(tile, entry->features, [&](std::string_view name, const Tensor& value) -> Status {
          auto it = std::find_if(stacks.begin(), stacks.end(), [&](const auto& s) { return s.first == name; });
          if (it == stacks.end())
            it = stacks.insert(stacks.end(), {std::string(name), {{tiles, value.shape[0], value.shape[1]}, {}}});
          const std::span<const float> v = value.f32();
          it->second.values.insert(it->second.values.end(), v.begin(), v.end());
          return {};
        }));
        seen.push_back(std::move(entry));
      }
      for (const auto& [name, stack] : stacks)
        TRY_STATUS(sink(name, view(DType::kF32, stack.shape, stack.values.data())));
    }
    const ImageRows rows = image_rows(prompt, seen, 0, n);
    if (tiles > 0)
      TRY_STATUS(sink("image_features", view(DType::kF32, {static_cast<int64_t>(rows.at.size()), facts.text_width},
                                             rows.features.data())));
    keys_.clear();
    cache_.truncate(0);
    start_ = 0;
    TRY_STATUS(forward(prompt.ids, 0, rows.at, rows.features.data(), Logits::kAll, sink));
    Status logits = sink("logits", executor_.output("logits"));
    cache_.truncate(0);
    return logits;
  }

  struct Job {
    Request request;
    Callbacks callbacks;
    std::function<void(Result<Reply>)> on_done;
  };
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Job> jobs_;
  std::unique_ptr<ThreadPool> pool_;
  compute::Executor executor_;
  std::unique_ptr<models::Model> model_;
  ModelInfo info_;
  FeatureCache features_{kFeatureCacheBytes};
  compute::KvCache cache_;         // of the last request
  std::vector<PositionKey> keys_;  // what its positions hold
  int64_t start_ = 0;              // so many of them were computed as of a prompt's start
  double load_ms_;
  std::optional<RunCache> kept_;
  std::shared_ptr<const text::TokenTrie> trie_;
  std::optional<text::TokenMask> mask_;  // of the last schema that was asked for
  std::shared_ptr<const text::JsonSchema> schema_;
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
    auto engine = std::make_unique<ModelEngine>(std::move(model), std::move(info), *kernels, std::move(pool), since);
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
