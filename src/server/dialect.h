// Dialect: an API that clients of the field speak. One folder each; CMake lists the folders in the generated registry.
//
// A folder src/server/NAME with a NAME.h that declares `extern const Dialect kDialect;` in namespace
// onsight::server::NAME is found by itself.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/fetch.h"
#include "net/http.h"
#include "net/router.h"
#include "server/failure.h"
#include "server/service.h"

namespace onsight::server {

// A request on its way through a handler.
struct Call {
  Service& service;
  net::HttpRequest request;
  net::PathNames names;  // of the pattern
  std::shared_ptr<net::Exchange> exchange;
  // Set by a handler that would wait for other hosts: what is left to do, on a thread that may.
  std::function<Outcome(Call& call)> rest = {};
  net::FetchDeadline fetch_deadline = {};  // of the rest
};

// A row of what is served; /openapi.json is made of these, and requests are matched with them.
struct Route {
  std::string_view method, pattern;
  std::string_view summary;
  // Answers through the exchange, at once or later, or returns why not. Runs on a handler's thread.
  Outcome (*handle)(Call& call);
  // For /openapi.json: JSON Schemas; a body's other types; and in JSON the parameters that are not in the path, and the
  // headers of an answer, as OpenAPI has them.
  std::string_view request_schema = {};               // empty: a body is no JSON
  std::string_view other_bodies = {};                 // "multipart/related, */*"
  std::string_view answer_type = "application/json";  // and, of streams, stream_type
  std::string_view answer_schema = {};
  bool answers = false;  // a list of such
  std::string_view stream_type = {};
  std::string_view parameters = {}, answer_headers = {};
  // No key is asked for; but without one no body is read, unless `refuse` has looked at who sends it.
  bool open = false;
  bool refused = false;  // a path of the original that fails with a reason; not in /openapi.json
  // As net::Site::refuse: it must not wait.
  std::optional<net::HttpResponse> (*refuse)(const Service& service, const net::PathNames& names) = nullptr;
};

constexpr Route refused_route(std::string_view method, std::string_view pattern, Outcome (*handle)(Call& call)) {
  return {.method = method, .pattern = pattern, .summary = "Refused", .handle = handle, .refused = true};
}

struct Dialect {
  std::string_view id;                     // as in metrics: "openai"
  std::vector<std::string_view> prefixes;  // of its paths: what fails below has its shape; of several the longest
  std::span<const Route> (*routes)();
  net::HttpResponse (*error)(const Failure& failure);
  std::string_view error_schema = {};
  // Of paths that two APIs have: whether a request is surely one of this, what tells so, in words, and the routes that
  // it then has before all others.
  bool (*claims)(const net::HttpRequest& head) = [](const net::HttpRequest&) { return false; };
  std::string_view claimed_by = {};
  std::span<const Route> (*claimed)() = [] { return std::span<const Route>(); };
  // Of a request without the key of the server; `other`: it has another.
  Failure (*no_key)(bool other) = [](bool) {
    return Failure(401, "the API key: expected the one of this server", "invalid_api_key");
  };
};

std::span<const Dialect* const> dialects();

net::HttpResponse json_response(const Json& json, int status = 200);

}  // namespace onsight::server
