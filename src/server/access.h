// Who may ask: keys, the names of this machine, and pages of other sites.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/sha256.h"
#include "net/http.h"

namespace onsight::server {

// Of a server with a key. Compares in a time that says nothing of how much of a key was right.
class ApiKey {
 public:
  explicit ApiKey(std::string_view key) : wanted_(sha256(key)) {}
  // In `Authorization: Bearer`, x-api-key, x-goog-api-key or ?key=.
  bool opens(const net::HttpRequest& request) const;

 private:
  bool equals(std::string_view key) const;
  Digest wanted_;
};

// Whether a request has any key.
bool has_key(const net::HttpRequest& request);

// Whether a Host field names this machine, as it does unless another site's name was made to lead here: a loopback
// address, "localhost", or `host`, with or without a port.
bool names_this_machine(std::string_view field, std::string_view host);

// Whether a page of `origin` is one of this server, which `host` names.
bool same_origin(std::string_view origin, std::string_view host);

bool is_loopback(std::string_view address);

}  // namespace onsight::server
