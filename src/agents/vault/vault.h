// Vault: keys by name in one encrypted file, for this user alone. The key of the file is made of a passphrase
// (Argon2id), or is a random one that the desktop's keyring holds.
//
//   TRY(Vault vault, Vault::open(default_path(), {.passphrase = passphrase_from_user}));
//   TRY_STATUS(vault.set("anthropic", std::move(key)));
//   TRY(Secret key, vault.get("anthropic"));
//
// The file: "ONSVAULT", the format's version, how its key is made, Argon2id's limits, salt, a check of the key, nonce,
// the length of what follows; then all names and values under XChaCha20-Poly1305, which authenticates the lot. No error
// says anything of a value.
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

class Vault {
 public:
  // Refuses where there is a file already.
  static Result<Vault> create(const Path& path, Lock lock, const KeySource& source, KdfCost cost = {});
  // Refuses a file that others can read, that is damaged or was altered, and a passphrase that is not its own.
  static Result<Vault> open(const Path& path, const KeySource& source);

  // Each of these looks at the file anew: another process may have written it. Writers wait for each other.
  Result<std::vector<std::string>> names() const;  // sorted
  Result<Secret> get(std::string_view name) const;
  Status set(std::string_view name, const Secret& value);
  Status remove(std::string_view name);

 private:
  Vault() = default;
  Path path_;
  Secret key_;
  std::string header_;  // of the file, up to the nonce: the same as long as the key is
};

// Of a key: letters, digits, "-", "_" and "."; at most 64.
Status check_key_name(std::string_view name);

// For the fuzzer and the tests: what a file of these bytes holds under that key, as opening it does.
struct Entry {
  std::string name;
  Secret value;
};
Result<std::vector<Entry>> parse_file(std::string_view bytes, const Secret& key, std::string_view where);
// What lies within the encryption: hostile only to who has the key, and read as if it were.
Result<std::vector<Entry>> parse_entries(std::string_view plain, std::string_view where);

}  // namespace onsight::agents::vault
