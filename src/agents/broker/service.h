// What the connections of a broker share, and what it knows of each agent.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agents/broker/bus_handler.h"
#include "agents/broker/channel.h"
#include "agents/config/config.h"
#include "agents/state/store.h"
#include "agents/vault/secret.h"
#include "base/result.h"

namespace onsight::agents::broker {

struct BrokerLimits {
  uint64_t bus_body_bytes = 256 << 10;
  uint64_t metered_body_bytes = 32 << 20;  // held in memory until it is counted
  uint64_t held_bytes = 512 << 20;         // by all agents together
  uint64_t held_by_one_bytes = 64 << 20;
  uint64_t body_bytes = uint64_t{1} << 30;  // of other requests
  uint64_t answer_bytes = uint64_t{1} << 30;
  uint64_t tunnel_bytes = uint64_t{4} << 30;  // each way
  int connections = 64;                       // of one agent
  int metered_at_once = 8;
  int requests_per_minute = 6000;
  int logged_per_minute = 120;                     // refusals of one agent that are events; what lies beyond is counted
  std::chrono::milliseconds head_time{30'000};     // of a request, from its first byte
  std::chrono::milliseconds idle_time{600'000};    // between requests
  std::chrono::milliseconds connect_time{20'000};  // to an upstream, TLS included
  std::chrono::milliseconds quiet_time{600'000};   // of an upstream that thinks, or a client that does not read
  std::chrono::milliseconds total_time{3'600'000};
  std::chrono::milliseconds drain_time{30'000};  // reading on for the usage when the client has gone
};

// What one agent may do. Made anew when the configuration or its row changes.
struct Policy {
  std::string agent, placeholder;
  std::optional<uid_t> uid;  // of who may connect
  config::Role role;
  std::map<std::string, config::Provider, std::less<>> providers;  // that it may use, with those of its harness
  std::vector<Url> provider_urls;                                  // of all: reached through /upstream/ alone
  config::Budget fleet;
  std::optional<Url> vision;
};

class AgentLink {
 public:
  AgentLink(std::string agent_name, std::shared_ptr<const Policy> policy)
      : name(std::move(agent_name)), policy_(std::move(policy)) {}

  const std::string name;
  std::atomic<int> connections{0}, metered{0};
  std::atomic<uint64_t> held{0};  // bytes of bodies

  std::shared_ptr<const Policy> policy() const;
  void set_policy(std::shared_ptr<const Policy> policy);

  // A bucket that fills evenly: false where it is empty.
  bool admit_request(int per_minute);
  // Whether this refusal becomes an event; `unlogged`: how many before did not.
  bool admit_log(int per_minute, int64_t& unlogged);

  // Connections of it, so that they end when it does. False where it has ended.
  bool enter(int fd);
  void leave(int fd);
  void cut_off();

 private:
  struct Bucket {
    double level = -1;
    Time at{};
    bool take(int per_minute);
  };
  mutable std::mutex mutex_;
  std::shared_ptr<const Policy> policy_;
  Bucket requests_, logs_;
  int64_t unlogged_ = 0;
  std::set<int> open_;
  bool ended_ = false;
};

struct Service {
  state::Store* store = nullptr;
  BusHandler* bus = nullptr;
  BrokerLimits limits;
  Resolver resolver;
  Dial dial;
  std::shared_ptr<const TlsClient> tls;
  std::function<Result<vault::Secret>(std::string_view name, std::string_view to)> key;  // to: "host:port"
  std::atomic<bool> stopping{false};
  std::atomic<uint64_t> held{0};  // bytes of bodies

  // Written at once, on disk when this returns. What cannot be written is said on standard error.
  void add_event(const AgentLink& link, std::string_view kind, Json body);
};

// Bytes of one body, counted as they come: neither one agent nor all together fill the memory, and none holds room that
// it does not use.
class HeldBody {
 public:
  HeldBody(Service& service, AgentLink& link) : service_(service), link_(link) {}
  HeldBody(const HeldBody&) = delete;
  HeldBody& operator=(const HeldBody&) = delete;
  ~HeldBody() {
    service_.held -= bytes_;
    link_.held -= bytes_;
  }
  bool grow_to(uint64_t bytes) {
    const uint64_t more = bytes - bytes_;
    bytes_ = bytes;
    const uint64_t all = service_.held += more, own = link_.held += more;
    return all <= service_.limits.held_bytes && own <= service_.limits.held_by_one_bytes;
  }

 private:
  Service& service_;
  AgentLink& link_;
  uint64_t bytes_ = 0;
};

// Printable ASCII alone, at most so much: of what an agent sent, for events and errors.
std::string shown(std::string_view text, size_t most = 200);

}  // namespace onsight::agents::broker
