#include "engine/sequence.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace onsight::engine {
namespace {

constexpr int64_t kPrefillChunk = 512;  // rows a pass: bounds working memory and the wait for others
static_assert(kPrefillChunk % compute::kKvPage == 0);
static_assert(1 + Drafter::kMaxGuess <= compute::kExactRows);
constexpr int64_t kFewRows = 16;  // cost a pass hardly anything

int64_t whole_chunks(int64_t positions) { return positions / kPrefillChunk * kPrefillChunk; }

}  // namespace

std::shared_ptr<const text::TokenTrie> TrieMaker::get(const models::Model& model) {
  const std::scoped_lock lock(mutex_);
  if (!trie_)
    trie_ = std::make_shared<const text::TokenTrie>(model.tokenizer(), model.facts().vocabulary_size,
                                                    model.facts().end_tokens);
  return trie_;
}

Result<models::Prompt> prepare(const models::Model& model, const Request& request,
                               const std::function<void(Stage, int64_t, int64_t)>& on_progress) {
  std::vector<text::ChatMessage> messages;
  models::Attachments attachments = {
      .images = {}, .picture = {request.picture.max_tiles, request.picture.allow_upscale}, .clips = {}};
  for (const Message& message : request.messages) {
    text::ChatMessage& out = messages.emplace_back();
    out.role = message.role;
    // Templates look at the first part: a turn without any is one in which nothing is said.
    if (message.content.empty()) out.content.push_back({text::ChatPart::Kind::kText, {}});
    for (const Part& part : message.content) {
      switch (part.kind) {
        case Part::Kind::kText:
          out.content.push_back({text::ChatPart::Kind::kText, part.text});
          break;
        case Part::Kind::kImage:
          out.content.push_back({text::ChatPart::Kind::kImage, {}});
          attachments.images.push_back(part.image);
          break;
        case Part::Kind::kVideo:
          out.content.push_back({text::ChatPart::Kind::kVideo, {}});
          attachments.clips.push_back(part.clip);
          break;
      }
    }
  }
  attachments.on_frame = [&](int64_t done, int64_t total) {
    if (on_progress) on_progress(Stage::kFrames, done, total);
    return !request.cancelled || !request.cancelled->load(std::memory_order_relaxed);
  };
  TRY(models::Prompt prompt, model.prompt(messages, attachments));
  const auto context = static_cast<size_t>(model.facts().context_length);
  if (prompt.ids.size() >= context)
    return tl::unexpected<Error>(
        {.message = fmt::format("prompt: {} tokens, expected fewer than the model's context of {}", prompt.ids.size(),
                                context),
         .field = "messages",
         .reason = "context_length_exceeded"});
  for (const int32_t id : prompt.ids)
    if (id < 0 || id >= model.facts().vocabulary_size)
      return bad_input("tokenizer: id {}, expected less than the vocabulary of {}", id, model.facts().vocabulary_size);
  return prompt;
}

int64_t budget_of(const models::ModelFacts& facts, const Request& request, int64_t prompt_length) {
  return std::min<int64_t>(request.max_tokens, facts.context_length - prompt_length);
}

Result<std::optional<text::TokenMask>> mask_of(const models::Model& model, const Request& request,
                                               int64_t prompt_length, TrieMaker& tries) {
  std::optional<text::TokenMask> mask;
  if (!request.schema) return mask;
  if (!request.stop.empty())
    return make_error(ErrorCode::kUsage, "stop: '{}', expected none beside a schema", request.stop[0]);
  TRY(mask, text::TokenMask::make(*request.schema, tries.get(model)));
  const int64_t left = budget_of(model.facts(), request, prompt_length), least = mask->least_tokens();
  if (least > left)
    return tl::unexpected<Error>(
        {.message = fmt::format("schema: its shortest value takes {} tokens, {} allows {}", least,
                                left < request.max_tokens ? "the model's context" : "max_tokens", left),
         .field = "schema",
         .reason = "invalid_value"});
  return mask;
}

Result<std::unique_ptr<Sequence>> Sequence::make(const Network& network, const Request& request, Callbacks callbacks,
                                                 Done on_done, TrieMaker& tries) {
  const Stopwatch since;
  const models::Model& model = network.model();
  TRY(models::Prompt prompt, prepare(model, request, callbacks.on_progress));
  const double preprocess_ms = since.ms();
  TRY(std::optional<text::TokenMask> mask, mask_of(model, request, std::ssize(prompt.ids), tries));
  std::unique_ptr<Sequence> sequence(
      new Sequence(network, request, std::move(callbacks), std::move(on_done), std::move(prompt), std::move(mask)));
  sequence->since_ = since;
  sequence->reply_.timings_ms.preprocess = preprocess_ms;
  return sequence;
}

