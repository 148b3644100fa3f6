// Which requests a role may send: targets brought into one form, and rules that are compared with it. Pure functions;
// what is judged is what is sent, for targets are written anew from their parts.
//
//   TRY(Url url, parse_url("http://Packages.shop.example./a%2Fb?x=1"));  // packages.shop.example, 80, "/a%2Fb"
//   const config::AllowRule* rule = allowed_by(role.allow, "GET", url);
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agents/config/config.h"
#include "base/result.h"

namespace onsight::agents::broker {

struct Authority {
  std::string host;  // in lower case, without a dot at the end; IPv6 without brackets
  int port = 0;
  bool address = false;  // an IPv4 or IPv6 literal
  bool v6 = false;

  std::string text(int usual_port) const;  // as a Host field has it; the usual port is left out
  bool operator==(const Authority& other) const { return host == other.host && port == other.port; }
};

struct Url {
  std::string scheme;  // "http", "https"
  Authority at;
  std::string path;   // decoded, but for slashes: net/target.h; begins with /
  std::string query;  // as it came, without its "?"
  bool has_query = false;

  int usual_port() const { return scheme == "https" ? 443 : 80; }
  std::string target() const;  // path and query, as they are sent
};

// Refused: names with other characters than letters, digits, '-', '_' and '.', so also percent-encoding and what is not
// ASCII; numbers that are no full IPv4 address ("127.1", "0x7f000001", "017700000001"); zones of IPv6; empty labels.
// `usual_port` where it names none; 0: it has to.
Result<Authority> parse_authority(std::string_view text, int usual_port);
// http and https. Refused too: users, fragments, paths that net/target.h refuses.
Result<Url> parse_url(std::string_view text);
// The same of a path with its query.
Status parse_path(std::string_view target, Url& out);

std::string encode_path(std::string_view decoded);
// A value of a query.
std::string encode_query(std::string_view text);

// `*` stands for what has no `stop`, `**` for anything.
bool matches_pattern(std::string_view pattern, std::string_view text, char stop);

// The first rule that lets it pass; null without one. Never of CONNECT, TRACE and TRACK.
const config::AllowRule* allowed_by(const std::vector<config::AllowRule>& rules, std::string_view method,
                                    const Url& url);
// Only rules that say CONNECT.
const config::AllowRule* tunnel_allowed_by(const std::vector<config::AllowRule>& rules, const Authority& to);

// Whether the host is written as an address, or "localhost": only then may it be a private one.
bool names_private_host(std::string_view host);

}  // namespace onsight::agents::broker
