// Forwarder: 127.0.0.1:8080 of a container is the broker's unix socket, byte for byte, each way at the pace of whoever
// reads.
//
//   TRY(auto forwarder, Forwarder::listen(*events, {}));
//   for (;;) {
//     events->wait(forwarder->pause());
//     forwarder->tick();
//   }
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "broker.h"
#include "events.h"

namespace onsight::guest {

struct ForwarderOptions {
  int port = 8080;  // of 127.0.0.1; 0: any
  std::string broker = std::string(kBrokerSocket);
  // So long a connection waits for a broker that is being started again; then it is answered with 503.
  std::chrono::milliseconds patience = std::chrono::seconds(15);
};

class Forwarder {
 public:
  static Result<std::unique_ptr<Forwarder>> listen(Events& events, const ForwarderOptions& options);
  virtual ~Forwarder() = default;
  virtual int port() const = 0;
  // Dials again, and lets go of what has waited long enough.
  virtual void tick() = 0;
  // Until tick() has something to do.
  virtual std::chrono::milliseconds pause() const = 0;
};

}  // namespace onsight::guest
