// Heartbeat: tells the broker every ten seconds that the container lives, beside all else and whether it answers or
// not.
//
//   Heartbeat heartbeat(*events, "/run/onsight/broker.sock");
//   for (;;) {
//     events->wait(heartbeat.pause());
//     heartbeat.tick();
//   }
#pragma once

#include <chrono>
#include <string>

#include "broker.h"
#include "events.h"

namespace onsight::guest {

class Heartbeat {
 public:
  Heartbeat(Events& events, std::string broker, std::chrono::milliseconds every = std::chrono::seconds(10))
      : events_(events), broker_(std::move(broker)), every_(every), due_(Clock::now()) {}
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;
  ~Heartbeat() { let_go(); }

  void tick();
  std::chrono::milliseconds pause() const;

 private:
  void happened();
  void let_go();

  Events& events_;
  std::string broker_;
  std::chrono::milliseconds every_;
  Clock::time_point due_, give_up_;
  int fd_ = -1;
};

}  // namespace onsight::guest
