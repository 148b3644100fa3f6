// The whole of what is served: the dialects' routes and the server's own, and what holds for all of them.
//
//   TRY(std::unique_ptr<net::Server> server, net::Server::listen(options, make_site(service, access)));
#pragma once

#include <string>
#include <vector>

#include "net/server.h"
#include "server/dialect.h"

namespace onsight::server {

struct AccessOptions {
  std::string api_key;               // empty: none is asked for
  std::string host = "127.0.0.1";    // that the server is bound to; a loopback address is asked for by its names only
  std::vector<std::string> origins;  // whose pages may use the server; "*": all
};

// `service` outlives it.
net::Site make_site(Service& service, const AccessOptions& access);

// A row of the table that requests are matched with.
struct Place {
  const Dialect* dialect;
  const Route* route;
  bool claimed;  // Dialect::claimed
};
std::vector<Place> all_places();

// Prometheus' text, and the description of what `places` serve.
std::string metrics_text(Service& service);
Json openapi_of(std::span<const Place> places, const std::string& version);

// The routes of no dialect: "/", "/health", "/metrics", "/openapi.json".
extern const Dialect kOwnRoutes;
std::vector<const Dialect*> all_dialects();

}  // namespace onsight::server
