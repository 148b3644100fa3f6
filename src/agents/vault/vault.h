// Vault: keys by name in one encrypted file, for this user alone, each with the hosts that it may be sent to: who names
// a key in a repository's settings does not say where it goes. The key of the file is made of a passphrase (Argon2id),
// or is a random one that the desktop's keyring holds.
//
//   TRY(Vault vault, Vault::open(default_path(), {.passphrase = passphrase_from_user}));
//   TRY_STATUS(vault.set("anthropic", key, {"api.anthropic.com"}));
//   TRY(Secret key, vault.get("anthropic", "api.anthropic.com:443"));
//
// The file: "ONSVAULT", the format's version, how its key is made, Argon2id's limits, salt, a check of the key, nonce,
// the length of what follows; then all names, values and hosts under XChaCha20-Poly1305, which authenticates the lot.
// In files of version 1 keys have no hosts. No error says anything of a value.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/vault/keyring.h"
#include "agents/vault/secret.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::vault {

// $XDG_CONFIG_HOME/onsight/vault, or ~/.config/onsight/vault.
Result<Path> default_path();

// `confirm`: for a new vault, so it is asked twice where a person types it.
using AskPassphrase = std::function<Result<Secret>(bool confirm)>;

// In this order: the file that ONSIGHT_VAULT_PASSPHRASE_FILE names, then the terminal without echo. Never the arguments
// or the value of an environment variable: others of this user see those.
Result<Secret> passphrase_from_user(bool confirm);
// Typed without echo; may be empty.
Result<Secret> secret_from_terminal(std::string_view prompt);
// To the end of it; one line break at the end is left out. `where` is for errors.
Result<Secret> passphrase_from_descriptor(int fd, std::string_view where);

struct KeySource {
  AskPassphrase passphrase = {};
  Keyring* keyring = nullptr;  // none: the desktop's own
};

enum class Lock : uint8_t { kPassphrase = 1, kKeyring = 2 };

// What Argon2id takes to make a key of a passphrase: libsodium's moderate limits, 256 MB and most of a second.
struct KdfCost {
  uint32_t passes = 3, kib = 256 << 10;
};

// What may be told of a key.
struct KeyRow {
  std::string name;
  std::vector<std::string> hosts;  // none: of a file that is older than the binding
};

class Vault {
 public:
  // Refuses where there is a file already.
  static Result<Vault> create(const Path& path, Lock lock, const KeySource& source, KdfCost cost = {});
  // Refuses a file that others can read, that is damaged or was altered, and a passphrase that is not its own.
  static Result<Vault> open(const Path& path, const KeySource& source);

  // Each of these looks at the file anew: another process may have written it. Writers wait for each other.
  Result<std::vector<KeyRow>> list() const;  // sorted
  // For a request to `to`, "host:port". Error::reason: "key_host" of a key that is not bound to it, "no_key" without
  // one.
  Result<Secret> get(std::string_view name, std::string_view to) const;
  // Without hosts those of the key that it takes the place of stay.
  Status set(std::string_view name, const Secret& value, const std::vector<std::string>& hosts);
  // In place of the hosts that it was bound to.
  Status bind(std::string_view name, const std::vector<std::string>& hosts);
  Status remove(std::string_view name);

 private:
  Vault() = default;
  template <class Change>
  Status rewrite(Change&& change);
  Path path_;
  Secret key_;
  std::string header_;  // of the file, up to the nonce: the same as long as the key is
};

// Of a key: letters, digits, "-", "_" and "."; at most 64.
Status check_key_name(std::string_view name);
// As a key is bound to it: "api.example.org", which is port 443 of it, or "127.0.0.1:8080".
Status check_key_host(std::string_view host);

// For the fuzzer and the tests: what a file of these bytes holds under that key, as opening it does.
struct Entry {
  std::string name;
  Secret value;
  std::vector<std::string> hosts = {};
};
Result<std::vector<Entry>> parse_file(std::string_view bytes, const Secret& key, std::string_view where);
// What lies within the encryption: hostile only to who has the key, and read as if it were.
Result<std::vector<Entry>> parse_entries(std::string_view plain, int version, std::string_view where);

}  // namespace onsight::agents::vault
