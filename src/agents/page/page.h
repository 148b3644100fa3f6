// PageServer: the page of a repository's agents, for who started it alone: on a loopback address, with a token.
//
//   TRY(auto server, PageServer::listen({.open = [] { return Fleet::open("."); }}));
//   print(server->url());   // with the token: whoever has it may do all that `onsight agents` can
//   server->run();
//
//   GET  /                              the page; /?token=… puts the token into a cookie
//   GET  /api/state                     agents, spending, budgets, roles; ?at=SEQ: as they were after that event
//   GET  /api/plan                      events of runs and tasks; ?after=SEQ, ?at=SEQ
//   GET  /api/messages                  ?agent=NAME, ?limit=N, ?at=SEQ
//   GET  /api/log                       the last events; ?limit=N, ?at=SEQ
//   GET  /api/events                    server-sent events, the log as it grows; ?after=SEQ or Last-Event-ID
//   POST /api/agents                    {name, role, harness, model, task, revision}
//   GET  /api/agents/NAME/diff          {diff}; fetched from its clone now
//   GET  /api/agents/NAME/terminal      server-sent events (viewers.h); ?rows=N&columns=N
//   POST /api/agents/NAME/VERB          type {text}, size {rows, columns}, stop, resume, merge, message {text,
//   reply_to},
//                                       rm {force}
//   POST /api/inbox/read                {numbers}: messages to the human, which count as read then
//
// The token is in a cookie, or in `Authorization: Bearer`. Errors are {"error": {"message": …}}.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agents/fleet.h"
#include "base/result.h"

namespace onsight::agents::page {

struct PageOptions {
  std::function<Result<std::unique_ptr<Fleet>>()> open;  // again when agents.toml has changed
  uint16_t port = 0;                                     // 0: any that is free
  bool stop_on_signals = false;                          // SIGINT and SIGTERM
};

class PageServer {
 public:
  static Result<std::unique_ptr<PageServer>> listen(const PageOptions& options);
  virtual ~PageServer() = default;  // waits for what was begun, such as a merge
  virtual uint16_t port() const = 0;
  virtual std::string url() const = 0;
  virtual std::string token() const = 0;
  virtual void run() = 0;   // until stop()
  virtual void stop() = 0;  // thread safe
};

}  // namespace onsight::agents::page
