// Page: one file of HTML that is a part of the program. It runs its own scripts, by their hashes, talks to the server
// that sent it, and nothing else.
//
//   static const Page kPage(page_bytes());
//   exchange->respond(kPage.respond(request));
#pragma once

#include <string>
#include <string_view>

#include "net/http.h"

namespace onsight::net {

// What a browser may do for the page.
std::string content_security_policy(std::string_view page);

class Page {
 public:
  explicit Page(std::string_view bytes);                   // which outlive it
  HttpResponse respond(const HttpRequest& request) const;  // 304 if the client has it

 private:
  std::string_view bytes_;
  std::string policy_, tag_;
};

}  // namespace onsight::net
