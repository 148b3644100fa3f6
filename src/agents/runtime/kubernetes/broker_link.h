// BrokerLink: the way of one pod's connections to its broker on this machine, for as long as it lives: kubectl runs
// `onsight-agent bridge` in the pod, and the other end of the bridge is here. Begun again whenever it ends.
//
//   const BrokerLink link(kubectl, "onsight-0123-reviewer-3", project.sockets("reviewer") / "broker.sock");
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "agents/runtime/kubernetes/kubectl.h"
#include "base/file.h"
#include "base/live_program.h"

namespace onsight::agents::runtime::kubernetes {

class BrokerLink {
 public:
  BrokerLink(const Kubectl& kubectl, const std::string& pod, Path socket);
  ~BrokerLink();
  BrokerLink(const BrokerLink&) = delete;
  BrokerLink& operator=(const BrokerLink&) = delete;

 private:
  void work();
  const std::vector<std::string> command_;
  const Path socket_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::shared_ptr<LiveProgram> program_;
  std::thread thread_;
};

}  // namespace onsight::agents::runtime::kubernetes
