// Config: what `.onsight/agents.toml` of a project says, with defaults for what it does not.
//
//   TRY(config::Config config, config::load(project.config()));
//   const config::Role* role = config.role("reviewer");
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config/kubernetes.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::config {

// What one container may use. All are enforced, or `start` refuses.
struct Limits {
  uint64_t memory_bytes = uint64_t{2} << 30;  // swap included
  double cpus = 2;
  int pids = 512;
  uint64_t tmp_bytes = 256 << 20;           // of /tmp, which lies in memory
  uint64_t disk_bytes = uint64_t{4} << 30;  // of the clone and the home: watched, and enforced where doctor says so
};

// A request that a role may send: "POST api.anthropic.com/v1/messages", "GET *.shop.example/**". `*` stands for what
// has no slash (in a host: no dot), `**` for anything; no method: any. "CONNECT host:443" allows a tunnel, of which
// only the bytes are seen.
struct AllowRule {
  std::string method;  // empty: any
  std::string host, path;
  int port = 0;  // 0: the scheme's own
};

struct Money {
  int64_t micro_usd = 0;
};

struct Budget {
  std::optional<Money> money;
  std::optional<int64_t> tokens;                  // in and out
  std::optional<std::chrono::milliseconds> time;  // running
};

// Where a harness's requests to its model go: what the container reaches as http://127.0.0.1:8080/upstream/NAME/.
struct Provider {
  std::string name;      // "anthropic"
  std::string url;       // "https://api.anthropic.com", without a slash at the end
  std::string protocol;  // of usage fields: "anthropic", "gemini", "openai"; "none": requests are counted, not tokens
  std::string key;       // its name in the vault; empty: none is sent
  std::string header = "authorization";  // that takes the key: "x-api-key", "x-goog-api-key", "authorization" (Bearer)
  // Micro-dollars a million tokens, of models whose name begins so; "" for all others.
  struct Price {
    std::string model;
    int64_t in = 0, out = 0, cached_in = 0;
  };
  std::vector<Price> prices;
  int64_t max_output_tokens = 64'000;  // of one request that names no limit: what is reserved for it
};

struct Role {
  std::string name;
  std::string harness = "generic";
  std::string model;                                 // empty: the harness's own
  std::string instructions;                          // go before the task
  std::vector<std::string> command;                  // in place of the harness's, for generic
  std::vector<std::string> may_message = {"human"};  // roles; "*": all
  bool may_propose = false;                          // tasks: a planner
  bool vision = false;                               // http://vision/
  std::vector<AllowRule> allow;
  std::vector<std::string> providers;  // names
  Limits limits;
  Budget budget;
};

struct Config {
  std::string engine = "auto";  // "docker", "podman", "auto", which is one of these two, or "kubernetes"
  std::string socket;           // of the engine; empty: where it usually is
  std::string vision_url;       // of `onsight serve`; empty: none
  Kubernetes kubernetes;
  Budget fleet;
  std::map<std::string, Role, std::less<>> roles;
  std::map<std::string, Provider, std::less<>> providers;

  const Role* role(std::string_view name) const;
};

class TomlReader;
// A table [providers.NAME], here and in the files of harnesses.
Result<Provider> parse_provider(std::string_view name, TomlReader& table);

// Of [budget.agent] and its like.
Result<Budget> parse_budget(TomlReader& table);

// Every error names the file and the line, and says what was expected. Unknown names are refused, with the nearest.
// `plan`: of a run that is under way, whose [roles.NAME] count as if they stood here too; one that stands in both is
// refused.
Result<Config> parse(std::string_view text, std::string_view where, std::string_view plan = {},
                     std::string_view plan_where = {});
// The plan need not be there.
Result<Config> load(const Path& path, const Path& plan = {});

// What `onsight agents init` writes: it parses, and works as it is.
std::string_view starting_config();

// Names of agents, roles and tasks: a letter, then letters, digits and dashes, all lower case; at most 30.
Status check_name(std::string_view name, std::string_view what);

}  // namespace onsight::agents::config
