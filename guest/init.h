// Init: the first process of a container. It offers the broker at 127.0.0.1:8080, runs the agent's command as the job
// that has the terminal, waits for whatever is left without a parent, and ends as the command does.
//
//   return run_init({.command = {"claude", "Review the parser"}});
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "forwarder.h"

namespace onsight::guest {

struct InitOptions {
  std::vector<std::string> command;
  ForwarderOptions forwarder;
  std::chrono::milliseconds heartbeat = std::chrono::seconds(10);  // 0: none
  // So long it waits for the broker's socket before it runs the command: that of a pod is made from outside. 0: not.
  std::chrono::milliseconds broker_time{0};
  // So long the command's other processes have after its end, once they were told.
  std::chrono::milliseconds rest = std::chrono::seconds(2);
};

// The exit code: the command's, 128 and its signal's number, 126 or 127 where it cannot be run or is not there.
Result<int> run_init(const InitOptions& options);

}  // namespace onsight::guest
