#include "engine/runner.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>

namespace onsight::engine {

class Answering::Events {
 public:
  ~Events() {
    for (const int end : pipe_)
      if (end >= 0) close(end);
  }

  void add(std::string_view piece) {
    const std::scoped_lock lock(mutex_);
    text_ += piece;
    wake();
  }
  void end(Result<Reply> reply) {
    const std::scoped_lock lock(mutex_);
    reply_ = std::move(reply);
    wake();
  }

  State take(std::chrono::milliseconds longest, std::string& text) {
    std::unique_lock lock(mutex_);
    if (longest.count() > 0) changed_.wait_for(lock, longest, [this] { return !text_.empty() || reply_; });
    text = std::exchange(text_, {});
    if (pipe_[0] >= 0) {
      std::array<char, 64> bytes;
      while (read(pipe_[0], bytes.data(), bytes.size()) > 0) {
      }
      if (reply_ && !text.empty()) signal();  // the end is still to be taken
    }
    if (!text.empty()) return State::kText;
    return reply_ ? State::kDone : State::kWaiting;
  }

  Result<Reply> reply() const {
    const std::scoped_lock lock(mutex_);
    if (!reply_) return make_error(ErrorCode::kUsage, "the answer has not ended yet, expected its text to be taken");
    return *reply_;
  }

  Result<int> descriptor() {
    const std::scoped_lock lock(mutex_);
    if (pipe_[0] >= 0) return pipe_[0];
    if (pipe(pipe_.data()) != 0)
      return make_error(ErrorCode::kIo, "the answer: no pipe to wait on, too many files are open");
    for (const int end : pipe_) {
      fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
      fcntl(end, F_SETFD, FD_CLOEXEC);
    }
    if (reply_ || !text_.empty()) signal();
    return pipe_[0];
  }

  std::atomic<bool> cancelled{false};

 private:
  void wake() {
    changed_.notify_all();
    signal();
  }
  void signal() const {
    // A full pipe is readable as it is.
    if (pipe_[1] >= 0) (void)!write(pipe_[1], "", 1);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::optional<Result<Reply>> reply_;
  std::array<int, 2> pipe_{-1, -1};
};

Answering::State Answering::take(std::chrono::milliseconds longest, std::string& text) {
  return events_->take(longest, text);
}
Result<Reply> Answering::reply() const { return events_->reply(); }
void Answering::cancel() { events_->cancelled = true; }
Result<int> Answering::descriptor() { return events_->descriptor(); }

Runner::Runner(std::unique_ptr<Engine> engine)
    : engine_(std::move(engine)),
      process_(getpid()),
      worker_([this](const std::stop_token& stop) { engine_->run(stop); }) {}

Result<std::unique_ptr<Runner>> Runner::load(const Path& path, const EngineOptions& options) {
  TRY(std::unique_ptr<Engine> engine, Engine::load(path, options));
  return std::unique_ptr<Runner>(new Runner(std::move(engine)));
}

Result<std::unique_ptr<Answering>> Runner::submit(Request request, const std::function<bool()>& go_on) {
  if (getpid() != process_)
    return make_error(ErrorCode::kUsage,
                      "the model was loaded before this process was forked, expected it to be loaded in each process");
  const std::shared_lock lock(submitting_);
  if (closed_) return make_error(ErrorCode::kUsage, "the model has been closed, expected one that is open");
  const auto events = std::make_shared<Answering::Events>();
  auto answering = std::make_unique<Answering>(events);
  request.cancelled = {events, &events->cancelled};
  Callbacks callbacks;
  callbacks.on_text = [events](std::string_view piece) { events->add(piece); };
  callbacks.on_progress = [&go_on, &cancelled = events->cancelled, here = std::this_thread::get_id()](
                              Stage stage, int64_t, int64_t) {
    // Frames are decoded before submit() returns; go_on is gone after that.
    if (stage == Stage::kFrames && std::this_thread::get_id() == here && !go_on()) cancelled = true;
  };
  TRY_STATUS(
      engine_->submit(request, std::move(callbacks), [events](Result<Reply> reply) { events->end(std::move(reply)); }));
  return answering;
}

void Runner::close() {
  if (getpid() != process_) {
    // The thread stayed in the process that was forked: nothing here can end it, and nothing may wait for it.
    (void)new std::jthread(std::move(worker_));
    (void)engine_.release();
    return;
  }
  {
    const std::unique_lock lock(submitting_);
    closed_ = true;
  }
  worker_.request_stop();
  if (worker_.joinable()) worker_.join();
}

}  // namespace onsight::engine
