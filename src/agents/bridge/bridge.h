// Bridge: connections to a unix socket, carried over one stream of bytes to another place. Both ends are the same code:
// one listens on a socket where the agent is, the other dials the broker's.
//
//   return run_bridge({.in = 0, .out = 1, .listen = "/run/onsight/broker.sock"});          // in a pod
//   return run_bridge({.in = fd, .out = fd, .dial = project.sockets("reviewer") / "broker.sock"});
//
// Neither end trusts the other: connections, and what one of them holds in memory, are limited on both.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace onsight::agents::bridge {

struct BridgeOptions {
  int in = 0, out = 1;  // of the stream; they stay open, and are no longer waited for by reads and writes
  std::string listen;   // a socket made here, whose connections go to the other end; empty: none
  std::string dial;     // where connections from the other end go; empty: such are refused
  // So long a connection waits for a broker that is being started again.
  std::chrono::milliseconds patience = std::chrono::seconds(15);
};

// Until the stream ends. An error where it breaks off, or carries what is no frame. Whoever calls it ignores SIGPIPE,
// or blocks it: a stream may be a pipe.
Status run_bridge(const BridgeOptions& options);

}  // namespace onsight::agents::bridge
