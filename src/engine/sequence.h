// Sequence: one request on its way. It waits; then its pictures and its prompt are read, a tile or a chunk at a time;
// then its answer is written, a token at a time.
//
//   TRY(auto sequence, Sequence::make(network, request, callbacks, on_done, tries));      // any thread
//   sequence->look(shared);
//   sequence->begin(shared, {});                                                          // from here on the engine's
//   while (sequence->reading()) TRY_STATUS(sequence->read(shared, pause));
//   while (sequence->writing()) {
//     const Run run = sequence->next_run(3, cost.of_row(1));
//     TRY_STATUS(network.write({&run, 1}));
//     sequence->wrote([&](size_t row) { return network.written(row); });
//   }
//   sequence->finish();
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/drafter.h"
#include "engine/engine.h"
#include "engine/features.h"
#include "engine/kept_states.h"
#include "engine/network.h"
#include "engine/run_cache.h"
#include "engine/sampler.h"
#include "engine/stopwatch.h"
#include "engine/text_stream.h"
#include "text/token_mask.h"

namespace onsight::engine {

// What sequences share. Only the thread that runs the engine touches it.
struct Shared {
  Network& network;
  FeatureCache& features;
  KeptStates& states;
  std::optional<RunCache>& kept;  // on disk
};

// The vocabulary as masks need it, made when the first schema asks for it.
class TrieMaker {
 public:
  std::shared_ptr<const text::TokenTrie> get(const models::Model& model);

 private:
  std::mutex mutex_;
  std::shared_ptr<const text::TokenTrie> trie_;
};

// The prompt of a request: cut, tokenised and checked against the model's context.
// on_progress: Callbacks'.
Result<models::Prompt> prepare(const models::Model& model, const Request& request,
                               const std::function<void(Stage, int64_t, int64_t)>& on_progress = nullptr);

// How many tokens its answer may have.
int64_t budget_of(const models::ModelFacts& facts, const Request& request, int64_t prompt_length);

// Of its schema, if it has one; refuses one no value of which is short enough.
Result<std::optional<text::TokenMask>> mask_of(const models::Model& model, const Request& request,
                                               int64_t prompt_length, TrieMaker& tries);

class Sequence {
 public:
  using Done = std::function<void(Result<Reply>)>;
  using Logits = std::function<std::span<const float>(size_t row)>;

  static Result<std::unique_ptr<Sequence>> make(const Network& network, const Request& request, Callbacks callbacks,
                                                Done on_done, TrieMaker& tries);

  // Finds its tiles among those seen before; it is admitted.
  void look(const Shared& shared);
  // Finds what has been computed before of its prompt, of ended sequences and of `others`, whose prompts have been
  // read.
  void begin(const Shared& shared, std::span<Sequence* const> others);
  bool reading() const { return state_ == State::kReading; }
  bool writing() const { return state_ == State::kWriting; }
  // Reads the next tile or chunk; after the last, the answer's first token is there. A pause that says false leaves
  // everything as it was.
  Status read(const Shared& shared, const compute::Pause& pause);

  // What has to run for the next token, and guesses behind it, at most so many. row_cost: PassCost::of_row.
  Run next_run(size_t most_guesses, double row_cost);
  // The run has run: takes the token that follows, and those that were guessed rightly.
  void wrote(const Logits& logits);

  // Ends it before its time.
  void fail(Error error);
  void end_early() { end(FinishReason::kCancelled); }
  // Tells the caller the outcome.
  void finish();
  bool cancelled() const { return request_.cancelled && request_.cancelled->load(std::memory_order_relaxed); }
  // For who comes later; leaves nothing here.
  KeptState take_state();
  // Of other runs' cache on disk, where this one made it.
  void save_prefix(const Shared& shared);

  const std::string& client() const { return request_.client; }
  const Reply& reply() const { return reply_; }
  double waited_ms() const { return since_.ms(); }
  int64_t tiles_read() const { return tiles_read_; }
  // What is left to be read.
  int64_t tiles_left() const;
  int64_t read_from() const { return read_; }
  int64_t prompt_length() const { return static_cast<int64_t>(prompt_.ids.size()); }
  // Keys and values of the longest that it may become.
  int64_t most_bytes() const;
  // Of its pictures.
  int64_t prompt_bytes() const;
  const compute::KvCache& cache() const { return cache_; }

 private:
  enum class State { kWaiting, kReading, kWriting, kEnded };
  Sequence(const Network& network, const Request& request, Callbacks callbacks, Done on_done, models::Prompt prompt,
           std::optional<text::TokenMask> mask);
  int64_t budget() const;
  bool stands_before(int64_t tile, int64_t position) const;
  void name_positions();
  Status see(const Shared& shared, const compute::Pause& pause);
  Status fill(const Shared& shared, const compute::Pause& pause);
  void take(const Logits& logits);
  int32_t choose(std::span<const float> logits);
  void weigh(std::span<const float> logits, int32_t token);
  void tell_certain(bool all);
  void emit(const std::string& piece);
  void end(FinishReason reason);

  const Network& network_;
  Request request_;
  Callbacks callbacks_;
  Done on_done_;
  State state_ = State::kWaiting;
  Stopwatch since_;
  Reply reply_;
  std::optional<Error> error_;

  // The prompt. Its start, which ends with the pictures, runs in chunks of its own that end at multiples of
  // kPrefillChunk: rows of another number in a pass may have other last bits, and so every request, whatever is reused
  // for it, computes the same start.
  models::Prompt prompt_;
  Tiles tiles_;
  std::vector<PositionKey> prompt_keys_;
  int64_t start_end_ = 0;  // where the pictures end; 0 without any
  int64_t read_ = 0;       // so many tokens of the prompt are in the cache
  size_t next_tile_ = 0;
  int64_t tiles_read_ = 0;  // that neither memory nor disk had
  // The start's state, to be kept on disk: a fork, so that it stays as it is.
  bool keep_prefix_ = false;
  Digest prefix_key_{};
  std::optional<compute::KvCache> prefix_;

  compute::KvCache cache_;
  std::vector<PositionKey> keys_;  // what the cache's positions hold
  int64_t start_ = 0;              // so many of them were computed as of a prompt's start

  // The answer.
  std::vector<int32_t> tokens_;  // prompt and answer
  Sampler sampler_;
  TextStream stream_;
  struct Weighed {
    TokenProbability token;
    std::vector<TokenProbability> top;
  };
  std::deque<Weighed> weighed_;  // of which not all is certain yet
  size_t told_ = 0;              // bytes of the stream before them
  std::optional<text::TokenMask> mask_;
  Drafter drafter_;
  std::vector<int32_t> guessed_, pass_;  // pass_: the last token and those of the guessed that run with it
  size_t row_ = 0;                       // of the last pass
  std::optional<Stopwatch> writing_since_;
};

}  // namespace onsight::engine
