// Gate: who may use the page. A token opens it, which only who started the server knows; and it answers to names of
// this machine alone and to its own pages alone, whatever else a browser on this machine has open.
//
//   Gate gate(random_token(), 8123);
//   if (auto refusal = gate.refuse(head)) return *refusal;
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/sha256.h"
#include "net/http.h"

namespace onsight::agents::page {

std::string random_token();  // 256 bits, as hexadecimal digits

class Gate {
 public:
  Gate(std::string token, uint16_t port) : token_(std::move(token)), wanted_(sha256(token_)), port_(port) {}

  const std::string& token() const { return token_; }
  std::string url() const;  // with the token
  std::optional<net::HttpResponse> refuse(const net::HttpRequest& head) const;
  // Whether the page was asked for by url(): the answer to it sets cookie(), by which the page's own requests come in.
  // (An answer that led to another address would not do: where a file or a page of another site leads here, browsers
  // send no strict cookie along.)
  bool is_login(const net::HttpRequest& head) const;
  std::string cookie() const;

 private:
  bool is_own_host(std::string_view host) const;
  bool is_token(std::string_view text) const;
  std::string cookie_name() const;

  const std::string token_;
  const Digest wanted_;
  const uint16_t port_;
};

}  // namespace onsight::agents::page
