// fetch: a file from one of the hosts that the operator has named, and from no other place.
//
//   const FetchDeadline deadline = {.until = std::chrono::steady_clock::now() + policy.time};
//   TRY(std::string bytes, fetch("https://example.org/cat.jpg", policy, "image_url", deadline));
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace onsight::net {

struct FetchPolicy {
  // "example.org", "*.example.org" (what is below it), "example.org:8443"; without a port: 80 and 443. Empty: nothing
  // is fetched.
  std::vector<std::string> hosts = {};
  int64_t max_bytes = 20 << 20;            // of a file
  std::chrono::milliseconds time{10'000};  // for all that one request names
  // The address that is connected to must be one of the public internet, whatever names it. Off in tests.
  bool public_only = true;
};

// When what one request names must be here.
struct FetchDeadline {
  std::chrono::steady_clock::time_point until = {};
  std::shared_ptr<const std::atomic<bool>> cancelled = nullptr;  // nobody waits for it any more
};

bool is_web_url(std::string_view url);  // http: or https:

// Follows a redirect to a host that is allowed too. `where` is the place in the request, for errors.
Result<std::string> fetch(const std::string& url, const FetchPolicy& policy, std::string_view where,
                          const FetchDeadline& deadline);

// Prepares libcurl, once.
Status ready_to_fetch();

// Not of this machine, its networks, or any that has a special purpose.
bool is_public(const sockaddr& address);

bool allows_host(const FetchPolicy& policy, std::string_view host, int port);

}  // namespace onsight::net
