#include "agents/broker_process.h"

#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>

#include "agents/broker/allow_list.h"
#include "agents/broker/broker.h"
#include "agents/bus/bus.h"
#include "agents/config/config.h"
#include "agents/harness/harness.h"
#include "agents/supervisor/launch.h"
#include "agents/vault/vault.h"
#include "net/server.h"
#include "net/unix_client.h"

namespace onsight::agents {
namespace {

constexpr std::chrono::milliseconds kLookAtConfig{1000};
constexpr size_t kMostAsked = 64 << 10;

Path unlock_socket(const Project& project) { return project.run / "unlock.sock"; }

// The keys, opened when the first one is wanted: by the keyring, by a file that the environment names, or by a
// passphrase that somebody gave.
class KeyHolder {
 public:
  Result<vault::Secret> get(std::string_view name, std::string_view to) {
    const std::lock_guard lock(mutex_);
    if (!vault_) {
      TRY(const Path path, vault::default_path());
      if (!std::filesystem::exists(path))
        return tl::unexpected<Error>(
            Error{ErrorCode::kBadInput, fmt::format("there is no key '{}'", name), {}, "no_key"});
      auto opened = vault::Vault::open(path, {.passphrase = from_environment});
      if (!opened) return bad_input("the keys are locked: onsight agents unlock ({})", opened.error().message);
      vault_ = std::move(*opened);
    }
    return vault_->get(name, to);
  }

  Status check(std::string_view name, std::string_view to) {
    const auto key = get(name, to);
    if (key || key.error().reason == "no_key") return {};
    return tl::unexpected<Error>(key.error());
  }

  Status unlock(std::string_view passphrase) {
    TRY(const Path path, vault::default_path());
    const auto given = [&](bool) -> Result<vault::Secret> { return vault::Secret(passphrase); };
    TRY(vault::Vault opened, vault::Vault::open(path, {.passphrase = given}));
    const std::lock_guard lock(mutex_);
    vault_ = std::move(opened);
    return {};
  }

 private:
  // No terminal is asked: nobody sits before this process.
  static Result<vault::Secret> from_environment(bool confirm) {
    if (!std::getenv("ONSIGHT_VAULT_PASSPHRASE_FILE")) return bad_input("a passphrase is wanted");
    return vault::passphrase_from_user(confirm);
  }

  std::mutex mutex_;
  std::optional<vault::Vault> vault_;
};

class BusOfBroker : public broker::BusHandler {
 public:
  BusOfBroker(state::Store& store, bus::Bus::CurrentConfig config) : bus_(store, std::move(config)) {}
  net::HttpResponse handle(const broker::Caller& caller, const net::HttpRequest& request) override {
    return bus_.handle(caller.agent, request, caller.over);
  }
  void wake() override { bus_.wake(); }

 private:
  bus::Bus bus_;
};

class CurrentConfig {
 public:
  explicit CurrentConfig(const Project& project) : file_(project.config()), plan_(project.plan()) {}
  // Whether it is another now. One that is wrong changes nothing.
  Result<bool> look() {
    std::error_code failed, none;
    const auto time = std::filesystem::last_write_time(file_, failed);
    const auto plan_time = std::filesystem::last_write_time(plan_, none);
    if (get() && (failed || (time == time_ && plan_time == plan_time_))) return false;
    time_ = time;
    plan_time_ = plan_time;
    TRY(config::Config config, config::load(file_, plan_));
    const std::lock_guard lock(mutex_);
    config_ = std::make_shared<const config::Config>(std::move(config));
    return true;
  }
  std::shared_ptr<const config::Config> get() const {
    const std::lock_guard lock(mutex_);
    return config_;
  }

