#include "agents/page/page.h"

#include <algorithm>
#include <atomic>
#include <optional>

#include "agents/bus/mail.h"
#include "agents/page/answers.h"
#include "agents/page/current_fleet.h"
#include "agents/page/event_feed.h"
#include "agents/page/gate.h"
#include "agents/page/jobs.h"
#include "agents/page/page_bytes.h"
#include "agents/page/past_stores.h"
#include "agents/page/viewers.h"
#include "agents/page/views.h"
#include "agents/supervisor/launch.h"
#include "net/page.h"
#include "net/router.h"
#include "net/server.h"
#include "net/unix_client.h"

namespace onsight::agents::page {
namespace {

constexpr int64_t kMostSeq = int64_t{1} << 53;  // that JSON's readers keep exactly
constexpr int64_t kMostListed = 2000;
constexpr double kSupervisorSeconds = 5;
constexpr int kSlowThreads = 6;
constexpr size_t kMostWaitingJobs = 64;
constexpr size_t kMostPostBytes = 256 << 10;
constexpr size_t kMostStreamBytes = 16 << 20;  // an event of a run may come to a megabyte

struct Visit {
  net::HttpRequest request;
  net::PathNames names;
  std::shared_ptr<net::Exchange> exchange;

  std::string name() const { return names.find("name")->second; }
};

// What is wrong with a request's own fields is the request's fault.
template <class T>
Result<T> of_request(Result<T> field) {
  if (!field && field.error().code == ErrorCode::kBadInput) field.error().code = ErrorCode::kUsage;
  return field;
}

Result<state::AgentRow> find_listed(Fleet& fleet, const std::string& name) {
  auto row = fleet.agent(name);
  if (!row && row.error().code == ErrorCode::kUsage) return with_status(kNotFound, row.error().message);
  return row;
}

class OpenPageServer : public PageServer {
 public:
  explicit OpenPageServer(std::unique_ptr<CurrentFleet> fleet)
      : fleet_(std::move(fleet)),
        first_(fleet_->get()),
        past_(first_->store()),
        feed_(first_->store()),
        replays_(1, kMostWaitingJobs),
        slow_(kSlowThreads, kMostWaitingJobs) {}

  Status listen(const PageOptions& options) {
    add_routes();
    net::ServerOptions server;
    server.port = options.port;
    server.stop_on_signals = options.stop_on_signals;
    server.reader.body_bytes = kMostPostBytes;
    server.all_body_bytes = 64 * kMostPostBytes;
    server.send_bytes = kMostStreamBytes;
    server.drain_time = std::chrono::milliseconds(500);
    server.max_connections = 200;
    net::Site site;
    site.refuse = [this](const net::HttpRequest& head) { return refuse(head); };
    site.handle = [this](net::HttpRequest request, std::shared_ptr<net::Exchange> exchange) {
      handle(std::move(request), std::move(exchange));
    };
    site.error = [](const net::HttpRequest& head, int status, const std::string& message) {
      return refusal(head, status, message);
    };
    site.answering = [](const net::HttpRequest&, int, net::Headers& headers) {
      headers.add("X-Content-Type-Options", "nosniff");
      headers.add("Cross-Origin-Resource-Policy", "same-origin");
      headers.add("Cross-Origin-Opener-Policy", "same-origin");
    };
    TRY(server_, net::Server::listen(server, std::move(site)));
    gate_.emplace(random_token(), server_->port());
    return {};
  }

  uint16_t port() const override { return server_->port(); }
  std::string url() const override { return gate_->url(); }
  std::string token() const override { return gate_->token(); }
  void run() override { server_->run(); }
  void stop() override { server_->stop(); }

 private:
  using Handler = std::function<void(const std::shared_ptr<Visit>&)>;
  using Work = std::function<Result<Json>(const Visit&)>;

  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) const {
    if (auto refused = gate_->refuse(head)) return refused;
    const auto found = routes_.find(head.method, head.path);
    if (found.target) return {};
    if (found.allowed.empty())
      return refusal(head, 404, fmt::format("{} {}: there is no such path", head.method, head.path));
    return refusal(head, 405,
                   fmt::format("{}: expected {}, found {}", head.path, fmt::join(found.allowed, ", "), head.method));
  }

  void handle(net::HttpRequest request, std::shared_ptr<net::Exchange> exchange) {
    auto found = routes_.find(request.method, request.path);
    if (!found.target) return;
    (*found.target)(std::make_shared<Visit>(Visit{std::move(request), std::move(found.names), std::move(exchange)}));
  }

