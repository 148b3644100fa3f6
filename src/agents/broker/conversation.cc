#include "agents/broker/conversation.h"

#include <algorithm>
#include <array>

#include "agents/broker/credentials.h"
#include "net/target.h"

namespace onsight::agents::broker {
namespace {

constexpr int kForwarderPort = 8080;  // of the guest's forwarder: what clients take for our address
constexpr std::string_view kUpstream = "/upstream/", kBus = "/onsight/";
constexpr size_t kReadBytes = 32 << 10;

tl::unexpected<Error> refusal(std::string_view reason, std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::kBadInput, std::move(message), {}, reason});
}

bool is_own_host(const Authority& at) {
  return at.host == "onsight" || at.host == "127.0.0.1" || at.host == "localhost" || at.host == "::1";
}

bool is_own_path(std::string_view path) { return path.starts_with(kUpstream) || path.starts_with(kBus); }

// Hosts that lead to a provider are reached through /upstream/ alone: elsewhere nobody counts, and another account's
// key would do.
bool is_provider(const Policy& policy, const Authority& at) {
  return std::any_of(policy.provider_urls.begin(), policy.provider_urls.end(), [&](const Url& url) {
    return url.at.host == at.host && (!names_private_host(at.host) || url.at.port == at.port);
  });
}

int status_of(std::string_view reason) {
  constexpr std::array<std::pair<std::string_view, int>, 13> kStatus = {{{"bad_request", 400},
                                                                         {"too_large", 413},
                                                                         {"rate", 429},
                                                                         {"budget", 402},
                                                                         {"price", 402},
                                                                         {"busy", 503},
                                                                         {"store", 503},
                                                                         {"key", 503},
                                                                         {"unreachable", 502},
                                                                         {"tls", 502},
                                                                         {"connection", 502},
                                                                         {"bad_answer", 502},
                                                                         {"timeout", 504}}};
  for (const auto& [name, status] : kStatus)
    if (name == reason) return status;
  return 403;
}

bool vision_lets_through(std::string_view method, std::string_view path) {
  if (method == "GET") return path == "/v1/models" || path == "/health";
  if (method != "POST") return false;
  if (path == "/v1/chat/completions" || path == "/v1/responses" || path == "/v1/completions") return true;
  return matches_pattern("/v1beta/models/*:generateContent", path, '/') ||
         matches_pattern("/v1beta/models/*:streamGenerateContent", path, '/');
}

}  // namespace