Sequence::Sequence(const Network& network, const Request& request, Callbacks callbacks, Done on_done,
                   models::Prompt prompt, std::optional<text::TokenMask> mask)
    : network_(network),
      request_(request),
      callbacks_(std::move(callbacks)),
      on_done_(std::move(on_done)),
      prompt_(std::move(prompt)),
      cache_(network.facts().kv),
      tokens_(prompt_.ids),
      sampler_(request.sampling),
      stream_(request.stop),
      mask_(std::move(mask)) {
  request_.messages.clear();  // the pictures are tiles now
  reply_.prompt_tokens = static_cast<int>(prompt_.ids.size());
}

int64_t Sequence::budget() const { return budget_of(network_.facts(), request_, prompt_length()); }

bool Sequence::stands_before(int64_t tile, int64_t position) const {
  return prompt_.image_positions[static_cast<size_t>((tile + 1) * network_.facts().tokens_per_tile - 1)] < position;
}

int64_t Sequence::tiles_left() const {
  const auto all = static_cast<int64_t>(prompt_.image_positions.size()) / std::max(1, network_.facts().tokens_per_tile);
  int64_t left = 0;
  for (int64_t i = static_cast<int64_t>(next_tile_); i < all; ++i)
    left += !stands_before(i, read_) && (tiles_.empty() || tiles_[static_cast<size_t>(i)]->features.bytes() == 0);
  return left;
}

int64_t Sequence::most_bytes() const {
  const int64_t positions = prompt_length() + std::max<int64_t>(0, budget());
  return (positions + compute::kKvPage - 1) / compute::kKvPage * cache_.layout().page_bytes();
}

int64_t Sequence::prompt_bytes() const {
  size_t bytes = 0;
  for (const media::Image& tile : prompt_.tiles) bytes += tile.rgb.size();
  return static_cast<int64_t>(bytes);
}

void Sequence::name_positions() {
  for (const int32_t id : prompt_.ids) prompt_keys_.push_back({id, 0});
  const auto rows = static_cast<size_t>(network_.facts().tokens_per_tile);
  for (size_t i = 0; i < prompt_.image_positions.size(); ++i)
    prompt_keys_[static_cast<size_t>(prompt_.image_positions[i])] = {static_cast<int32_t>(i % rows),
                                                                     tiles_[i / rows]->id};
}

void Sequence::look(const Shared& shared) {
  for (media::Image& tile : prompt_.tiles) tiles_.push_back(shared.features.find_or_add(std::move(tile)));
  prompt_.tiles.clear();
  name_positions();
}

void Sequence::begin(const Shared& shared, std::span<Sequence* const> others) {
  const Stopwatch recalling;
  state_ = State::kReading;
  const int64_t n = prompt_length();
  if (!prompt_.image_positions.empty()) start_end_ = prompt_.image_positions.back() + int64_t{1};
  if (start_end_ == n) start_end_ = whole_chunks(n - 1);

  int64_t reused = 0;
  const auto consider = [&](std::span<const PositionKey> keys, int64_t start, const compute::KvCache& cache) {
    // The last position is always computed: its logits are the answer's first.
    int64_t shares = std::min<int64_t>(static_cast<int64_t>(common_prefix(keys, prompt_keys_)), n - 1);
    if (shares < start_end_) {
      shares = whole_chunks(std::min(shares, start));
    } else if (shares - start_end_ <= kFewRows) {
      shares = start_end_;  // another question about the same pictures
    }
    if (shares <= reused) return;
    reused = shares;
    start_ = std::min(start, reused);
    cache_ = cache;
  };
  if (const KeptState* state = shared.states.nearest(prompt_keys_)) consider(state->keys, state->start, state->cache);
  for (const Sequence* other : others) consider(other->keys_, other->start_, other->cache_);
  cache_.truncate(reused);
  if (shared.kept && reused < start_end_) {
    prefix_key_ = shared.kept->prefix_key(prompt_, start_end_, tiles_);
    keep_prefix_ = !shared.kept->load_prefix(prefix_key_, start_end_, cache_);
    if (!keep_prefix_) {
      reused = start_ = start_end_;
      for (size_t i = 0; i < tiles_.size(); ++i) reply_.cached_tiles += stands_before(static_cast<int64_t>(i), reused);
    }
  }
  read_ = reused;
  keys_.assign(prompt_keys_.begin(), prompt_keys_.begin() + reused);
  reply_.reused_tokens = static_cast<int>(reused);
  reply_.timings_ms.prefill = recalling.ms();
}

