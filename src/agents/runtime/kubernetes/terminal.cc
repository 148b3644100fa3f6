#include "agents/runtime/kubernetes/terminal.h"

#include <thread>

namespace onsight::agents::runtime::kubernetes {
namespace {

using LineClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTypedTime{10'000}, kTryAgain{300}, kTryAgainLater{1000};
// So long kubectl has to be attached before the log is read: nothing says that it is, unless something is printed.
constexpr std::chrono::milliseconds kAttachTime{500};
constexpr std::chrono::seconds kEndTime{10};
constexpr size_t kMostMeanwhile = 1 << 20;

}  // namespace

void Line::set(std::shared_ptr<LiveProgram> program) {
  const std::lock_guard lock(mutex_);
  program_ = std::move(program);
  if (program_) (void)program_->resize(size_);
  changed_.notify_all();
}

void Line::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  program_.reset();
  changed_.notify_all();
}

LiveProgram::Size Line::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

Status Line::resize(LiveProgram::Size size) {
  const std::lock_guard lock(mutex_);
  size_ = size;
  return program_ ? program_->resize(size) : Status();
}

Status Line::write(std::string_view bytes) {
  std::shared_ptr<LiveProgram> program;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kTypedTime, [this] { return program_ || closed_; });
    program = program_;
  }
  if (!program) return make_error(ErrorCode::kIo, "kubectl: the terminal is not attached");
  return program->write(bytes, kTypedTime);
}

Result<int> Line::exit_code() {
  std::shared_ptr<LiveProgram> program;
  {
    const std::lock_guard lock(mutex_);
    program = program_;
  }
  if (!program) return bad_input("kubectl: there is no such command");
  auto code = program->wait(kEndTime);
  if (!code) return tl::unexpected(Error{ErrorCode::kBusy, "the command in the container has not ended", {}, "late"});
  const std::string said = program->errors();
  if (*code != 0 && !command_ended(said)) return tl::unexpected(error_of(said));
  return *code;
}

Status PodTerminal::begin(const Path& broker) {
  TRY_STATUS(open());
  if (!broker.empty() && !over_) broker_.emplace(pods_.kubectl(), id_, broker);
  return {};
}

PodTerminal::~PodTerminal() {
  line_->close();
  if (program_) program_->end();
}

// What the log has that was not passed on. A log that cannot be read is none.
std::string PodTerminal::missing() const {
  if (!replay_ && delivered_.nothing()) return "";
  const auto log = pods_.log(id_);
  return log ? std::string(delivered_.rest_of(*log)) : "";
}

void PodTerminal::end(std::string last) {
  over_ = true;
  broker_.reset();
  pending_ = std::move(last);
  line_->close();
}

// The log is read when kubectl is attached already, so that what is printed meanwhile is in one of the two.
Status PodTerminal::attach() {
  TRY(std::shared_ptr<LiveProgram> program,
      LiveProgram::start(pods_.kubectl().command_of({"attach", id_, "--container=agent", "--stdin", "--tty"}),
                         line_->size()));
  TRY(const auto first, program->read(kAttachTime));
  std::string came = first.value_or("");
  if (first && first->empty()) {
    try_at_ = LineClock::now() + kTryAgain;  // it is not attached, or no longer
    return {};
  }
  std::string before = missing();
  // All that has come by now: the longer it is, the surer is where the log ends in it.
  while (came.size() < kMostMeanwhile) {
    const auto more = program->read(std::chrono::milliseconds(0));
    if (!more || !*more || (*more)->empty()) break;
    came += **more;
  }
  pending_ = joined(before, came);
  program_ = std::move(program);
  line_->set(program_);
  return {};
}

// Looks at the pod, and does what can be done: attaches, ends, or looks again later.
Status PodTerminal::open() {
  const auto pod = pods_.look_at(id_);
  if (!pod) {
    if (pod.error().reason != "unreachable") return tl::unexpected(pod.error());
    try_at_ = LineClock::now() + kTryAgainLater;
    return {};
  }
  if (!*pod) {
    end("");
    return {};
  }
  switch ((*pod)->info.state) {
    case State::kExited:
      end(missing());
      return {};
    case State::kRunning:
      return attach();
    case State::kCreated:
    case State::kUnknown:
      break;
  }
  try_at_ = LineClock::now() + kTryAgain;
  return {};
}

Result<std::optional<std::string>> PodTerminal::read(std::chrono::milliseconds wait) {
  const auto until = LineClock::now() + wait;
  for (;;) {
    if (!pending_.empty()) {
      delivered_.add(pending_);
      return std::optional(std::exchange(pending_, {}));
    }
    if (over_) return std::optional(std::string());
    if (program_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - LineClock::now());
      auto bytes = program_->read(std::max(left, std::chrono::milliseconds(0)));
      if (bytes && !*bytes) return bytes;
      if (bytes && !(*bytes)->empty()) {
        delivered_.add(**bytes);
        return bytes;
      }
      line_->set(nullptr);
      program_.reset();
      try_at_ = LineClock::now();
    }
    if (LineClock::now() >= try_at_) {
      TRY_STATUS(open());
      continue;
    }
    std::this_thread::sleep_until(std::min(until, try_at_));
    if (LineClock::now() >= until) return std::optional<std::string>();
  }
}

}  // namespace onsight::agents::runtime::kubernetes
