// BusHandler: who answers what agents ask below /onsight/. The broker knows who asks by the socket it came through;
// what the request says of its sender means nothing.
//
//   class Bus : public BusHandler { net::HttpResponse handle(const Caller& caller, const net::HttpRequest& request)
//   override; … };
#pragma once

#include <functional>
#include <string>

#include "net/http.h"

namespace onsight::agents::broker {

struct Caller {
  std::string agent;
  // Whether to stop waiting: the client has gone, or the broker ends. Cheap enough to ask ten times a second.
  std::function<bool()> over;
};

class BusHandler {
 public:
  virtual ~BusHandler() = default;
  // On a thread of the connection's own: it may wait, looking at over() at least each second. The path is decoded and
  // begins with /onsight/; the body is whole and at most BrokerLimits::bus_body_bytes.
  virtual net::HttpResponse handle(const Caller& caller, const net::HttpRequest& request) = 0;
  // The Store was written by another process, or the broker ends: whoever waits looks again.
  virtual void wake() = 0;
};

}  // namespace onsight::agents::broker