// 402 rather than 429 for a budget: clients try a 429 again, and this one does not pass.
std::string refusal_body(const Error& error, std::string_view protocol, int& status) {
  status = status_of(error.reason);
  const std::string reason(error.reason.empty() ? "not_allowed" : error.reason);
  Json inner = {{"message", error.message}, {"type", "refused"}, {"reason", reason}};
  if (protocol == "anthropic") {
    inner["type"] = status == 402   ? "billing_error"
                    : status == 429 ? "rate_limit_error"
                    : status == 400 ? "invalid_request_error"
                    : status == 413 ? "request_too_large"
                    : status >= 500 ? "api_error"
                                    : "permission_error";
    return Json({{"type", "error"}, {"error", inner}}).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  if (protocol == "openai") {
    inner["code"] = status == 402 ? "insufficient_quota" : reason;
    inner["param"] = nullptr;
  }
  if (protocol == "gemini") {
    inner["code"] = status;
    inner["status"] = status == 402 || status == 429 ? "RESOURCE_EXHAUSTED"
                      : status == 400                ? "INVALID_ARGUMENT"
                      : status >= 500                ? "UNAVAILABLE"
                                                     : "PERMISSION_DENIED";
  }
  return Json({{"error", inner}}).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Conversation::run() {
  while (!service_.stopping.load() && one_request()) {
  }
}

Status Conversation::read_some(Time until) {
  std::array<char, kReadBytes> bytes;
  TRY(const size_t n, client_->read(bytes.data(), bytes.size(), waiting(), until));
  if (n == 0) return refusal("gone", "the client has gone");
  in_.append(bytes.data(), n);
  return {};
}

Result<RequestHead> Conversation::read_head(bool& ended) {
  ended = true;
  deadline_ = Time::max();
  if (in_.empty()) TRY_STATUS(read_some(Clock::now() + service_.limits.idle_time));
  const Time until = Clock::now() + service_.limits.head_time;
  size_t end = 0;
  while ((end = head_end(std::string_view(in_).substr(0, kMaxHeadBytes))) == 0) {
    if (in_.size() >= kMaxHeadBytes) {
      ended = false;
      return refusal("too_large", fmt::format("the request: expected a head of at most {} bytes", kMaxHeadBytes));
    }
    TRY_STATUS(read_some(until));
  }
  ended = false;
  const std::string text = in_.substr(0, end);
  in_.erase(0, end);
  return parse_request_head(text);
}

bool Conversation::one_request() {
  bool ended = false;
  const Result<RequestHead> head = read_head(ended);
  if (ended) return false;
  policy_ = link_.policy();
  deadline_ = Clock::now() + service_.limits.total_time;
  body_read_ = head && head->body == BodyKind::kNone;
  if (!head) return refuse(nullptr, head.error());
  return handle(*head);
}

bool Conversation::handle(const RequestHead& head) {
  if (!link_.admit_request(service_.limits.requests_per_minute))
    return refuse(&head, refusal("rate", fmt::format("expected at most {} requests a minute",
                                                     service_.limits.requests_per_minute))
                             .value());
  if (head.method == "CONNECT") return tunnel(head);
  Url url;
  if (head.target.starts_with('/')) {
    if (const Status path = parse_path(head.target, url); !path) return refuse(&head, path.error());
    const auto host = parse_authority(head.host, 80);
    if (!host || !is_own_host(*host))
      return refuse(
          &head,
          refusal("not_allowed", "the host of the request is not ours: expected a request to a proxy, with a whole URL")
              .value());
    return own_path(head, url);
  }
  auto parsed = parse_url(head.target);
  if (!parsed) return refuse(&head, parsed.error());
  url = *std::move(parsed);
  const auto host = parse_authority(head.host, url.usual_port());
  if (!host || !(*host == url.at))
    return refuse(&head,
                  refusal("host_mismatch", "the Host field of the request: expected the host of its URL").value());
  if (url.at.host == "onsight" || (is_own_host(url.at) && url.at.port == kForwarderPort && is_own_path(url.path)))
    return own_path(head, url);
  if (url.at.host == "vision") return vision(head, url);
  return plain_host(head, url);
}

bool Conversation::own_path(const RequestHead& head, const Url& url) {
  if (url.path.starts_with(kBus)) return bus(head, url);
  if (url.path.starts_with(kUpstream)) return upstream(head, url);
  return refuse(&head,
                refusal("not_allowed", "the path of the request: expected /onsight/… or /upstream/PROVIDER/…").value());
}

bool Conversation::bus(const RequestHead& head, const Url& url) {
  if (!service_.bus) return refuse(&head, refusal("busy", "the bus is not there").value());
  net::HttpRequest request;
  request.method = head.method;
  request.path = url.path;
  request.headers = head.headers;
  request.peer = link_.name;
  if (const auto target = net::parse_target(url.target()); target) request.query = target->query;
  if (const Status read = read_body(head, service_.limits.bus_body_bytes, request.body, nullptr); !read)
    return refuse(&head, read.error());
  const int fd = client_->descriptor();
  const Caller caller{link_.name, [this, fd] { return service_.stopping.load() || has_hung_up(fd); }};
  net::HttpResponse response = service_.bus->handle(caller, request);
  return send_answer(response.status, std::move(response.headers), response.body, head.keep_alive);
}

bool Conversation::upstream(const RequestHead& head, const Url& url) {
  const std::string_view rest = std::string_view(url.path).substr(kUpstream.size());
  const size_t slash = rest.find('/');
  const std::string_view name = rest.substr(0, slash);
  const auto provider = policy_->providers.find(name);
  if (provider == policy_->providers.end())
    return refuse(&head, refusal("not_allowed", fmt::format("the provider '{}' is none of those that this role may use",
                                                            shown(name, 40)))
                             .value());
  Route route;
  route.provider = &provider->second;
  route.provider_path = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  const auto base = parse_url(provider->second.url);
  if (!base)
    return refuse(&head, refusal("not_allowed", "the provider's URL in the configuration is none").value(), &route);
  route.url = *base;
  route.url.path = (base->path == "/" ? "" : base->path) + route.provider_path;
  route.private_ok = names_private_host(base->at.host);
  route.shown_host = base->at.text(base->usual_port());
  if (const Status checked = check_credentials(head.headers, url.query, policy_->placeholder); !checked)
    return refuse(&head, checked.error(), &route);
  auto query = upstream_query(url.query, provider->second.protocol);
  if (!query) return refuse(&head, query.error(), &route);
  route.url.has_query = !query->empty();
  route.url.query = *std::move(query);
  const Endpoint endpoint = endpoint_of(protocol_of(provider->second.protocol), head.method, route.provider_path);
  if (endpoint == Endpoint::kRefused && !allowed_by(policy_->role.allow, head.method, route.url))
    return refuse(
        &head,
        refusal(
            "not_allowed",
            "what is asked of the provider is not let through: expected a request to a model, or a rule that names it")
            .value(),
        &route);
  vault::Secret key;
  if (!provider->second.key.empty()) {
    if (base->scheme != "https" && !route.private_ok)
      return refuse(&head, refusal("tls", "the provider's URL: expected https, a key is not sent in the clear").value(),
                    &route);
    auto found = service_.key(provider->second.key, base->at.text(0));
    if (!found && found.error().reason == "key_host")
      return refuse(
          &head,
          refusal("key_host", fmt::format("the key of the provider '{}' may not be sent to {}", name, route.shown_host))
              .value(),
          &route);
    if (!found)
      return refuse(&head, refusal("key", fmt::format("the vault has no key for the provider '{}'", name)).value(),
                    &route);
    key = *std::move(found);
  }
  if (endpoint == Endpoint::kMetered) return metered(head, route, key);
  return relay_free(head, route, key);
}

bool Conversation::vision(const RequestHead& head, const Url& url) {
  if (!policy_->role.vision || !policy_->vision)
    return refuse(&head,
                  refusal("not_allowed", "the role may not ask the vision model, or none is configured").value());
  if (url.at.port != 80 || url.scheme != "http" || !vision_lets_through(head.method, url.path))
    return refuse(&head, refusal("not_allowed",
                                 "expected a question to the vision model, as POST http://vision/v1/chat/completions")
                             .value());
  if (const Status checked = check_no_placeholder(head, policy_->placeholder); !checked)
    return refuse(&head, checked.error());
  Route route;
  route.url = *policy_->vision;
  route.url.path = (route.url.path == "/" ? "" : route.url.path) + url.path;
  route.url.has_query = false;
  route.private_ok = true;  // the operator's own
  route.shown_host = "vision";
  return relay_free(head, route, {});
}

bool Conversation::plain_host(const RequestHead& head, const Url& url) {
  Route route;
  route.url = url;
  route.shown_host = url.at.text(url.usual_port());
  route.keeps_credentials = true;
  if (is_provider(*policy_, url.at))
    return refuse(&head, refusal("provider", "a provider's host is reached as /upstream/PROVIDER/… alone").value(),
                  &route);
  const config::AllowRule* const rule = allowed_by(policy_->role.allow, head.method, url);
  if (!rule)
    return refuse(
        &head,
        refusal("not_allowed", fmt::format("{} {} is not among what this role may send", head.method, route.shown_host))
            .value(),
        &route);
  if (const Status checked = check_no_placeholder(head, policy_->placeholder); !checked)
    return refuse(&head, checked.error(), &route);
  route.private_ok = names_private_host(rule->host);
  return relay_free(head, route, {});
}

Status Conversation::send_continue(const RequestHead& head) {
  if (!head.expects_continue || !in_.empty()) return {};
  return client_->write("HTTP/1.1 100 Continue\r\n\r\n", {&service_.stopping, -1}, in(service_.limits.quiet_time));
}

Status Conversation::read_body(const RequestHead& head, uint64_t most, std::string& body, HeldBody* held) {
  const auto too_large = [&] {
    return refusal("too_large", fmt::format("the body of the request: expected at most {} bytes", most));
  };
  if (head.body == BodyKind::kLength && head.length > most) return too_large();
  TRY_STATUS(send_continue(head));
  BodyReader reader(head.body, head.length);
  for (;;) {
    TRY(const size_t used, reader.feed(in_, body));
    in_.erase(0, used);
    if (body.size() > most) return too_large();
    if (held && !held->grow_to(body.size())) return refusal("busy", "too many large requests at once, later it may go");
    if (reader.done()) break;
    TRY_STATUS(read_some(in(service_.limits.quiet_time)));
  }
  body_read_ = true;
  return {};
}

bool Conversation::send_answer(int status, net::Headers headers, std::string_view body, bool keep_alive) {
  keep_alive = keep_alive && body_read_;
  if (!headers.find("Content-Type")) headers.set("Content-Type", "application/json");
  headers.set("Content-Length", std::to_string(body.size()));
  if (!keep_alive) headers.set("Connection", "close");
  std::string text = net::head_of(status, headers);
  text += body;
  const Status sent = client_->write(text, {&service_.stopping, -1}, in(service_.limits.quiet_time));
  if (!sent) return false;
  if (!body_read_) linger();
  return keep_alive;
}

// What the client still sends is read for a moment: a reset would take our answer from it.
void Conversation::linger() {
  client_->end_sending();
  const Time until = Clock::now() + std::chrono::seconds(1);
  std::array<char, kReadBytes> bytes;
  for (int i = 0; i < 256; ++i)
    if (const auto n = client_->read(bytes.data(), bytes.size(), {&service_.stopping, -1}, until); !n || *n == 0)
      return;
}

bool Conversation::refuse(const RequestHead* head, const Error& error, const Route* route) {
  if (error.reason == "gone" || error.reason == "stopping") return false;
  int status = 0;
  const std::string body =
      refusal_body(error, route && route->provider ? route->provider->protocol : std::string_view(), status);
  int64_t unlogged = 0;
  if (link_.admit_log(service_.limits.logged_per_minute, unlogged)) {
    // Only what was judged, never a query or a field: those can hold what nobody should read.
    std::string host = route ? route->shown_host : std::string(), path;
    if (head) {
      Url url;
      const bool whole = head->target.find("://") != std::string::npos;
      const auto parsed = whole ? parse_url(head->target) : Result<Url>(Url{});
      if (whole && parsed) url = *parsed;
      if (!whole && head->target.starts_with('/')) (void)parse_path(head->target, url);
      if (host.empty())
        host = whole && parsed ? url.at.text(url.usual_port())
                               : shown(head->method == "CONNECT" ? head->target : head->host, 100);
      path = shown(route && route->provider ? route->provider_path : url.path);
    }
    service_.add_event(link_, "egress.refused",
                       {{"host", host},
                        {"method", head ? head->method : std::string()},
                        {"path", path},
                        {"reason", std::string(error.reason.empty() ? "not_allowed" : error.reason)}});
    if (unlogged > 0)
      service_.add_event(link_, "note",
                         {{"text", fmt::format("{} more refused requests were not logged one by one", unlogged)}});
  }
  return send_answer(status, {{"X-Should-Retry", "false"}}, body,
                     head && head->keep_alive && error.reason != "bad_request");
}

}  // namespace onsight::agents::broker
