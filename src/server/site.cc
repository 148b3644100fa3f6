#include "server/site.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <new>
#include <optional>

#include "net/fetch_pool.h"
#include "server/access.h"

namespace onsight::server {
namespace {

bool has_body(const net::HttpRequest& head) {
  return head.headers.find("Transfer-Encoding") ||
         head.headers.get("Content-Length").find_first_not_of('0') != std::string_view::npos;
}

// Whether it needs no key.
bool is_open(const Route& route, const net::HttpRequest& head) {
  return route.open && (route.refuse || !has_body(head));
}

class Rules {
 public:
  Rules(Service& service, AccessOptions access)
      : service_(service), access_(std::move(access)), loopback_(is_loopback(access_.host)) {
    if (!service.options().fetch.hosts.empty()) fetches_ = std::make_unique<net::FetchPool>(net::FetchPool::Limits());
    if (!access_.api_key.empty()) key_.emplace(access_.api_key);
    for (const Place& place : all_places()) {
      net::Router<Place>& router = place.claimed ? claimed_[place.dialect] : router_;
      router.add(std::string(place.route->method), std::string(place.route->pattern), place);
    }
  }

  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) const {
    const std::string_view host = head.headers.get("Host");
    if (loopback_ && !host.empty() && !names_this_machine(host, access_.host))
      return error(head, Failure(403, fmt::format("Host: expected a name of this machine, found '{}'", host)));
    const std::string_view origin = head.headers.get("Origin");
    if (!origin.empty() && !key_ && !allowed(origin) && !same_origin(origin, host))
      return error(
          head, Failure(403, fmt::format("Origin: expected a page of this server, or of --cors, found '{}'", origin)));
    const auto found = find(head);
    if (head.method == "OPTIONS" && (!found.allowed.empty() || head.path == "*")) return options(head, found.allowed);
    const Route* route = found.target ? found.target->route : nullptr;
    if (key_ && !(route && is_open(*route, head)) && !key_->opens(head))
      return error(head, dialect_of(head).no_key(has_key(head)));
    if (route) return route->refuse ? route->refuse(service_, found.names) : std::nullopt;
    if (found.allowed.empty())
      return error(head, Failure(404, fmt::format("{} {}: there is no such path", head.method, head.path)));
    Failure failure(405, fmt::format("{}: expected {}, found {}", head.path, joined(found.allowed), head.method));
    failure.allow = joined(found.allowed);
    return error(head, failure);
  }

  void handle(net::HttpRequest request, std::shared_ptr<net::Exchange> exchange) {
    auto found = find(request);
    if (!found.target) return;
    const Place place = *found.target;
    const auto call =
        std::make_shared<Call>(Call{service_, std::move(request), std::move(found.names), std::move(exchange)});
    const auto outcome = guarded([&]() -> Outcome {
      if (auto handled = place.route->handle(*call); !handled) return handled;
      return call->rest ? go_on(place, call) : Outcome();
    });
    if (!outcome) call->exchange->respond(finished(*place.dialect, outcome.error()));
  }

  net::HttpResponse error(const net::HttpRequest& head, const Failure& failure) const {
    return finished(dialect_of(head), failure);
  }

  void answering(const net::HttpRequest& head, int status, net::Headers& headers) const {
    service_.metrics().count(dialect_of(head).id, status);
    headers.add("X-Content-Type-Options", "nosniff");
    const std::string_view origin = head.headers.get("Origin");
    if (!origin.empty() && allowed(origin)) {
      headers.add("Access-Control-Allow-Origin", std::string(origin));
      headers.add("Access-Control-Expose-Headers", "Retry-After");
      headers.add("Vary", "Origin");
    }
  }

 private:
  // Where nobody waits who asks for nothing of other hosts. The deadline counts the time in line.
  Outcome go_on(const Place& place, const std::shared_ptr<Call>& call) {
    const auto gone = std::make_shared<std::atomic<bool>>(false);
    call->exchange->on_gone([gone](net::Gone) { *gone = true; });
    call->fetch_deadline = {std::chrono::steady_clock::now() + service_.options().fetch.time, gone};
    const bool taken = fetches_->post([dialect = place.dialect, call] {
      const auto outcome = guarded([&] { return call->rest(*call); });
      if (!outcome) call->exchange->respond(finished(*dialect, outcome.error()));
    });
    if (taken) return {};
    Failure busy(429, "the server waits for other hosts for as many requests as it may, try again soon");
    busy.retry_after_s = 1;
    return tl::unexpected<Failure>(std::move(busy));
  }

