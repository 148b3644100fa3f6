// The terminals of pods: attached to, or of a command in one, by kubectl at a terminal of its own.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "agents/runtime/kubernetes/broker_link.h"
#include "agents/runtime/kubernetes/overlap.h"
#include "agents/runtime/kubernetes/pods.h"
#include "base/live_program.h"

namespace onsight::agents::runtime::kubernetes {

// The kubectl that carries a terminal now, and how large that is: it may be another one in a moment. Thread safe.
class Line {
 public:
  explicit Line(LiveProgram::Size size) : size_(size) {}
  void set(std::shared_ptr<LiveProgram> program);  // none: it is being begun again
  void close();                                    // for good
  LiveProgram::Size size() const;
  Status resize(LiveProgram::Size size);
  Status write(std::string_view bytes);  // waits for a kubectl a while
  // That of its end; an error where kubectl failed and not the command.
  Result<int> exit_code();

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<LiveProgram> program_;
  bool closed_ = false;
  LiveProgram::Size size_;
};

// Of a pod, until its container has ended. Where kubectl ends before it another is begun, and what was printed in
// between comes from the log.
class PodTerminal : public Attachment {
 public:
  PodTerminal(const Pods& pods, std::string id, bool replay, std::shared_ptr<Line> line)
      : pods_(pods), id_(std::move(id)), replay_(replay), line_(std::move(line)) {}
  ~PodTerminal() override;
  // `broker`: empty, or the socket that the pod's connections go to while this lives. After the first look: a pod that
  // waits for its broker has printed nothing before.
  Status begin(const Path& broker);
  Result<std::optional<std::string>> read(std::chrono::milliseconds wait) override;
  Status write(std::string_view bytes) override { return line_->write(bytes); }

 private:
  Status open();
  Status attach();
  std::string missing() const;
  void end(std::string last);
  const Pods& pods_;
  const std::string id_;
  const bool replay_;
  const std::shared_ptr<Line> line_;
  std::optional<BrokerLink> broker_;
  std::shared_ptr<LiveProgram> program_;
  std::chrono::steady_clock::time_point try_at_;
  std::string pending_;
  bool over_ = false;
  Delivered delivered_;
};

// Of a command.
class ExecTerminal : public Attachment {
 public:
  ExecTerminal(std::shared_ptr<LiveProgram> program, std::shared_ptr<Line> line)
      : program_(std::move(program)), line_(std::move(line)) {}
  Result<std::optional<std::string>> read(std::chrono::milliseconds wait) override { return program_->read(wait); }
  Status write(std::string_view bytes) override { return line_->write(bytes); }

 private:
  const std::shared_ptr<LiveProgram> program_;
  const std::shared_ptr<Line> line_;
};

}  // namespace onsight::agents::runtime::kubernetes