Status Sequence::read(const Shared& shared, const compute::Pause& pause) {
  const auto step = [&]() -> Status {
    if (next_tile_ < tiles_.size()) TRY_STATUS(see(shared, pause));
    if (next_tile_ < tiles_.size()) return {};
    return fill(shared, pause);
  };
  if (cancelled()) {
    end(FinishReason::kCancelled);
    return {};
  }
  Status done = step();
  if (done || done.error().code != ErrorCode::kInterrupted) return done;
  end(FinishReason::kCancelled);
  return {};
}

// Reads the next tile that has not been seen and stands behind what is in the cache.
Status Sequence::see(const Shared& shared, const compute::Pause& pause) {
  const Stopwatch vision;
  const models::ModelFacts& facts = network_.facts();
  const size_t bytes =
      sizeof(float) * static_cast<size_t>(facts.tokens_per_tile) * static_cast<size_t>(facts.text_width);
  const auto total = static_cast<int64_t>(tiles_.size());
  const auto tell_progress = [&] {
    if (callbacks_.on_progress) callbacks_.on_progress(Stage::kVision, static_cast<int64_t>(next_tile_), total);
  };
  for (bool read = false; next_tile_ < tiles_.size() && !read; ++next_tile_) {
    FeatureCache::Entry& tile = *tiles_[next_tile_];
    tell_progress();
    if (stands_before(static_cast<int64_t>(next_tile_), read_) || tile.features.bytes() > 0) continue;
    if (shared.kept && shared.kept->load_features(tile, bytes)) {
      ++reply_.cached_tiles;
      continue;
    }
    TRY_STATUS(shared.network.see(tile.tile, tile.features, nullptr, pause));
    if (shared.kept) shared.kept->save_features(tile);
    ++tiles_read_;
    read = true;
  }
  if (next_tile_ == tiles_.size()) {
    tell_progress();
    if (shared.kept && tiles_read_ > 0) shared.kept->trim();
  }
  reply_.timings_ms.vision += vision.ms();
  return {};
}

// Brings the next chunk of the prompt into the cache.
Status Sequence::fill(const Shared& shared, const compute::Pause& pause) {
  const Stopwatch prefill;
  const int64_t n = prompt_length(), begin = read_,
                end_of_chunk = std::min(begin < start_end_ ? start_end_ : n, begin + kPrefillChunk);
  if (callbacks_.on_progress) callbacks_.on_progress(Stage::kPrefill, begin, n);
  const ImageRows rows = image_rows(prompt_, tiles_, network_.facts(), begin, end_of_chunk);
  const Run run = {
      .ids = std::span(prompt_.ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end_of_chunk - begin)),
      .first = begin,
      .cache = &cache_};
  TRY_STATUS(shared.network.read(run, rows, end_of_chunk == n ? Network::Logits::kLast : Network::Logits::kNone,
                                 nullptr, pause));
  keys_.insert(keys_.end(), prompt_keys_.begin() + begin, prompt_keys_.begin() + end_of_chunk);
  read_ = end_of_chunk;
  if (read_ <= start_end_) start_ = read_;
  if (read_ == start_end_ && keep_prefix_) prefix_ = cache_;
  reply_.timings_ms.prefill += prefill.ms();
  if (read_ < n) return {};
  if (callbacks_.on_progress) callbacks_.on_progress(Stage::kPrefill, n, n);
  state_ = State::kWriting;
  writing_since_.emplace();
  if (request_.max_tokens <= 0)
    end(FinishReason::kLength);
  else
    take([&](size_t row) { return shared.network.logits(row); });
  return {};
}

Run Sequence::next_run(size_t most_guesses, double row_cost) {
  const auto position = static_cast<int64_t>(tokens_.size()) - 1;
  cache_.truncate(position);  // forgets guesses that were wrong
  guessed_.clear();
  size_t drafted = 0;
  if (most_guesses > 0 && request_.draft) {
    const std::span<const int32_t> guess = drafter_.guess(tokens_, row_cost);
    guessed_.assign(guess.begin(), guess.end());
    const int64_t left = std::min<int64_t>(request_.max_tokens - static_cast<int64_t>(reply_.tokens.size()),
                                           network_.facts().context_length - position - 1);
    drafted = std::min(most_guesses, static_cast<size_t>(std::min<int64_t>(drafter_.paying(), left - 1)));
  }
  pass_.assign(1, tokens_.back());
  pass_.insert(pass_.end(), guessed_.begin(), guessed_.begin() + static_cast<std::ptrdiff_t>(drafted));
  return {.ids = pass_, .first = position, .cache = &cache_};
}

void Sequence::wrote(const Logits& logits) {
  keys_.push_back({pass_.front(), 0});
  reply_.drafted_tokens += static_cast<int>(pass_.size()) - 1;
  take(logits);
}

