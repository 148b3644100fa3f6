#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

#include "agents/runtime/engine_api.h"
#include "agents/runtime/kubernetes/kubernetes_runtime.h"

namespace onsight::agents::runtime {
namespace {

constexpr double kGreetingSeconds = 10;  // a socket that starts its engine when it is asked takes a while

std::string environment_value(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Where the engines listen: what DOCKER_HOST says, else all the usual places.
Result<std::vector<Path>> engine_places(const ConnectOptions& options) {
  if (!options.socket.empty()) return std::vector<Path>{options.socket};
  constexpr std::string_view kUnix = "unix://";
  if (const std::string host = environment_value("DOCKER_HOST"); !host.empty()) {
    if (!host.starts_with(kUnix))
      return make_error(ErrorCode::kUsage, "DOCKER_HOST: expected unix:///PATH, an engine of this machine, found '{}'",
                        host);
    return std::vector<Path>{host.substr(kUnix.size())};
  }
  std::vector<Path> places;
  const std::string session = environment_value("XDG_RUNTIME_DIR");
  if (options.engine != "podman") {
    places.emplace_back("/run/docker.sock");
    places.emplace_back("/var/run/docker.sock");
    if (!session.empty()) places.push_back(Path(session) / "docker.sock");
  }
  if (options.engine != "docker") {
    places.emplace_back("/run/podman/podman.sock");
    if (!session.empty()) places.push_back(Path(session) / "podman/podman.sock");
  }
  return places;
}

Result<std::unique_ptr<Runtime>> greet(const Path& place) {
  const net::UnixClient client(place);
  TRY(const auto response, client.request({.target = "/version"}, net::seconds_from_now(kGreetingSeconds)));
  if (response.status != 200)
    return make_error(ErrorCode::kIo, "{}: {}", place.string(), refusal(response.status, response.body));
  auto version = parse_version(response.body);
  if (!version) return make_error(ErrorCode::kIo, "{}: {}", place.string(), version.error().message);
  const Dialect& dialect = version->podman ? kPodman : kDocker;
  return std::make_unique<EngineRuntime>(place, std::move(*version), dialect);
}

}  // namespace

Result<std::unique_ptr<Runtime>> connect(const ConnectOptions& options) {
  if (options.engine == "kubernetes") return kubernetes::connect_cluster(options);
  if (options.engine != "auto" && options.engine != "docker" && options.engine != "podman")
    return make_error(ErrorCode::kUsage, "the engine: expected docker, podman, auto or kubernetes, found '{}'",
                      options.engine);
  TRY(const auto places, engine_places(options));
  std::vector<std::string> tried;
  for (const Path& place : places) {
    std::error_code ignored;
    if (places.size() > 1 && !std::filesystem::exists(place, ignored)) {
      tried.push_back(place.string() + ": not there");
      continue;
    }
    auto found = greet(place);
    if (found && (options.engine == "auto" || (*found)->engine() == options.engine)) return found;
    tried.push_back(found ? fmt::format("{}: it is {}", place.string(), (*found)->engine()) : found.error().message);
  }
  return make_error(ErrorCode::kBadInput, "no container engine: expected {} to answer; tried {}",
                    options.engine == "auto" ? "docker or podman" : options.engine, fmt::join(tried, "; "));
}

}  // namespace onsight::agents::runtime
