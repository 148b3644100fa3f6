#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "engine/guarded.h"
#include "engine/memory.h"

namespace onsight::engine {
namespace {

constexpr int64_t kTellingRows = 64;  // of a prompt: fewer say little about speed

}  // namespace

void FairQueue::push(std::unique_ptr<Sequence> sequence) {
  auto line = std::find_if(lines_.begin(), lines_.end(), [&](const auto& l) { return l.first == sequence->client(); });
  if (line == lines_.end()) line = lines_.emplace(lines_.end(), sequence->client(), Line());
  line->second.push_back(std::move(sequence));
}

Sequence* FairQueue::front() { return lines_.empty() ? nullptr : lines_.front().second.front().get(); }

std::unique_ptr<Sequence> FairQueue::pop() {
  auto& line = lines_.front().second;
  std::unique_ptr<Sequence> sequence = std::move(line.front());
  line.pop_front();
  if (line.empty())
    lines_.pop_front();
  else
    lines_.splice(lines_.end(), lines_, lines_.begin());
  return sequence;
}

std::vector<std::unique_ptr<Sequence>> FairQueue::take_cancelled() {
  std::vector<std::unique_ptr<Sequence>> out;
  for (auto& [client, line] : lines_) {
    for (std::unique_ptr<Sequence>& sequence : line)
      if (sequence->cancelled()) out.push_back(std::move(sequence));
    std::erase(line, nullptr);
  }
  lines_.remove_if([](const auto& line) { return line.second.empty(); });
  return out;
}

size_t FairQueue::size() const {
  size_t n = 0;
  for_each([&](const Sequence&) { ++n; });
  return n;
}

Scheduler::Scheduler(Network& network, const Limits& limits)
    : network_(network), limits_(limits), features_(limits.feature_bytes) {
  if (limits_.memory_bytes <= 0) limits_.memory_bytes = available_memory_bytes() / 2;
  limits_.active = std::max(1, limits_.active);
  activity_.memory_limit_bytes = limits_.memory_bytes;
}

Status Scheduler::add(Pointer sequence, bool bounded) {
  const int64_t bytes = sequence->most_bytes(), prompt_bytes = sequence->prompt_bytes();
  const std::scoped_lock lock(mutex_);
  if (bounded) {
    const auto refuse = [&](auto error) {
      ++activity_.refused;
      return error;
    };
    if (bytes > limits_.memory_bytes)
      return refuse(make_error(ErrorCode::kOutOfMemory,
                               "request: its prompt and answer may take {} MB, expected at most {} MB", bytes >> 20,
                               limits_.memory_bytes >> 20));
    if (waiting_.size() >= static_cast<size_t>(limits_.queued))
      return refuse(make_error(ErrorCode::kBusy, "queue: {} requests wait already, expected fewer than {}",
                               waiting_.size(), limits_.queued));
    if (waiting_bytes_ + prompt_bytes > limits_.memory_bytes)
      return refuse(make_error(ErrorCode::kBusy, "queue: pictures of {} MB wait already, expected at most {} MB",
                               waiting_bytes_ >> 20, limits_.memory_bytes >> 20));
  }
  ++activity_.requests;
  waiting_bytes_ += prompt_bytes;
  waiting_.push(std::move(sequence));
  wake_.notify_all();
  return {};
}

Shared Scheduler::shared() { return {.network = network_, .features = features_, .states = states_, .kept = kept_}; }

std::vector<Sequence*> Scheduler::writers() const {
  std::vector<Sequence*> out;
  for (const Pointer& sequence : writing_) out.push_back(sequence.get());
  return out;
}

// Lets in what fits beside the others, and one even if it does not fit: it is alone then.
void Scheduler::admit() {
  std::vector<Pointer> cancelled, admitted;
  {
    const std::scoped_lock lock(mutex_);
    cancelled = waiting_.take_cancelled();
    for (const Pointer& sequence : cancelled) waiting_bytes_ -= sequence->prompt_bytes();
    int64_t bytes = 0;
    for (const auto* active : {&reading_, &writing_})
      for (const Pointer& sequence : *active) bytes += sequence->most_bytes();
    size_t active = reading_.size() + writing_.size();
    while (Sequence* next = waiting_.front()) {
      bytes += next->most_bytes();
      if (active > 0 && (active >= static_cast<size_t>(limits_.active) || bytes > limits_.memory_bytes)) break;
      waiting_bytes_ -= next->prompt_bytes();
      admitted.push_back(waiting_.pop());
      ++active;
    }
  }
  for (Pointer& sequence : cancelled) {
    sequence->end_early();
    end(std::move(sequence));
  }
  for (Pointer& sequence : admitted) {
    const Status looked = guarded([&]() -> Status {
      sequence->look(shared());
      return {};
    });
    if (looked) {
      reading_.push_back(std::move(sequence));
    } else {
      sequence->fail(looked.error());
      end(std::move(sequence));
    }
  }
  if (!admitted.empty() || !cancelled.empty()) publish();
}

bool Scheduler::step() {
  admit();
  if (!writing_.empty() && (reading_.empty() || round_is_due()))
    write_round();
  else if (!reading_.empty())
    read_some();
  else
    return false;
  return true;
}

void Scheduler::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (step()) continue;
    std::unique_lock lock(mutex_);
    wake_.wait(lock, stop, [&] { return waiting_.size() > 0; });
  }
  {
    const std::scoped_lock lock(mutex_);
    while (waiting_.front()) reading_.push_back(waiting_.pop());
    waiting_bytes_ = 0;
  }
  for (auto* active : {&reading_, &writing_})
    for (Pointer& sequence : std::exchange(*active, {})) {
      sequence->end_early();
      end(std::move(sequence));
    }
}

