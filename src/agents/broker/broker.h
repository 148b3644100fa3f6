// Broker: the one way out of the containers of a project. It listens on one unix socket an agent, puts the real keys
// in, and lets out what the agent's role may send; what it spends is counted.
//
//   TRY(auto broker, Broker::start({.project = project, .store = store.get(), .config = config, .bus = &bus,
//                                   .key = [&](std::string_view name, std::string_view to) { return vault.get(name,
//                                   to); }}));
//   broker->poke();  // agents came or went
//
// The onsight agents broker process is harden_process() and then serve().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agents/broker/service.h"
#include "agents/config/config.h"
#include "agents/project.h"
#include "agents/state/store.h"
#include "agents/vault/secret.h"
#include "base/result.h"

namespace onsight::agents::broker {

// What an agent may do by the configuration alone. Providers are those that its role names; where it names none, all.
Result<Policy> policy_of(const state::AgentRow& agent, const config::Config& config);

struct BrokerOptions {
  Project project;
  state::Store* store = nullptr;  // outlives the broker, as does the bus
  config::Config config;
  BusHandler* bus = nullptr;
  // For a request to this "host:port"; called by several threads at once. Error::reason "key_host" is one that may not
  // go there.
  std::function<Result<vault::Secret>(std::string_view name, std::string_view to)> key;
  // In place of policy_of(): for a harness's own providers.
  std::function<Result<Policy>(const state::AgentRow&, const config::Config&)> policy = {};
  Path authorities = {};  // PEM: upstreams may also prove who they are by these
  BrokerLimits limits = {};
  Resolver resolver = {};  // empty: the system's
  Dial dial = {};          // empty: a TCP connection
};

class Broker {
 public:
  // kBusy where another broker of this project runs.
  static Result<std::unique_ptr<Broker>> start(BrokerOptions options);
  virtual ~Broker() = default;  // stops
  // Ends all connections, and waits for them.
  virtual void stop() = 0;
  // New rules, for requests from now on.
  virtual Status reload(config::Config config) = 0;
  // Looks at the Store now; it does so each second in any case.
  virtual Status poke() = 0;
  // For how long there has been no agent and no connection.
  virtual std::chrono::milliseconds idle() const = 0;
  // Another broker has taken over: this one serves nobody any more.
  virtual bool lost() const = 0;
};

// Runs one until `interrupted`, until another takes over, or until there was nothing to do for `idle_limit`.
Status serve(BrokerOptions options, const std::function<bool()>& interrupted,
             std::chrono::milliseconds idle_limit = std::chrono::seconds(60));

// For a process that will hold keys: no core files, no tracing by other processes of this user.
void harden_process();

}  // namespace onsight::agents::broker
