// Runner: an engine with a thread of its own, and answers that any thread may wait for.
//
//   TRY(std::unique_ptr<Runner> runner, Runner::load("models/onsight-nano", {}));
//   TRY(std::unique_ptr<Answering> answering, runner->submit(request, [] { return true; }));
//   std::string piece;
//   while (answering->take(std::chrono::seconds(1), piece) != Answering::State::kDone) std::cout << piece;
//   TRY(Reply reply, answering->reply());
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <thread>

#include "engine/engine.h"

namespace onsight::engine {

// An answer on its way; it is cancelled when nobody waits for it any more. Thread safe.
class Answering {
 public:
  class Events;  // that the engine's thread writes
  enum class State { kWaiting, kText, kDone };

  explicit Answering(std::shared_ptr<Events> events) : events_(std::move(events)) {}
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;
  ~Answering() { cancel(); }

  // Waits for so long at most, and moves the text that has come into `text`. kDone: all of it has been taken.
  State take(std::chrono::milliseconds longest, std::string& text);
  // After kDone.
  Result<Reply> reply() const;
  void cancel();
  // A file descriptor that is readable when take() would not wait, for event loops; closed with this.
  Result<int> descriptor();

 private:
  std::shared_ptr<Events> events_;
};

class Runner {
 public:
  static Result<std::unique_ptr<Runner>> load(const Path& path, const EngineOptions& options);
  ~Runner() { close(); }

  const ModelInfo& info() const { return engine_->info(); }
  // `go_on` is asked on the caller's thread while frames of videos are decoded; false ends it with kInterrupted.
  Result<std::unique_ptr<Answering>> submit(Request request, const std::function<bool()>& go_on);
  Activity activity() const { return engine_->activity(); }
  // Cancels what is not done. Nothing can be submitted from here on.
  void close();

 private:
  explicit Runner(std::unique_ptr<Engine> engine);

  std::unique_ptr<Engine> engine_;
  std::shared_mutex submitting_;  // held alone to close
  bool closed_ = false;
  pid_t process_;
  std::jthread worker_;
};

}  // namespace onsight::engine