double Scheduler::left_ms(const Sequence& sequence) const {
  return static_cast<double>(sequence.tiles_left()) * speeds_.tile_ms() +
         speeds_.prompt_ms(sequence.read_from(), sequence.prompt_length());
}

// The one with the least left to read, where waiting counts as having less: a short question, or one about a picture
// that has been read, does not wait for a long document, and a long document does not wait for ever.
Scheduler::Pointer& Scheduler::next_reader() {
  return *std::min_element(reading_.begin(), reading_.end(), [&](const Pointer& a, const Pointer& b) {
    return left_ms(*a) - a->waited_ms() < left_ms(*b) - b->waited_ms();
  });
}

void Scheduler::read_some() {
  Pointer& next = next_reader();
  Sequence* const sequence = next.get();
  int64_t tiles = 0, from = 0;
  double writing_ms = 0;
  const auto pause = [&] {
    if (sequence->cancelled()) return false;
    if (round_is_due()) {
      const Stopwatch watch;
      write_round();
      writing_ms += watch.ms();
    }
    return true;
  };
  Stopwatch watch;
  const Status read = guarded([&]() -> Status {
    if (!sequence->reading()) {
      const std::vector<Sequence*> others = writers();
      sequence->begin(shared(), others);
      trim_states();
    }
    tiles = sequence->tiles_left();
    from = sequence->read_from();
    watch = {};
    return sequence->read(shared(), pause);
  });
  const double ms = watch.ms() - writing_ms;
  const int64_t seen = tiles - sequence->tiles_left(), filled = sequence->read_from() - from;
  if (seen == 1 && filled == 0) speeds_.took(Speeds::Kind::kTile, speeds_.tile_ms(), ms);
  if (seen == 0 && filled >= kTellingRows)
    speeds_.took(Speeds::Kind::kPrompt, speeds_.prompt_ms(from, from + filled), ms);
  if (seen > 0 && !tiles_wait()) network_.model().rest_vision();
  if (sequence->reading() && read) return publish();
  features_.trim();
  Pointer done = std::move(next);
  std::erase(reading_, nullptr);
  if (!read) done->fail(read.error());
  if (read && sequence->writing())
    writing_.push_back(std::move(done));
  else
    end(std::move(done));
  publish();
}

bool Scheduler::tiles_wait() {
  bool any = false;
  const auto look = [&](const Sequence& sequence) { any |= sequence.tiles_left() > 0; };
  for (const Pointer& sequence : reading_) look(*sequence);
  const std::scoped_lock lock(mutex_);
  waiting_.for_each(look);
  return any;
}

// A token of every answer; as many at a time as are computed exactly as if each were alone.
void Scheduler::write_round() {
  const std::vector<Sequence*> all = writers();
  const size_t together = network_.rows_together();
  for (size_t i = 0; i < all.size(); i += together)
    write(std::span(all).subspan(i, std::min(together, all.size() - i)));
  std::vector<Pointer> ended;
  for (Pointer& sequence : writing_)
    if (!sequence->writing()) ended.push_back(std::move(sequence));
  std::erase(writing_, nullptr);
  for (Pointer& sequence : ended) end(std::move(sequence));
  since_round_ = {};
}

