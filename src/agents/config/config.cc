#include "agents/config/config.h"

#include <algorithm>
#include <cmath>

#include "agents/config/toml_reader.h"

namespace onsight::agents::config {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 44;
constexpr double kMostUsd = 1e6;

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> all) {
  return std::find(all.begin(), all.end(), text) != all.end();
}

bool all_in(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
}

constexpr std::string_view kHostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*:[]";

Result<int> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || !all_in(text, "0123456789")) return bad_input("a port");
  const int port = std::stoi(std::string(text));
  if (port < 1 || port > 65535) return bad_input("a port");
  return port;
}

// "POST api.example.org/v1/**"
Result<AllowRule> parse_rule(const std::string& text) {
  const auto wrong = [&](std::string_view expected) { return bad_input("{}, found \"{}\"", expected, text); };
  AllowRule rule;
  std::string_view rest = text;
  if (const size_t space = rest.find(' '); space != std::string_view::npos) {
    rule.method = rest.substr(0, space);
    rest.remove_prefix(space + 1);
    if (rule.method.empty() || !all_in(rule.method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
      return wrong("\"METHOD host/path\" with the method in capitals");
  }
  if (rest.find("://") != std::string_view::npos) return wrong("a host without a scheme before it");
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view host = rest.substr(0, slash);
  rule.path = rest.substr(slash);
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
    auto port = parse_port(host.substr(colon + 1));
    if (!port) return wrong("a port from 1 to 65535 after the colon");
    rule.port = *port;
    host = host.substr(0, colon);
  }
  if (host.empty() || !all_in(host, kHostCharacters)) return wrong("\"METHOD host/path\"");
  const size_t star = host.rfind('*');
  if (star != std::string_view::npos && (star != 0 || host.size() < 4 || host[1] != '.'))
    return wrong("a host whose * is its first part, as in \"*.example.org\"");
  rule.host = host;
  for (char& c : rule.host)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (rule.method == "CONNECT") {
    if (!rule.path.empty() || rule.port == 0) return wrong("\"CONNECT host:port\"");
  } else if (rule.path.empty()) {
    return wrong("a path after the host, such as /**");
  }
  if (!std::all_of(rule.path.begin(), rule.path.end(), [](char c) { return c > ' ' && c < 127; }))
    return wrong("a path of printable ASCII");
  return rule;
}

Result<Limits> parse_limits(TomlReader& table, Limits limits) {
  TRY(limits.memory_bytes, table.bytes_or("memory", limits.memory_bytes, 16 << 20, kMostBytes));
  TRY(limits.cpus, table.number_or("cpus", limits.cpus, 0.01, 1024));
  TRY(const int64_t pids, table.integer_or("pids", limits.pids, 8, 1 << 20));
  limits.pids = static_cast<int>(pids);
  TRY(limits.tmp_bytes, table.bytes_or("tmp", limits.tmp_bytes, 1 << 20, kMostBytes));
  TRY(limits.disk_bytes, table.bytes_or("disk", limits.disk_bytes, 1 << 20, kMostBytes));
  return limits;
}

// Micro-dollars a million tokens: a price of 3 is 3 dollars.
Result<int64_t> price(TomlReader& table, std::string_view key, int64_t otherwise) {
  if (!table.has(key)) return otherwise;
  TRY(const double usd, table.number_or(key, 0, 0, kMostUsd));
  return std::llround(usd * 1e6);
}

Result<Kubernetes> parse_kubernetes(TomlReader& table) {
  Kubernetes kubernetes;
  TRY(kubernetes.context, table.string_or("context", ""));
  TRY(kubernetes.name_space, table.string_or("namespace", kubernetes.name_space));
  TRY(kubernetes.storage_class, table.string_or("storage_class", ""));
  TRY(kubernetes.registry, table.string_or("registry", ""));
  TRY(kubernetes.seccomp_profile, table.string_or("seccomp_profile", ""));
  if (const auto wrong = wrong_in(kubernetes)) return table.error(wrong->key, wrong->expected);
  return kubernetes;
}

Result<Role> parse_role(std::string_view name, TomlReader& table, const Limits& limits, const Budget& budget) {
  Role role;
  role.name = name;
  role.limits = limits;
  role.budget = budget;
  if (Status named = check_name(name, "a role"); !named) return table.error("", named.error().message);
  TRY(role.harness, table.string_or("harness", role.harness));
  if (Status named = check_name(role.harness, "a harness"); !named)
    return table.error("harness", named.error().message);
  TRY(role.model, table.string_or("model", ""));
  TRY(role.instructions, table.string_or("instructions", ""));
  TRY(role.command, table.strings_or("command", {}));
  TRY(role.may_message, table.strings_or("may_message", role.may_message));
  TRY(role.may_propose, table.boolean_or("may_propose", false));
  TRY(role.vision, table.boolean_or("vision", false));
  TRY(role.providers, table.strings_or("providers", {}));
  TRY(const std::vector<std::string> rules, table.strings_or("allow", {}));
  for (const std::string& text : rules) {
    auto rule = parse_rule(text);
    if (!rule) return table.error("allow", "expected " + rule.error().message);
    role.allow.push_back(std::move(*rule));
  }
  TRY_STATUS(table.table("limits", [&](TomlReader& inner) -> Status {
    TRY(role.limits, parse_limits(inner, role.limits));
    return {};
  }));
  if (table.has("budget")) {
    TRY_STATUS(table.table("budget", [&](TomlReader& inner) -> Status {
      TRY(role.budget, parse_budget(inner));
      return {};
    }));
  }
  return role;
}

}  // namespace