  static void answer(const Visit& visit, const Result<Json>& result, int status = 200) {
    visit.exchange->respond(result ? json_answer(*result, status) : error_answer(result.error()));
  }

  // On the thread of the server's handlers: what only looks into the store.
  static Handler quick(Work work, int status = 200) {
    return
        [work = std::move(work), status](const std::shared_ptr<Visit>& visit) { answer(*visit, work(*visit), status); };
  }

  // What waits for an engine, a git or a supervisor.
  Handler slow(Work work, int status = 200) {
    return [this, work = std::move(work), status](const std::shared_ptr<Visit>& visit) {
      put_off(slow_, visit, work, status);
    };
  }

  static void put_off(Jobs& jobs, const std::shared_ptr<Visit>& visit, const Work& work, int status) {
    const auto gone = std::make_shared<std::atomic<bool>>(false);
    const bool reads = visit->request.method == "GET";
    visit->exchange->on_gone([gone](net::Gone) { *gone = true; });
    const bool taken = jobs.post([visit, work, status, gone, reads] {
      if (*gone && reads) return;  // nobody is told, and nothing was to be changed
      answer(*visit, work(*visit), status);
    });
    if (!taken) answer(*visit, make_error(ErrorCode::kBusy, "too much is being done already, try again soon"));
  }

  using View = std::function<Result<Json>(state::Transaction& t, const Visit& visit)>;

  // Of now, or of the moment that `at` names.
  Handler seen(const View& view) {
    const auto look = [this, view](state::Store& store, const Visit& visit) -> Result<Json> {
      Json out;
      TRY_STATUS(store.read([&](state::Transaction& t) -> Status {
        TRY(out, view(t, visit));
        return {};
      }));
      TRY_STATUS(first_->store().read([&](state::Transaction& t) -> Status {
        out["last_seq"] = t.last_seq();
        return {};
      }));
      return out;
    };
    return [this, look](const std::shared_ptr<Visit>& visit) {
      if (visit->request.query_value("at").empty()) return answer(*visit, look(first_->store(), *visit));
      put_off(
          replays_, visit,
          [this, look](const Visit& of) -> Result<Json> {
            TRY(const int64_t at, number_of(of.request, "at", 0, kMostSeq));
            TRY(const std::shared_ptr<state::Store> past, past_.at(at));
            return look(*past, of);
          },
          200);
    };
  }

  void add_routes() {
    routes_.add("GET", "/", [this](const std::shared_ptr<Visit>& visit) {
      static const net::Page kPage(page_bytes());
      net::HttpResponse page = kPage.respond(visit->request);
      if (gate_->is_login(visit->request)) page.headers.add("Set-Cookie", gate_->cookie());
      visit->exchange->respond(std::move(page));
    });
    routes_.add("GET", "/api/state", seen([this](state::Transaction& t, const Visit&) { return state(t); }));
    routes_.add("GET", "/api/plan", seen([](state::Transaction& t, const Visit& visit) -> Result<Json> {
                  TRY(const int64_t after, number_of(visit.request, "after", 0, kMostSeq));
                  return plan_view(t, after);
                }));
    routes_.add("GET", "/api/messages", seen([](state::Transaction& t, const Visit& visit) -> Result<Json> {
                  TRY(const int64_t limit, number_of(visit.request, "limit", 200, kMostListed));
                  return messages_view(t, visit.request.query_value("agent"), static_cast<size_t>(limit));
                }));
    // The past of a log is its beginning: nothing is replayed.
    routes_.add("GET", "/api/log", quick([this](const Visit& visit) { return log(visit); }));
    routes_.add("GET", "/api/events", [this](const std::shared_ptr<Visit>& visit) { listen_to_events(*visit); });
    routes_.add("GET", "/api/agents/{name}/terminal",
                [this](const std::shared_ptr<Visit>& visit) { watch_terminal(*visit); });
    routes_.add("GET", "/api/agents/{name}/diff", slow([this](const Visit& visit) { return diff(visit); }));
    routes_.add("POST", "/api/agents", slow([this](const Visit& visit) { return start(visit); }, 201));
    routes_.add("POST", "/api/agents/{name}/type", quick([this](const Visit& visit) { return type(visit); }));
    routes_.add("POST", "/api/agents/{name}/size", quick([this](const Visit& visit) { return size(visit); }));
    routes_.add("POST", "/api/agents/{name}/stop", slow([this](const Visit& visit) { return stop_agent(visit); }, 202));
    routes_.add("POST", "/api/agents/{name}/resume", slow([this](const Visit& visit) { return resume(visit); }, 202));
    routes_.add("POST", "/api/agents/{name}/merge", slow([this](const Visit& visit) { return merge(visit); }));
    routes_.add("POST", "/api/agents/{name}/rm", slow([this](const Visit& visit) { return remove(visit); }, 202));
    routes_.add("POST", "/api/agents/{name}/message", slow([this](const Visit& visit) { return message(visit); }, 201));
    routes_.add("POST", "/api/inbox/read", quick([this](const Visit& visit) { return read_inbox(visit); }));
  }