// What room they leave in a pass, they share for guesses.
void Scheduler::write(std::span<Sequence* const> part) {
  const Status done = guarded([&]() -> Status {
    std::vector<Run> runs;
    size_t rows = part.size();
    const double row_cost = pass_cost_.of_row(part.size());
    for (Sequence* sequence : part) {
      const size_t share = (network_.rows_together() - rows) / (part.size() - runs.size());
      runs.push_back(sequence->next_run(share, row_cost));
      rows += runs.back().ids.size() - 1;
    }
    const Stopwatch watch;
    TRY_STATUS(network_.write(runs));
    const double ms = watch.ms();
    pass_cost_.took(static_cast<int>(rows), ms);
    if (rows == 1) speeds_.took(Speeds::Kind::kToken, speeds_.token_ms(runs[0].first), ms);
    size_t row = 0;
    for (size_t i = 0; i < part.size(); row += runs[i++].ids.size())
      part[i]->wrote([&](size_t r) { return network_.written(row + r); });
    return {};
  });
  if (!done)  // there was no memory for their next tokens
    for (Sequence* sequence : part)
      if (sequence->writing()) sequence->fail(done.error());
}

void Scheduler::end(Pointer sequence) {
  {
    const Reply& reply = sequence->reply();
    const std::scoped_lock lock(mutex_);
    activity_.cancelled += reply.finish_reason == FinishReason::kCancelled;
    activity_.prompt_tokens += reply.prompt_tokens;
    activity_.reused_tokens += reply.reused_tokens;
    activity_.completion_tokens += reply.completion_tokens;
    activity_.tiles += sequence->tiles_read();
  }
  states_.keep(sequence->take_state());
  trim_states();
  publish();
  // What a caller's function throws is its own affair.
  (void)guarded([&]() -> Status {
    sequence->finish();
    sequence->save_prefix(shared());  // nobody waits for it
    return {};
  });
}

// As many as may be active, and as fit in memory beside what those that are may come to. Of one request at a time, the
// state is kept until the next one begins: no more than one is ever in memory.
void Scheduler::trim_states() {
  const size_t active = reading_.size() + writing_.size(), most = static_cast<size_t>(limits_.active);
  states_.trim(most > 1 ? most : most - std::min(most, active));
  int64_t active_bytes = 0;
  for (const auto* part : {&reading_, &writing_})
    for (const Pointer& sequence : *part) active_bytes += sequence->most_bytes();
  const auto kept_bytes = [&] {
    std::vector<const compute::KvCache*> caches;
    for (const KeptState& state : states_.all()) caches.push_back(&state.cache);
    return bytes_of(caches);
  };
  while (states_.count() > 0 && active_bytes + kept_bytes() > limits_.memory_bytes) states_.trim(states_.count() - 1);
}

void Scheduler::publish() {
  std::vector<const compute::KvCache*> caches;
  double left = 0;
  for (const auto* part : {&reading_, &writing_})
    for (const Pointer& sequence : *part) caches.push_back(&sequence->cache());
  for (const KeptState& state : states_.all()) caches.push_back(&state.cache);
  for (const Pointer& sequence : reading_) left += left_ms(*sequence);
  const std::scoped_lock lock(mutex_);
  activity_.active = static_cast<int>(reading_.size() + writing_.size());
  activity_.memory_bytes = bytes_of(caches);
  reading_ms_ = left;
}

Activity Scheduler::activity() const {
  const std::scoped_lock lock(mutex_);
  Activity now = activity_;
  now.queued = static_cast<int>(waiting_.size());
  now.memory_bytes += waiting_bytes_;
  now.wait_ms = reading_ms_;
  waiting_.for_each([&](const Sequence& sequence) { now.wait_ms += left_ms(sequence); });
  if (now.active >= limits_.active && now.requests > 0)  // for the end of an answer of usual length
    now.wait_ms += speeds_.token_ms(0) * static_cast<double>(now.completion_tokens) / static_cast<double>(now.requests);
  return now;
}

}  // namespace onsight::engine