  static Outcome guarded(const std::function<Outcome()>& body) {
    try {
      return body();
    } catch (const std::bad_alloc&) {
      return fails(503, "not enough memory for this request");
    } catch (const std::filesystem::filesystem_error& error) {  // its what() names paths
      return fails(500, fmt::format("unexpected failure: {}", error.code().message()));
    } catch (const std::exception& error) {
      return fails(500, fmt::format("unexpected failure: {}", error.what()));
    }
  }

  static net::HttpResponse finished(const Dialect& dialect, const Failure& failure) {
    constexpr size_t kMaxMessage = 1000;
    Failure shown = failure;  // which may repeat what the request says, however long that is
    if (shown.message.size() > kMaxMessage) shown.message = shown.message.substr(0, kMaxMessage) + "…";
    net::HttpResponse response = dialect.error(shown);
    if (failure.retry_after_s > 0) response.headers.add("Retry-After", std::to_string(failure.retry_after_s));
    if (!failure.allow.empty()) response.headers.add("Allow", failure.allow);
    if (failure.status == 401) response.headers.add("WWW-Authenticate", "Bearer");
    return response;
  }

  static net::HttpResponse options(const net::HttpRequest& head, const std::vector<std::string>& methods) {
    net::HttpResponse response{204, {{"Allow", joined(methods)}}, {}};
    if (!head.headers.get("Access-Control-Request-Method").empty()) {
      response.headers.add("Access-Control-Allow-Methods", joined(methods));
      const std::string_view asked = head.headers.get("Access-Control-Request-Headers");
      if (!asked.empty()) response.headers.add("Access-Control-Allow-Headers", std::string(asked));
      response.headers.add("Access-Control-Max-Age", "600");
    }
    return response;
  }

  static std::string joined(const std::vector<std::string>& methods) {
    std::string out;
    for (const std::string& method : methods) {
      out += (out.empty() ? "" : ", ") + method;
      if (method == "GET") out += ", HEAD";
    }
    return out.empty() ? "OPTIONS" : out + ", OPTIONS";
  }

  bool allowed(std::string_view origin) const {
    return std::any_of(access_.origins.begin(), access_.origins.end(), [&](const std::string& allowed) {
      return allowed == "*" || net::equal_ignoring_case(allowed, origin);
    });
  }

  net::Router<Place>::Found find(const net::HttpRequest& head) const {
    for (const auto& [dialect, routes] : claimed_)
      if (dialect->claims(head))
        if (auto found = routes.find(head.method, head.path); found.target) return found;
    return router_.find(head.method, head.path);
  }

  // Whose route it is; of a path that nobody has, whose prefix is the longest.
  const Dialect& dialect_of(const net::HttpRequest& head) const {
    if (const auto found = find(head); found.target) return *found.target->dialect;
    for (const auto& [dialect, routes] : claimed_)
      if (dialect->claims(head)) return *dialect;
    const Dialect* best = &kOwnRoutes;
    size_t longest = 0;
    for (const Dialect* dialect : dialects())
      for (const std::string_view prefix : dialect->prefixes)
        if (head.path.starts_with(prefix) && prefix.size() > longest) {
          best = dialect;
          longest = prefix.size();
        }
    return *best;
  }

  Service& service_;
  const AccessOptions access_;
  const bool loopback_;
  std::optional<ApiKey> key_;
  net::Router<Place> router_;
  std::map<const Dialect*, net::Router<Place>> claimed_;
  std::unique_ptr<net::FetchPool> fetches_;  // null: nothing is fetched
};

}  // namespace

std::vector<const Dialect*> all_dialects() {
  std::vector<const Dialect*> all(dialects().begin(), dialects().end());
  all.push_back(&kOwnRoutes);
  return all;
}

std::vector<Place> all_places() {
  std::vector<Place> all;
  for (const Dialect* dialect : all_dialects()) {
    for (const Route& route : dialect->routes()) all.push_back({dialect, &route, false});
    for (const Route& route : dialect->claimed()) all.push_back({dialect, &route, true});
  }
  return all;
}

net::Site make_site(Service& service, const AccessOptions& access) {
  const auto rules = std::make_shared<Rules>(service, access);
  net::Site site;
  site.refuse = [rules](const net::HttpRequest& head) { return rules->refuse(head); };
  site.handle = [rules](net::HttpRequest request, std::shared_ptr<net::Exchange> exchange) {
    rules->handle(std::move(request), std::move(exchange));
  };
  site.error = [rules](const net::HttpRequest& head, int status, const std::string& message) {
    Failure failure(status, message);
    if (status == 503) failure.retry_after_s = 1;  // what there is no room for now
    return rules->error(head, failure);
  };
  site.answering = [rules](const net::HttpRequest& head, int status, net::Headers& headers) {
    rules->answering(head, status, headers);
  };
  return site;
}

}  // namespace onsight::server