Result<Budget> parse_budget(TomlReader& table) {
  Budget budget;
  if (table.has("usd")) {
    TRY(const double usd, table.number_or("usd", 0, 0, kMostUsd));
    budget.money = Money{std::llround(usd * 1e6)};
  }
  if (table.has("tokens")) {
    TRY(const int64_t tokens, table.integer_or("tokens", 0, 0, int64_t{1} << 50));
    budget.tokens = tokens;
  }
  TRY(budget.time, table.time("time"));
  return budget;
}

Result<Provider> parse_provider(std::string_view name, TomlReader& table) {
  Provider provider;
  provider.name = name;
  if (Status named = check_name(name, "a provider"); !named) return table.error("", named.error().message);
  TRY(provider.url, table.string("url"));
  const bool http = provider.url.starts_with("http://"), https = provider.url.starts_with("https://");
  const std::string_view authority = std::string_view(provider.url).substr(http ? 7 : https ? 8 : 0);
  if ((!http && !https) || authority.empty() || authority.front() == '/' ||
      provider.url.find_first_of("@?# \t\r\n") != std::string::npos)
    return table.error("url", fmt::format("expected \"https://host\", found \"{}\"", provider.url));
  while (provider.url.ends_with('/')) provider.url.pop_back();
  TRY(provider.protocol, table.string_or("protocol", "none"));
  if (!is_one_of(provider.protocol, {"anthropic", "gemini", "openai", "none"}))
    return table.error("protocol",
                       fmt::format("expected anthropic, gemini, openai or none, found \"{}\"", provider.protocol));
  TRY(provider.key, table.string_or("key", ""));
  TRY(provider.header, table.string_or("header", provider.header));
  if (!is_one_of(provider.header, {"authorization", "x-api-key", "x-goog-api-key"}))
    return table.error(
        "header", fmt::format("expected authorization, x-api-key or x-goog-api-key, found \"{}\"", provider.header));
  TRY(provider.max_output_tokens,
      table.integer_or("max_output_tokens", provider.max_output_tokens, 1, int64_t{1} << 30));
  TRY_STATUS(table.list("prices", [&](TomlReader& row) -> Status {
    Provider::Price price_of;
    TRY(price_of.model, row.string_or("model", ""));
    TRY(price_of.in, price(row, "in", 0));
    TRY(price_of.out, price(row, "out", 0));
    TRY(price_of.cached_in, price(row, "cached_in", price_of.in));
    provider.prices.push_back(std::move(price_of));
    return {};
  }));
  return provider;
}

const Role* Config::role(std::string_view name) const {
  const auto found = roles.find(name);
  return found == roles.end() ? nullptr : &found->second;
}

Status check_name(std::string_view name, std::string_view what) {
  const bool fits = !name.empty() && name.size() <= 30 && name.front() >= 'a' && name.front() <= 'z' &&
                    all_in(name, "abcdefghijklmnopqrstuvwxyz0123456789-") && name.back() != '-';
  if (fits) return {};
  return make_error(ErrorCode::kUsage,
                    "'{}': expected the name of {}: a letter, then letters, digits and dashes, all lower case, at "
                    "most 30",
                    name, what);
}