void Sequence::take(const Logits& logits) {
  const models::ModelFacts& facts = network_.facts();
  const text::Tokenizer& tokenizer = network_.model().tokenizer();
  for (row_ = 0;; ++row_) {
    const int32_t token = choose(logits(row_));
    if (reply_.tokens.empty()) reply_.timings_ms.first_token = since_.ms();
    const bool right = row_ < guessed_.size() && guessed_[row_] == token;
    if (row_ < guessed_.size()) drafter_.judge(right);
    const bool ahead = right && row_ + 1 < pass_.size();  // the token has run
    if (std::find(facts.end_tokens.begin(), facts.end_tokens.end(), token) != facts.end_tokens.end())
      return end(FinishReason::kStop);
    reply_.accepted_tokens += ahead;
    reply_.tokens.push_back(token);
    tokens_.push_back(token);
    if (!tokenizer.is_special(token)) {
      if (request_.logprobs >= 0 && callbacks_.on_token) weigh(logits(row_), token);
      emit(stream_.push(tokenizer.token_bytes(token)));
    }
    if (mask_) mask_->accept(token);
    if (stream_.stopped() || (mask_ && mask_->ended())) return end(FinishReason::kStop);
    if (cancelled()) return end(FinishReason::kCancelled);
    const auto position = static_cast<int64_t>(tokens_.size()) - 1;
    if (static_cast<int>(reply_.tokens.size()) >= request_.max_tokens || position + 1 >= facts.context_length)
      return end(FinishReason::kLength);
    if (!ahead) return;
    keys_.push_back({token, 0});
  }
}

int32_t Sequence::choose(std::span<const float> logits) {
  if (!mask_) return sampler_.next(logits, tokens_);
  const Stopwatch masking;
  const std::span<const uint64_t> allowed = mask_->allowed(budget() - static_cast<int64_t>(reply_.tokens.size()));
  reply_.timings_ms.mask += masking.ms();
  return sampler_.next(logits, tokens_, allowed);
}

void Sequence::weigh(std::span<const float> logits, int32_t token) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - largest);
  const double log_sum = largest + std::log(sum);
  const auto describe = [&](int32_t id) -> TokenProbability {
    return {id, std::string(network_.model().tokenizer().token_bytes(id)),
            static_cast<float>(logits[static_cast<size_t>(id)] - log_sum)};
  };
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min<std::ptrdiff_t>(request_.logprobs, std::ssize(order));
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  });
  std::vector<TokenProbability> top;
  for (std::ptrdiff_t i = 0; i < count; ++i) top.push_back(describe(order[static_cast<size_t>(i)]));
  weighed_.push_back({describe(token), std::move(top)});
}

// What the text has of them; all: no more of it will come.
void Sequence::tell_certain(bool all) {
  while (!weighed_.empty()) {
    auto& [token, top] = weighed_.front();
    const size_t begin = told_, end = begin + token.bytes.size();
    if (end > stream_.certain() && !all) return;
    token.bytes.resize(std::min(end, std::max(begin, stream_.certain())) - begin);
    if (begin < stream_.skipped()) {
      // Those that might have stood there would have lost their space too.
      for (TokenProbability& other : top)
        if (other.bytes.starts_with(' ')) other.bytes.erase(0, 1);
      token.bytes.erase(0, stream_.skipped() - begin);
    }
    if (!token.bytes.empty()) callbacks_.on_token(token, top);
    told_ = end;
    weighed_.pop_front();
  }
}

void Sequence::emit(const std::string& piece) {
  tell_certain(/*all=*/stream_.stopped());
  if (!piece.empty() && callbacks_.on_text) callbacks_.on_text(piece);
}

void Sequence::end(FinishReason reason) {
  state_ = State::kEnded;
  if (mask_ && reason == FinishReason::kLength && mask_->complete()) reason = FinishReason::kStop;
  if (!stream_.stopped()) {
    const std::string rest = stream_.finish();
    tell_certain(/*all=*/true);
    emit(rest);
  }
  reply_.finish_reason = reason;
  reply_.text = stream_.text();
  reply_.completion_tokens = static_cast<int>(reply_.tokens.size());
  if (writing_since_) reply_.timings_ms.decode = writing_since_->ms();
}

void Sequence::fail(Error error) {
  state_ = State::kEnded;
  error_ = std::move(error);
}

void Sequence::finish() {
  if (error_)
    on_done_(tl::unexpected<Error>(*std::move(error_)));
  else
    on_done_(std::move(reply_));
}

KeptState Sequence::take_state() {
  cache_.truncate(static_cast<int64_t>(keys_.size()));
  return {.keys = std::move(keys_), .start = start_, .cache = std::move(cache_)};
}

void Sequence::save_prefix(const Shared& shared) {
  if (!prefix_) return;
  shared.kept->save_prefix(prefix_key_, *prefix_);
  shared.kept->trim();
  prefix_.reset();
}

}  // namespace onsight::engine
