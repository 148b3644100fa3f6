#include "agents/runtime/kubernetes/broker_link.h"

#include <csignal>

#include "agents/bridge/bridge.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr std::chrono::milliseconds kFirstPause{200}, kLongestPause{5000};
constexpr std::chrono::seconds kLasted{10};  // then what ended it is no reason to wait

}  // namespace

BrokerLink::BrokerLink(const Kubectl& kubectl, const std::string& pod, Path socket)
    : command_(kubectl.command_of(
          {"exec", pod, "--container=agent", "--stdin", "--", "/usr/local/bin/onsight-agent", "bridge"})),
      socket_(std::move(socket)),
      thread_([this] { work(); }) {}

BrokerLink::~BrokerLink() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (program_) program_->end();
  }
  changed_.notify_all();
  thread_.join();
}

void BrokerLink::work() {
  // The bridge writes to a socket whose other end may have gone.
  sigset_t pipe;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  auto pause = kFirstPause;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    auto begun = LiveProgram::start(command_, {});
    const auto since = std::chrono::steady_clock::now();
    if (begun) {
      program_ = std::move(*begun);
      const auto program = program_;
      lock.unlock();
      // Whatever ends it, what the pod sends for one, it is begun anew.
      (void)bridge::run_bridge({.in = program->stream(), .out = program->stream(), .dial = socket_.string()});
      lock.lock();
      program_.reset();
    }
    if (std::chrono::steady_clock::now() - since > kLasted) pause = kFirstPause;
    changed_.wait_for(lock, pause, [this] { return stop_; });
    pause = std::min(2 * pause, kLongestPause);
  }
}

}  // namespace onsight::agents::runtime::kubernetes
