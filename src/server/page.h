// The web page, which is a part of the program.
#pragma once

#include <string>
#include <string_view>

#include "net/http.h"

namespace onsight::server {

std::string_view page_bytes();

// What a browser may do for the page: run its own scripts, by their hashes, and talk to this server alone.
std::string content_security_policy(std::string_view page);

// 304 if the client has it.
net::HttpResponse page_response(const net::HttpRequest& request);

}  // namespace onsight::server
