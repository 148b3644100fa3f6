// Requests of an agent to the bus: the first byte says which, then the query up to a NUL byte, then the body. Whatever
// it is, the answer is JSON, and nobody else's name is on what was stored.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "agents/bus/bus.h"
#include "net/target.h"

namespace {

using namespace onsight;
using namespace onsight::agents;

void must(bool condition) {
  if (!condition) std::abort();
}

struct World {
  World() : folder((std::filesystem::temp_directory_path() / "onsight-bus-fuzz-XXXXXX").string()) {
    must(::mkdtemp(folder.data()) != nullptr);
    store = *state::Store::open(Path(folder) / "state.db");
    config::Role role;
    role.may_message = {"*"};
    role.may_propose = true;
    config->roles["planner"] = role;
    for (const char* name : {"a", "b"}) {
      must(store
               ->write([&](state::Transaction& t) {
                 return t.add({.actor = "human",
                               .agent = name,
                               .kind = "agent.created",
                               .body = {{"role", "planner"}, {"harness", "generic"}, {"branch", "agents/x"}}});
               })
               .has_value());
    }
    bus = std::make_unique<bus::Bus>(
        *store, [this] { return config; },
        bus::Limits{.per_minute = 6000, .burst = 30, .wait = std::chrono::seconds(0)});
  }
  ~World() {
    bus.reset();
    store.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }

  std::string folder;
  std::unique_ptr<state::Store> store;
  std::shared_ptr<config::Config> config = std::make_shared<config::Config>();
  std::unique_ptr<bus::Bus> bus;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  if (size < 1) return 0;
  static constexpr std::string_view kPaths[] = {"/onsight/messages",  "/onsight/inbox", "/onsight/inbox/consumed",
                                                "/onsight/status",    "/onsight/done",  "/onsight/propose",
                                                "/onsight/heartbeat", "/onsight/me"};
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view query = rest.substr(0, rest.find('\0'));
  const std::string_view path = kPaths[data[0] % 8];
  net::HttpRequest request;
  request.method = path == "/onsight/inbox" || path == "/onsight/me" ? "GET" : "POST";
  request.path = path;
  if (const auto target = net::parse_target("/?" + std::string(query))) request.query = target->query;
  request.body = rest.substr(std::min(rest.size(), query.size() + 1));
  const net::HttpResponse response = world.bus->handle("a", request);
  must(response.status >= 200 && response.status < 500);
  const Json answer = Json::parse(response.body, nullptr, false);
  must(answer.is_object() && answer.contains("error") == (response.status >= 400));
  if (response.status == 201 && path == "/onsight/messages") {
    std::optional<state::MessageRow> message;
    must(world.store
             ->read([&](state::Transaction& t) -> Status {
               TRY(message, t.message(answer.at("number").get<int64_t>()));
               return {};
             })
             .has_value());
    must(message && message->sender == "a");
  }
  return 0;
}
