// Keyring: where a desktop keeps passwords, unlocked by logging in. Its library (libsecret) is opened when it is first
// wanted, and none is linked.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agents/vault/secret.h"
#include "base/result.h"

namespace onsight::agents::vault {

class Keyring {
 public:
  virtual ~Keyring() = default;
  // Text without null characters, under the vault's path.
  virtual Status store(const std::string& vault, const Secret& text) = 0;
  virtual Result<std::optional<Secret>> find(const std::string& vault) = 0;
};

// Of this desktop; an error, one sentence, where there is none.
Result<std::unique_ptr<Keyring>> open_keyring(const char* library = "libsecret-1.so.0");

}  // namespace onsight::agents::vault