 private:
  const Path file_, plan_;
  std::filesystem::file_time_type time_{}, plan_time_{};
  mutable std::mutex mutex_;
  std::shared_ptr<const config::Config> config_;
};

// With the providers that its harness brings, unless agents.toml says otherwise of them.
config::Config with_harness(config::Config config, std::string_view role_name, const harness::Harness& harness) {
  const auto role = config.roles.find(role_name);
  if (role == config.roles.end()) return config;
  for (const auto& [name, provider] : harness.own_providers) config.providers.emplace(name, provider);
  if (role->second.providers.empty()) role->second.providers = harness.providers;
  // A harness without a model speaks to none.
  if (role->second.providers.empty()) role->second.providers = {""};
  return config;
}

Result<broker::Policy> policy_with_harness(const Project& project, const state::AgentRow& agent,
                                           const config::Config& config) {
  const auto harness = harness::find(agent.harness, project.root);
  TRY(broker::Policy policy, broker::policy_of(agent, harness ? with_harness(config, agent.role, *harness) : config));
  // The supervisor dials for a pod, whose own user is not of this machine.
  if (config.engine == "kubernetes") policy.uid = ::geteuid();
  return policy;
}

// Of [{"key": "anthropic", "to": "api.anthropic.com:443"}]: the first that may not be sent there.
Status check_pairs(KeyHolder& keys, const std::string& body) {
  TRY(const Json pairs, parse_json(body, "the keys"));
  if (!pairs.is_array()) return bad_input("the keys: expected a list");
  for (const Json& pair : pairs) {
    const JsonView view(pair, "the keys");
    TRY(const std::string key, view.string("key"));
    TRY(const std::string to, view.string("to"));
    TRY_STATUS(keys.check(key, to));
  }
  return {};
}

Result<std::unique_ptr<net::Server>> listen_for_keys(const Project& project, KeyHolder& keys) {
  net::Site site;
  site.handle = [&keys](net::HttpRequest request, const std::shared_ptr<net::Exchange>& exchange) {
    const bool unlocks = request.path == "/unlock";
    if (request.method != "POST" || (!unlocks && request.path != "/keys"))
      return exchange->respond({.status = 404, .body = "expected POST /unlock or /keys"});
    const Status good = unlocks ? keys.unlock(request.body) : check_pairs(keys, request.body);
    vault::wipe(request.body);
    if (good) return exchange->respond({.status = 204});
    exchange->respond({.status = 403, .headers = {{"Content-Type", "text/plain"}}, .body = good.error().message});
  };
  site.error = [](const net::HttpRequest&, int status, const std::string& message) {
    return net::HttpResponse{.status = status, .headers = {{"Content-Type", "text/plain"}}, .body = message};
  };
  net::ServerOptions options;
  options.unix_socket = net::UnixSocket{.path = unlock_socket(project), .mode = 0600};
  options.handler_threads = 1;
  options.drain_time = std::chrono::milliseconds(500);
  options.reader.body_bytes = kMostAsked;
  return net::Server::listen(options, std::move(site));
}

Status ask_broker(const Project& project, std::string target, std::string body) {
  const net::UnixClient client(unlock_socket(project));
  net::UnixRequest request = {.method = "POST", .target = std::move(target), .body = std::move(body)};
  const auto answer = client.request(request, net::seconds_from_now(30));
  vault::wipe(request.body);
  if (!answer) return tl::unexpected<Error>(answer.error());
  if (answer->status / 100 == 2) return {};
  return bad_input("{}", answer->body);
}

}  // namespace

Status run_broker(const Project& project, const BrokerProcessOptions& options) {
  broker::harden_process();
  TRY(const supervisor::DutyLock lock, supervisor::DutyLock::take(project, supervisor::Duty::kBroker));
  CurrentConfig config(project);
  TRY_STATUS(config.look());
  TRY(const std::unique_ptr<state::Store> store, state::Store::open(project.database()));
  KeyHolder keys;
  BusOfBroker bus(*store, [&config] { return config.get(); });
  TRY(const std::unique_ptr<net::Server> unlocking, listen_for_keys(project, keys));
  std::thread serving([&] { unlocking->run(); });
  const auto work = [&]() -> Status {
    broker::BrokerOptions of;
    of.project = project;
    of.store = store.get();
    of.config = *config.get();
    of.bus = &bus;
    of.key = [&keys](std::string_view name, std::string_view to) { return keys.get(name, to); };
    of.policy = [&project](const state::AgentRow& agent, const config::Config& now) {
      return policy_with_harness(project, agent, now);
    };
    of.authorities = options.authorities;
    TRY(const std::unique_ptr<broker::Broker> broker, broker::Broker::start(std::move(of)));
    while (broker->idle() < options.idle) {
      if (broker->lost()) return make_error(ErrorCode::kBusy, "another broker of this project has taken over");
      std::this_thread::sleep_for(kLookAtConfig);
      const auto changed = config.look();
      const Status loaded = !changed   ? Status(tl::unexpected<Error>(changed.error()))
                            : *changed ? broker->reload(*config.get())
                                       : Status();
      if (!loaded) fmt::print(stderr, "{} {}\n", state::now_ms(), loaded.error().message);
    }
    broker->stop();
    return {};
  };
  Status status = work();
  unlocking->stop();
  serving.join();
  return status;
}

Status unlock_broker(const Project& project, const vault::Secret& passphrase) {
  return ask_broker(project, "/unlock", std::string(passphrase.view()));
}

Status check_keys(const Project& project, const config::Config& config, const config::Role& role,
                  const harness::Harness& harness) {
  const config::Config whole = with_harness(config, role.name, harness);
  Json pairs = Json::array();
  for (const std::string& name : whole.role(role.name)->providers) {
    const auto provider = whole.providers.find(name);
    if (provider == whole.providers.end() || provider->second.key.empty()) continue;
    TRY(const broker::Url url, broker::parse_url(provider->second.url));
    pairs.push_back({{"key", provider->second.key}, {"to", url.at.text(0)}});
  }
  if (pairs.empty()) return {};
  TRY_STATUS(supervisor::wake(project, supervisor::Duty::kBroker));
  return ask_broker(project, "/keys", pairs.dump());
}

}  // namespace onsight::agents
