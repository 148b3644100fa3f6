// Bus: what agents ask and say below /onsight/, as a function of who asks and the request. Who asks is the connection's
// to say: nothing in a request is taken for a sender.
//
//   bus::Bus bus(store, [&] { return config; });
//   net::HttpResponse answer = bus.handle("reviewer", request, [&] { return connection.is_closed(); });
//
//   POST /onsight/messages        {id, to, text, kind?, reply_to?, data?}   201 {number}; 200 for the same again
//   GET  /onsight/inbox           ?wait=SECONDS&after=N&limit=N             200 {messages: […]}, which are delivered
//   now POST /onsight/inbox/consumed  {numbers: […]}                            200 {consumed: […]}, never given again
//   POST /onsight/status          {activity, detail?}                       200 {}
//   POST /onsight/heartbeat       {}                                        200 {}
//   POST /onsight/done            {summary, result?: "done"|"failed"}       200 {}
//   POST /onsight/propose         {tasks: […], id?}                         201 {seq}; 200 for the same again
//   GET  /onsight/me                                                        200 {agent, role, task, may_message, …}
//
// A refusal is {error: {message, type: "refused", reason}} and an event egress.refused, with host "onsight". Reasons:
// bad_request 400, forged_sender 403, not_allowed 403, hops 403, no_recipient 404, no_message 404, no_such_path 404,
// method 405, conflict 409, too_large 413, rate 429. What is not the client's fault is {error: {…, type: "failed"}}
// with 500 or 503. What has been answered with 2xx is on the disk.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "agents/config/config.h"
#include "agents/state/store.h"
#include "net/http.h"

namespace onsight::agents::bus {

struct Limits {
  int per_minute = 60,
      burst = 30;  // messages of one agent; also, each by itself, statuses and refusals that are logged
  size_t body_bytes = 64 << 10;
  int hops = 8;                   // of a chain of replies between agents
  int at_once = 50;               // messages of one answer
  size_t answer_bytes = 1 << 20;  // about; one message is always given
  std::chrono::seconds wait{60};  // the longest that an inbox is waited for
};

class Bus {
 public:
  using CurrentConfig = std::function<std::shared_ptr<const config::Config>()>;
  Bus(state::Store& store, CurrentConfig config, const Limits& limits = {});
  ~Bus();

  // Thread safe. Waits only for an inbox; `over`, if there is one, is asked four times a second whether to go on.
  net::HttpResponse handle(std::string_view agent, const net::HttpRequest& request,
                           const std::function<bool()>& over = {});
  // Whoever waits looks again.
  void wake();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether agents of `role` may write to `recipient`: "human", "supervisor", or an agent, whose role is the last
// argument.
bool may_message(const config::Role& role, std::string_view recipient, std::string_view recipient_role);

}  // namespace onsight::agents::bus