  Result<Json> state(state::Transaction& t) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY(Json out, state_view(t, fleet->config()));
    out["project"] = fleet->project().root.filename().string();
    out["problem"] = fleet_->problem();
    return out;
  }

  Result<Json> log(const Visit& visit) {
    TRY(const int64_t at, number_of(visit.request, "at", kMostSeq, kMostSeq));
    TRY(const int64_t limit, number_of(visit.request, "limit", 200, kMostListed));
    Json out;
    TRY_STATUS(first_->store().read([&](state::Transaction& t) -> Status {
      const int64_t last = std::min(at, t.last_seq());
      TRY(out, log_view(t, std::max<int64_t>(1, last - limit + 1), last));
      return {};
    }));
    return out;
  }

  void listen_to_events(const Visit& visit) {
    net::HttpRequest asked = visit.request;
    if (const std::string* last = visit.request.headers.find("Last-Event-ID")) asked.query = {{"after", *last}};
    const auto after = number_of(asked, "after", kMostSeq, kMostSeq);
    if (!after) return answer(visit, tl::unexpected<Error>(after.error()));
    const Status added = feed_.add(visit.exchange, *after);
    if (!added) answer(visit, tl::unexpected<Error>(added.error()));
  }

  void watch_terminal(const Visit& visit) {
    const auto watched = [&]() -> Status {
      TRY(const int64_t rows, number_of(visit.request, "rows", 40, 1000));
      TRY(const int64_t columns, number_of(visit.request, "columns", 120, 1000));
      if (rows < 1 || columns < 1) return make_error(ErrorCode::kUsage, "rows and columns: expected 1 to 1000 each");
      const std::shared_ptr<Fleet> fleet = fleet_->get();
      TRY(const state::AgentRow row, find_listed(*fleet, visit.name()));
      return viewers_.watch(fleet->project(), row, static_cast<int>(rows), static_cast<int>(columns), visit.exchange);
    }();
    if (!watched) answer(visit, tl::unexpected<Error>(watched.error()));
  }

