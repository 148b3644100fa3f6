// What proves who somebody is, in requests: where it can stand, and that it is nothing but the agent's placeholder.
//
//   TRY_STATUS(check_credentials(head, url, placeholder));   // Error::reason: "placeholder"
//   net::Headers headers = forwarded_headers(head.headers, /*credentials=*/false);
#pragma once

#include <string>
#include <string_view>

#include "agents/broker/allow_list.h"
#include "agents/broker/head.h"
#include "base/result.h"
#include "net/http.h"

namespace onsight::agents::broker {

bool is_credential(std::string_view header);

// For upstreams: each credential in headers and query is the placeholder, alone or as "Bearer …".
Status check_credentials(const net::Headers& headers, std::string_view query, std::string_view placeholder);

// For other hosts: the placeholder stands nowhere in the head.
Status check_no_placeholder(const RequestHead& head, std::string_view placeholder);

// Without what is only between neighbours, what tells of us, and what makes another request of one
// ("X-HTTP-Method-Override", which is refused elsewhere); `credentials`: those too. Host, the body's length and
// Accept-Encoding are the caller's.
net::Headers forwarded_headers(const net::Headers& headers, bool credentials);
net::Headers returned_headers(const net::Headers& headers, bool cookies);

// A query of known names alone, without credentials, written anew. Error::reason: "not_allowed".
Result<std::string> upstream_query(std::string_view query, std::string_view protocol);

}  // namespace onsight::agents::broker