Result<Config> parse(std::string_view text, std::string_view where, std::string_view plan,
                     std::string_view plan_where) {
  TRY(const toml::table document, parse_toml(text, where));
  TomlReader top(document, std::string(where));
  Config config;
  Limits limits;
  Budget agent;
  TRY_STATUS(top.table("runtime", [&](TomlReader& table) -> Status {
    TRY(config.engine, table.string_or("engine", config.engine));
    if (!is_one_of(config.engine, {"auto", "docker", "podman", "kubernetes"}))
      return table.error("engine",
                         fmt::format("expected auto, docker, podman or kubernetes, found \"{}\"", config.engine));
    TRY(config.socket, table.string_or("socket", ""));
    TRY(config.vision_url, table.string_or("vision", ""));
    return table.table("kubernetes", [&](TomlReader& inner) -> Status {
      TRY(config.kubernetes, parse_kubernetes(inner));
      return {};
    });
  }));
  TRY_STATUS(top.table("limits", [&](TomlReader& table) -> Status {
    TRY(limits, parse_limits(table, limits));
    return {};
  }));
  TRY_STATUS(top.table("budget", [&](TomlReader& table) -> Status {
    TRY_STATUS(table.table("agent", [&](TomlReader& inner) -> Status {
      TRY(agent, parse_budget(inner));
      return {};
    }));
    return table.table("fleet", [&](TomlReader& inner) -> Status {
      TRY(config.fleet, parse_budget(inner));
      return {};
    });
  }));
  TRY_STATUS(top.tables("providers", [&](std::string_view name, TomlReader& table) -> Status {
    TRY(Provider provider, parse_provider(name, table));
    config.providers.emplace(std::string(name), std::move(provider));
    return {};
  }));
  std::vector<std::string> names = {"human", "supervisor", "*"};
  const auto read_role = [&](std::string_view name, TomlReader& table) -> Status {
    TRY(Role role, parse_role(name, table, limits, agent));
    if (name == "human" || name == "supervisor" || name == "broker")
      return table.error("", fmt::format("'{}' is taken, choose another name", name));
    if (!config.roles.emplace(std::string(name), std::move(role)).second)
      return table.error("", fmt::format("{} has a role '{}' too, choose another name", where, name));
    names.emplace_back(name);
    return {};
  };
  TRY_STATUS(top.tables("roles", read_role));
  TRY_STATUS(top.finish());
  if (!plan.empty()) {
    TRY(const toml::table run, parse_toml(plan, plan_where));
    TRY_STATUS(TomlReader(run, std::string(plan_where)).tables("roles", read_role));
  }
  // What is named elsewhere must be there; names of providers are looked up when the harness is known.
  for (const auto& [name, role] : config.roles)
    for (const std::string& other : role.may_message)
      if (std::find(names.begin(), names.end(), other) == names.end())
        return bad_input("{}: roles.{}.may_message: unknown role '{}'{}", where, name, other,
                         did_you_mean(other, names));
  return config;
}

Result<Config> load(const Path& path, const Path& plan) {
  TRY(const std::string text, read_file(path, 1 << 20));
  std::string run;
  if (!plan.empty() && std::filesystem::exists(plan)) {
    TRY(run, read_file(plan, 1 << 20));
  }
  return parse(text, path.filename().string(), run, plan.filename().string());
}

std::string_view starting_config() {
  return R"(# What agents of this repository may do. `onsight agents doctor` says what this machine can enforce of it;
# `start` refuses what cannot be. Every line that begins with "# " and a name shows a default: change it, then uncomment.

[runtime]
# engine = "auto"            # docker, podman, or the one of the two that answers; kubernetes
# socket = ""                # of the engine; otherwise DOCKER_HOST, then the usual places
# vision = ""                # of `onsight serve`: roles with vision = true reach it as http://vision/

[limits]                     # of each container
# memory = "2GiB"            # swap included
# cpus = 2
# pids = 512
# tmp = "256MiB"             # /tmp, which lies in memory
# disk = "4GiB"              # the clone and the home

[budget.agent]               # an agent is cut off at any of them
usd = 5.0
# tokens = 2000000
# time = "2h"

[budget.fleet]               # of all together
usd = 20.0

# A role is what a kind of agent may do. Containers have no network: what is not allowed here does not exist for them.
[roles.coder]
harness = "claude"           # claude, gemini, codex, opencode or generic: `onsight agents image build --harness claude`
may_message = ["reviewer", "human"]
# model = ""                 # the harness's own choice
# instructions = ""          # go before every task
# allow = ["GET packages.shop.example/**", "GET wheels.shop.example/simple/**"]    # plain requests; "CONNECT host:443" is a tunnel

[roles.reviewer]
harness = "claude"
may_message = ["coder", "human"]
instructions = "Review what others wrote. Do not change files; send what you find to its author."

# Without a model and without a key: what `command` says, or a shell.
[roles.shell]
harness = "generic"
# command = ["bash"]
)";
}

}  // namespace onsight::agents::config