  Result<Json> diff(const Visit& visit) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY_STATUS(find_listed(*fleet, visit.name()));
    TRY(std::string text, fleet->diff(visit.name(), false, false));
    return Json{{"diff", std::move(text)}};
  }

  Result<Json> start(const Visit& visit) {
    TRY(const Json body, body_of(visit.request, {"name", "role", "harness", "model", "task", "revision"}));
    const JsonView view(body, "the body");
    StartOptions options;
    TRY(options.name, of_request(view.string("name")));
    TRY(options.role, of_request(view.string_or("role", "")));
    TRY(options.harness, of_request(view.string_or("harness", "")));
    TRY(options.model, of_request(view.string_or("model", "")));
    TRY(options.task, of_request(view.string_or("task", "")));
    TRY(options.revision, of_request(view.string_or("revision", "HEAD")));
    TRY(const state::AgentRow row, fleet_->get()->start(options));
    return to_json(row);
  }

  // What the supervisor of the terminal says to it.
  Result<Json> tell_terminal(const Visit& visit, const std::string& verb, std::string bytes) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY(const state::AgentRow row, find_listed(*fleet, visit.name()));
    if (row.phase != state::Phase::kRunning) return bad_input("{}: it is {}", row.name, state::name_of(row.phase));
    const net::UnixClient supervisor(fleet->project().control());
    TRY(const net::HttpResponse answered,
        supervisor.request(
            {.method = "POST", .target = fmt::format("/agents/{}/{}", row.name, verb), .body = std::move(bytes)},
            net::seconds_from_now(kSupervisorSeconds)));
    if (answered.status / 100 != 2) return bad_input("{}", answered.body);
    return Json::object();
  }

  Result<Json> type(const Visit& visit) {
    TRY(const Json body, body_of(visit.request, {"text"}));
    TRY(std::string text, of_request(JsonView(body, "the body").string("text")));
    return tell_terminal(visit, "type", std::move(text));
  }

  Result<Json> size(const Visit& visit) {
    TRY(const Json body, body_of(visit.request, {"rows", "columns"}));
    const JsonView view(body, "the body");
    TRY(const int64_t rows, of_request(view.integer("rows", 1, 1000)));
    TRY(const int64_t columns, of_request(view.integer("columns", 1, 1000)));
    return tell_terminal(visit, fmt::format("size?rows={}&columns={}", rows, columns), {});
  }

  Result<Json> stop_agent(const Visit& visit) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY_STATUS(body_of(visit.request, {}));
    TRY_STATUS(find_listed(*fleet, visit.name()));
    TRY_STATUS(fleet->stop(visit.name()));
    return Json::object();
  }

  Result<Json> resume(const Visit& visit) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY_STATUS(body_of(visit.request, {}));
    TRY_STATUS(find_listed(*fleet, visit.name()));
    TRY_STATUS(fleet->resume(visit.name()));
    return Json::object();
  }

  Result<Json> merge(const Visit& visit) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY_STATUS(body_of(visit.request, {}));
    TRY_STATUS(find_listed(*fleet, visit.name()));
    TRY(const workspace::Merged merged, fleet->merge(visit.name()));
    return Json{{"commit", merged.commit},
                {"conflicts", merged.conflicts},
                {"nothing", merged.nothing},
                {"notes", merged.notes}};
  }

  Result<Json> remove(const Visit& visit) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY(const Json body, body_of(visit.request, {"force"}));
    TRY(const bool force, of_request(JsonView(body, "the body").boolean_or("force", false)));
    TRY_STATUS(find_listed(*fleet, visit.name()));
    TRY(const RemoveResult removed, fleet->remove(visit.name(), force));
    return Json{{"backup", removed.backup}};
  }

  // It lies in the inbox, whoever runs; who runs is told now, and nobody is started for it.
  Result<Json> message(const Visit& visit) {
    const std::shared_ptr<Fleet> fleet = fleet_->get();
    TRY(const Json body, body_of(visit.request, {"text", "reply_to"}));
    const JsonView view(body, "the body");
    bus::Draft draft = {.to = visit.name()};
    TRY(draft.text, of_request(view.string("text")));
    TRY(draft.reply_to, of_request(view.integer_or("reply_to", 0, 0, kMostSeq)));
    TRY_STATUS(find_listed(*fleet, visit.name()));
    TRY(const int64_t number, of_request(bus::send(fleet->store(), "human", draft)));
    for (const auto duty : {supervisor::Duty::kBroker, supervisor::Duty::kSupervisor})
      (void)supervisor::answers(fleet->project(), duty);
    return Json{{"number", number}};
  }

  Result<Json> read_inbox(const Visit& visit) {
    TRY(const Json body, body_of(visit.request, {"numbers"}));
    const Json numbers = body.value("numbers", Json());
    const auto is_number = [](const Json& one) { return one.is_number_unsigned() && one.get<uint64_t>() < kMostSeq; };
    if (!numbers.is_array() || !std::all_of(numbers.begin(), numbers.end(), is_number))
      return make_error(ErrorCode::kUsage, "the body: numbers: expected a list of numbers of messages");
    int64_t count = 0;
    TRY_STATUS(first_->store().write([&](state::Transaction& t) -> Status {
      std::vector<state::MessageRow> own;
      for (const Json& number : numbers) {
        TRY(const auto found, bus::find_own(t, "human", number.get<int64_t>()));
        if (found && found->consumed_ms == 0) own.push_back(*found);
      }
      std::sort(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
      const auto same = [](const auto& a, const auto& b) { return a.number == b.number; };
      own.erase(std::unique(own.begin(), own.end(), same), own.end());
      count = static_cast<int64_t>(own.size());
      if (own.empty()) return {};
      TRY_STATUS(bus::mark_delivered(t, "human", own, "human"));
      return bus::mark_consumed(t, "human", own, "human");
    }));
    return Json{{"read", count}};
  }

  const std::unique_ptr<CurrentFleet> fleet_;
  const std::shared_ptr<Fleet> first_;  // whose store all look into
  net::Router<Handler> routes_;
  std::optional<Gate> gate_;
  PastStores past_;
  EventFeed feed_;
  Viewers viewers_;
  Jobs replays_, slow_;
  std::unique_ptr<net::Server> server_;  // goes first: its connections end, then what they waited for
};

}  // namespace

Result<std::unique_ptr<PageServer>> PageServer::listen(const PageOptions& options) {
  TRY(auto fleet, CurrentFleet::open(options.open));
  auto server = std::make_unique<OpenPageServer>(std::move(fleet));
  TRY_STATUS(server->listen(options));
  return server;
}

}  // namespace onsight::agents::page
