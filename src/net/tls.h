// Tls: the certificate of a server, and the key that fits it.
//
//   TRY(options.tls, Tls::load("fullchain.pem", "privkey.pem"));
#pragma once

#include <memory>

#include "base/file.h"
#include "base/result.h"

namespace onsight::net {

class Tls {
 public:
  // Both PEM: the server's certificate with those that lead from it to one that clients know, and its private key,
  // without a passphrase.
  static Result<std::shared_ptr<const Tls>> load(const Path& certificate, const Path& key);
  virtual ~Tls() = default;
};

}  // namespace onsight::net
