#include "agents/vault/vault.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace onsight::agents::vault {
namespace {

constexpr std::string_view kMagic = "ONSVAULT";
constexpr uint8_t kVersion = 2, kWithoutHosts = 1;
constexpr size_t kSaltBytes = crypto_pwhash_SALTBYTES, kKeyBytes = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
                 kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
                 kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES, kCheckBytes = 16;
// magic, version, lock, two zeros, passes, KiB, salt, check | nonce, length
constexpr size_t kFixedBytes = 8 + 1 + 1 + 2 + 4 + 4 + kSaltBytes + kCheckBytes;
constexpr size_t kHeaderBytes = kFixedBytes + kNonceBytes + 4;
constexpr size_t kMaxPlain = 1 << 20, kMaxFile = kHeaderBytes + kMaxPlain + kTagBytes;
constexpr size_t kMaxName = 64, kMaxValue = 64 << 10, kMaxEntries = 1000, kMaxHost = 255, kMaxHosts = 32;
constexpr size_t kVersionAt = 8;
constexpr KdfCost kLeastCost = {1, 8}, kMostCost = {8, 1 << 20};

struct VaultHeader {
  Lock lock = Lock::kPassphrase;
  int version = kVersion;
  KdfCost cost;
  std::string_view salt, check, nonce, sealed;
};

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(Secret& secret) { return reinterpret_cast<unsigned char*>(secret.data()); }

void put_number(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

uint32_t number_at(std::string_view text, size_t at, int bytes) {
  uint32_t out = 0;
  for (int i = 0; i < bytes; ++i)
    out |= static_cast<uint32_t>(static_cast<unsigned char>(text[at + static_cast<size_t>(i)])) << (8 * i);
  return out;
}

Result<VaultHeader> parse_header(std::string_view file, std::string_view where) {
  if (!file.starts_with(kMagic.substr(0, std::min(file.size(), kMagic.size()))) || file.empty())
    return bad_input("{}: expected a vault of onsight, found something else", where);
  if (file.size() < kHeaderBytes + kTagBytes)
    return bad_input("{}: it was cut off, expected at least {} bytes, found {}", where, kHeaderBytes + kTagBytes,
                     file.size());
  const auto version = static_cast<uint8_t>(file[kVersionAt]), lock = static_cast<uint8_t>(file[9]);
  if (version != kVersion && version != kWithoutHosts)
    return bad_input("{}: expected a vault of version {}, found version {}", where, kVersion, version);
  VaultHeader out;
  out.version = version;
  out.cost = {number_at(file, 12, 4), number_at(file, 16, 4)};
  const bool costs_fit = out.cost.passes >= kLeastCost.passes && out.cost.passes <= kMostCost.passes &&
                         out.cost.kib >= kLeastCost.kib && out.cost.kib <= kMostCost.kib;
  if ((lock != 1 && lock != 2) || file[10] != 0 || file[11] != 0 || !costs_fit)
    return bad_input("{}: its header is damaged or was altered", where);
  out.lock = static_cast<Lock>(lock);
  out.salt = file.substr(20, kSaltBytes);
  out.check = file.substr(20 + kSaltBytes, kCheckBytes);
  out.nonce = file.substr(kFixedBytes, kNonceBytes);
  const size_t length = number_at(file, kFixedBytes + kNonceBytes, 4);
  out.sealed = file.substr(kHeaderBytes);
  if (length != out.sealed.size())
    return bad_input("{}: it was cut off or altered, expected {} bytes behind its header, found {}", where, length,
                     out.sealed.size());
  return out;
}

// Tells a wrong passphrase from a damaged file. It is as dear to try as the seal itself.
std::string check_of(const Secret& key, std::string_view salt) {
  std::string out(kCheckBytes, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(out.data()), out.size(), bytes_of(salt), salt.size(),
                     bytes_of(key.view()), key.size());
  return out;
}

Result<Secret> key_of_passphrase(const Secret& passphrase, std::string_view salt, const KdfCost& cost) {
  Secret key(kKeyBytes);
  if (key.empty() ||
      crypto_pwhash(bytes_of(key), kKeyBytes, passphrase.view().data(), passphrase.size(), bytes_of(salt), cost.passes,
                    size_t{cost.kib} << 10, crypto_pwhash_ALG_ARGON2ID13) != 0)
    return make_error(ErrorCode::kOutOfMemory,
                      "the vault: expected {} MB of free memory to make a key of the passphrase", cost.kib >> 10);
  return key;
}

Result<Secret> entries_to_plain(const std::vector<Entry>& entries) {
  size_t bytes = 4;
  for (const Entry& entry : entries) {
    bytes += 2 + entry.name.size() + 4 + entry.value.size() + 1;
    for (const std::string& host : entry.hosts) bytes += 1 + host.size();
  }
  if (bytes > kMaxPlain || entries.size() > kMaxEntries)
    return bad_input("the vault is full, expected at most {} keys and {} bytes", kMaxEntries, kMaxPlain);
  Secret plain(bytes);
  if (plain.empty()) return make_error(ErrorCode::kOutOfMemory, "not enough memory for the vault");
  char* to = plain.data();
  const auto put = [&](uint32_t value, int count) {
    for (int i = 0; i < count; ++i) *to++ = static_cast<char>(value >> (8 * i));
  };
  const auto put_text = [&](std::string_view text) {
    std::memcpy(to, text.data(), text.size());
    to += text.size();
  };
  put(static_cast<uint32_t>(entries.size()), 4);
  for (const Entry& entry : entries) {
    put(static_cast<uint32_t>(entry.name.size()), 2);
    put_text(entry.name);
    put(static_cast<uint32_t>(entry.value.size()), 4);
    put_text(entry.value.view());
    put(static_cast<uint32_t>(entry.hosts.size()), 1);
    for (const std::string& host : entry.hosts) {
      put(static_cast<uint32_t>(host.size()), 1);
      put_text(host);
    }
  }
  return plain;
}

Result<std::string> sealed_file(std::string_view header, const Secret& key, const std::vector<Entry>& entries) {
  TRY(const Secret plain, entries_to_plain(entries));
  std::string file(header);
  std::string nonce(kNonceBytes, '\0');
  randombytes_buf(nonce.data(), nonce.size());
  file += nonce;
  put_number(file, static_cast<uint32_t>(plain.size() + kTagBytes), 4);
  std::string sealed(plain.size() + kTagBytes, '\0');
  crypto_aead_xchacha20poly1305_ietf_encrypt(reinterpret_cast<unsigned char*>(sealed.data()), nullptr,
                                             bytes_of(plain.view()), plain.size(), bytes_of(file), file.size(), nullptr,
                                             bytes_of(nonce), bytes_of(key.view()));
  return file + sealed;
}

struct VaultDescriptor {
  int fd = -1;
  VaultDescriptor() = default;
  explicit VaultDescriptor(int value) : fd(value) {}
  VaultDescriptor(const VaultDescriptor&) = delete;
  VaultDescriptor& operator=(const VaultDescriptor&) = delete;
  ~VaultDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Result<std::string> read_vault(const Path& path) {
  const VaultDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0 && errno == ENOENT)
    return bad_input("{}: there are no keys yet, `onsight agents key set NAME` makes the file", path.string());
  struct stat about {};
  if (file.fd < 0 || ::fstat(file.fd, &about) != 0)
    return bad_input("{}: the vault cannot be read ({})", path.string(), std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return bad_input("{}: expected a vault, found no plain file", path.string());
  if (about.st_uid != ::geteuid() || (about.st_mode & 077) != 0)
    return bad_input("{}: expected a vault that this user owns and alone can read (chmod 600)", path.string());
  std::string out(kMaxFile + 1, '\0');
  size_t length = 0;
  while (length < out.size()) {
    const ssize_t n = ::read(file.fd, out.data() + length, out.size() - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bad_input("{}: the vault cannot be read ({})", path.string(), std::strerror(errno));
    if (n == 0) break;
    length += static_cast<size_t>(n);
  }
  if (length > kMaxFile) return bad_input("{}: expected a vault of at most {} bytes", path.string(), kMaxFile);
  out.resize(length);
  return out;
}

Status not_written(const Path& path) {
  return make_error(ErrorCode::kIo, "{}: the vault cannot be written ({})", path.string(), std::strerror(errno));
}

// AtomicFile makes files that others can read; this one is never so, not for a moment.
Status write_vault(const Path& link, std::string_view bytes, bool must_be_new) {
  std::error_code ignored, error;
  const Path path = std::filesystem::is_symlink(link, ignored) ? std::filesystem::canonical(link, error) : link;
  if (error) return make_error(ErrorCode::kIo, "{}: the vault cannot be written ({})", link.string(), error.message());
  Path temporary = path;
  temporary += fmt::format(".tmp-{}-{:08x}", ::getpid(), randombytes_random());
  {
    const VaultDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd < 0) return not_written(path);
    bool good = ::fchmod(file.fd, 0600) == 0;
    while (good && !bytes.empty()) {
      const ssize_t n = ::write(file.fd, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      good = n > 0;
      if (good) bytes.remove_prefix(static_cast<size_t>(n));
    }
    good = good && ::fsync(file.fd) == 0;
    // link() fails where a name is taken; rename() replaces.
    good = good &&
           (must_be_new ? ::link(temporary.c_str(), path.c_str()) : ::rename(temporary.c_str(), path.c_str())) == 0;
    Status failed = good ? Status() : not_written(path);
    if (!good || must_be_new) ::unlink(temporary.c_str());
    if (!good) return failed;
  }
  const VaultDescriptor folder(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd >= 0) ::fsync(folder.fd);
  return {};
}

// Held while a file is read, changed and written, so that of two writers neither loses what the other wrote.
Status lock_vault(const Path& path, VaultDescriptor& lock) {
  Path name = path;
  name += ".lock";
  lock.fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock.fd < 0) return not_written(path);
  while (::flock(lock.fd, LOCK_EX) != 0)
    if (errno != EINTR) return not_written(path);
  return {};
}

Status make_folder(const Path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder.parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return make_error(ErrorCode::kIo, "{}: cannot be made ({})", folder.string(), std::strerror(errno));
  return {};
}

// Of what a keyring holds: the key in hexadecimal.
Result<Secret> key_of_keyring(const Path& path, Keyring& keyring) {
  TRY(std::optional<Secret> text, keyring.find(path.string()));
  if (!text) return bad_input("{}: the keyring has no key of this vault", path.string());
  Secret key(kKeyBytes);
  size_t length = 0;
  if (key.empty() ||
      sodium_hex2bin(bytes_of(key), kKeyBytes, text->view().data(), text->size(), nullptr, &length, nullptr) != 0 ||
      length != kKeyBytes)
    return bad_input("{}: what the keyring holds is no key of a vault", path.string());
  return key;
}

Result<Secret> new_keyring_key(const Path& path, Keyring& keyring) {
  Secret key(kKeyBytes), hex(2 * kKeyBytes + 1);
  if (key.empty() || hex.empty()) return make_error(ErrorCode::kOutOfMemory, "not enough memory for a key");
  randombytes_buf(key.data(), key.size());
  sodium_bin2hex(hex.data(), hex.size(), bytes_of(key), key.size());
  hex.shrink(2 * kKeyBytes);
  TRY_STATUS(keyring.store(path.string(), hex));
  return key;
}

Result<Secret> key_from(Lock lock, const VaultHeader& header, const Path& path, const KeySource& source, bool fresh) {
  if (lock == Lock::kPassphrase) {
    if (!source.passphrase) return bad_input("{}: expected a passphrase", path.string());
    TRY(const Secret passphrase, source.passphrase(fresh));
    if (passphrase.empty()) return bad_input("{}: expected a passphrase, found nothing", path.string());
    return key_of_passphrase(passphrase, header.salt, header.cost);
  }
  std::unique_ptr<Keyring> own;
  Keyring* keyring = source.keyring;
  if (!keyring) {
    TRY(own, open_keyring());
    keyring = own.get();
  }
  return fresh ? new_keyring_key(path, *keyring) : key_of_keyring(path, *keyring);
}

constexpr std::string_view kUsualPort = ":443";

std::string with_port(const std::string& host) {
  const bool has_port = !host.ends_with(']') && host.find(':') != std::string::npos;
  return has_port ? host : host + std::string(kUsualPort);
}

Status check_hosts(const std::vector<std::string>& hosts) {
  if (hosts.size() > kMaxHosts) return bad_input("a key may be bound to at most {} hosts", kMaxHosts);
  for (const std::string& host : hosts) TRY_STATUS(check_key_host(host));
  return {};
}

}  // namespace

Result<Path> default_path() {
  if (const char* folder = std::getenv("XDG_CONFIG_HOME"); folder && *folder == '/')
    return Path(folder) / "onsight/vault";
  if (const char* home = std::getenv("HOME"); home && *home == '/') return Path(home) / ".config/onsight/vault";
  return bad_input("the vault: expected XDG_CONFIG_HOME or HOME to say where it is");
}

Status check_key_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
  // The name is not repeated: who took the two arguments for each other would print a key.
  if (!good) return bad_input("the name of a key: expected letters, digits, '-', '_' and '.', at most {}", kMaxName);
  return {};
}

Status check_key_host(std::string_view host) {
  const size_t colon = host.ends_with(']') ? std::string_view::npos : host.rfind(':');
  const std::string_view name = host.substr(0, colon), port = host.substr(std::min(host.size(), name.size() + 1));
  const bool number = !port.empty() && port.size() <= 5 && port.front() != '0' &&
                      port.find_first_not_of("0123456789") == std::string_view::npos;
  const bool six = name.starts_with('[') && name.ends_with(']') && name.size() > 2 &&
                   name.substr(1, name.size() - 2).find_first_not_of("0123456789abcdef:.") == std::string_view::npos;
  const bool good =
      host.size() <= kMaxHost && !name.empty() && (colon == std::string_view::npos || number) &&
      (six || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string_view::npos);
  if (!good)
    return bad_input("'{}': expected a host in lower case, such as api.example.org or 127.0.0.1:8080",
                     host.substr(0, kMaxHost));
  return {};
}

Result<std::vector<Entry>> parse_entries(std::string_view plain, int version, std::string_view where) {
  const auto damaged = [&] { return bad_input("{}: what it holds is damaged", where); };
  const auto take = [&](size_t bytes) {
    const std::string_view out = plain.substr(0, bytes);
    plain.remove_prefix(bytes);
    return out;
  };
  if (plain.size() < 4) return damaged();
  const size_t count = number_at(take(4), 0, 4);
  if (count > kMaxEntries) return damaged();
  std::vector<Entry> out;
  for (size_t i = 0; i < count; ++i) {
    if (plain.size() < 2) return damaged();
    const size_t name_bytes = number_at(take(2), 0, 2);
    if (plain.size() < name_bytes + 4) return damaged();
    Entry entry;
    entry.name = take(name_bytes);
    const size_t value_bytes = number_at(take(4), 0, 4);
    if (!check_key_name(entry.name) || value_bytes == 0 || value_bytes > kMaxValue || plain.size() < value_bytes)
      return damaged();
    if (!out.empty() && out.back().name >= entry.name) return damaged();
    entry.value = Secret(take(value_bytes));
    if (entry.value.empty()) return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to open it", where);
    if (version != kWithoutHosts) {
      if (plain.empty()) return damaged();
      const size_t hosts = number_at(take(1), 0, 1);
      if (hosts > kMaxHosts) return damaged();
      for (size_t host = 0; host < hosts; ++host) {
        if (plain.empty()) return damaged();
        const size_t host_bytes = number_at(take(1), 0, 1);
        if (plain.size() < host_bytes) return damaged();
        entry.hosts.emplace_back(take(host_bytes));
        if (!check_key_host(entry.hosts.back())) return damaged();
      }
    }
    out.push_back(std::move(entry));
  }
  if (!plain.empty()) return damaged();
  return out;
}

Result<std::vector<Entry>> parse_file(std::string_view bytes, const Secret& key, std::string_view where) {
  TRY(const VaultHeader header, parse_header(bytes, where));
  if (sodium_memcmp(check_of(key, header.salt).data(), header.check.data(), kCheckBytes) != 0) {
    if (header.lock == Lock::kKeyring)
      return bad_input("{}: the keyring's key is not this vault's, or the file was altered", where);
    return bad_input("{}: the passphrase is wrong, or the file was altered", where);
  }
  Secret plain(header.sealed.size() - kTagBytes);
  const bool empty = header.sealed.size() == kTagBytes;
  if (plain.empty() && !empty) return make_error(ErrorCode::kOutOfMemory, "{}: not enough memory to open it", where);
  if (empty || crypto_aead_xchacha20poly1305_ietf_decrypt(bytes_of(plain), nullptr, nullptr, bytes_of(header.sealed),
                                                          header.sealed.size(), bytes_of(bytes), kHeaderBytes,
                                                          bytes_of(header.nonce), bytes_of(key.view())) != 0)
    return bad_input("{}: it is damaged or was altered", where);
  return parse_entries(plain.view(), header.version, where);
}

Result<Vault> Vault::create(const Path& path, Lock lock, const KeySource& source, KdfCost cost) {
  if (!ready()) return make_error(ErrorCode::kIo, "libsodium cannot be used");
  TRY_STATUS(make_folder(path.parent_path()));
  VaultDescriptor held;
  TRY_STATUS(lock_vault(path, held));
  struct stat about {};
  if (::lstat(path.c_str(), &about) == 0) return bad_input("{}: there is a vault already", path.string());
  std::string salt(kSaltBytes, '\0');
  randombytes_buf(salt.data(), salt.size());
  VaultHeader header;
  header.lock = lock;
  header.cost = cost;
  header.salt = salt;
  Vault out;
  out.path_ = path;
  TRY(out.key_, key_from(lock, header, path, source, /*fresh=*/true));
  out.header_ = std::string(kMagic);
  out.header_ += static_cast<char>(kVersion);
  out.header_ += static_cast<char>(lock);
  out.header_.append(2, '\0');
  put_number(out.header_, cost.passes, 4);
  put_number(out.header_, cost.kib, 4);
  out.header_ += salt + check_of(out.key_, salt);
  TRY(const std::string file, sealed_file(out.header_, out.key_, {}));
  TRY_STATUS(write_vault(path, file, /*must_be_new=*/true));
  return out;
}

Result<Vault> Vault::open(const Path& path, const KeySource& source) {
  if (!ready()) return make_error(ErrorCode::kIo, "libsodium cannot be used");
  TRY(const std::string file, read_vault(path));
  TRY(const VaultHeader header, parse_header(file, path.string()));
  Vault out;
  out.path_ = path;
  TRY(out.key_, key_from(header.lock, header, path, source, /*fresh=*/false));
  out.header_ = file.substr(0, kFixedBytes);
  out.header_[kVersionAt] = static_cast<char>(kVersion);  // of what this program writes
  TRY(const std::vector<Entry> entries, parse_file(file, out.key_, path.string()));
  (void)entries;
  return out;
}

Result<std::vector<KeyRow>> Vault::list() const {
  TRY(const std::string file, read_vault(path_));
  TRY(std::vector<Entry> entries, parse_file(file, key_, path_.string()));
  std::vector<KeyRow> out;
  for (Entry& entry : entries) out.push_back({std::move(entry.name), std::move(entry.hosts)});
  return out;
}

Result<Secret> Vault::get(std::string_view name, std::string_view to) const {
  TRY_STATUS(check_key_name(name));
  TRY(const std::string file, read_vault(path_));
  TRY(std::vector<Entry> entries, parse_file(file, key_, path_.string()));
  for (Entry& entry : entries) {
    if (entry.name != name) continue;
    for (const std::string& host : entry.hosts)
      if (with_port(host) == to) return std::move(entry.value);
    const std::string_view shown = to.ends_with(kUsualPort) ? to.substr(0, to.size() - kUsualPort.size()) : to;
    std::string message =
        entry.hosts.empty()
            ? fmt::format(
                  "the key '{}' is bound to no host yet: `onsight agents key bind {}` says where it may be sent", name,
                  name)
            : fmt::format(
                  "the key '{}' is bound to {} and is not sent to {}: `onsight agents key bind {} --host {}` if "
                  "that is meant",
                  name, fmt::join(entry.hosts, ", "), shown, name, shown);
    return tl::unexpected<Error>(Error{ErrorCode::kBadInput, std::move(message), {}, "key_host"});
  }
  return tl::unexpected<Error>(
      Error{ErrorCode::kBadInput,
            fmt::format("{}: there is no key '{}' in it, `onsight agents key set {}` puts one there", path_.string(),
                        name, name),
            {},
            "no_key"});
}

template <class Change>
Status Vault::rewrite(Change&& change) {
  VaultDescriptor held;
  TRY_STATUS(lock_vault(path_, held));
  TRY(const std::string before, read_vault(path_));
  TRY(std::vector<Entry> entries, parse_file(before, key_, path_.string()));
  TRY_STATUS(change(entries));
  TRY(const std::string file, sealed_file(header_, key_, entries));
  return write_vault(path_, file, /*must_be_new=*/false);
}

Status Vault::set(std::string_view name, const Secret& value, const std::vector<std::string>& hosts) {
  TRY_STATUS(check_key_name(name));
  TRY_STATUS(check_hosts(hosts));
  if (value.empty() || value.size() > kMaxValue)
    return bad_input("the key '{}': expected 1 to {} bytes, found {}", name, kMaxValue, value.size());
  for (const char c : value.view())
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return bad_input("the key '{}': expected one line without control characters", name);
  return rewrite([&](std::vector<Entry>& entries) -> Status {
    auto at = std::lower_bound(entries.begin(), entries.end(), name,
                               [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; });
    Secret copy = value.copy();
    if (copy.empty()) return make_error(ErrorCode::kOutOfMemory, "not enough memory for a key");
    if (at == entries.end() || at->name != name) at = entries.insert(at, Entry{std::string(name), Secret()});
    at->value = std::move(copy);
    if (!hosts.empty()) at->hosts = hosts;
    return {};
  });
}

Status Vault::bind(std::string_view name, const std::vector<std::string>& hosts) {
  TRY_STATUS(check_key_name(name));
  TRY_STATUS(check_hosts(hosts));
  return rewrite([&](std::vector<Entry>& entries) -> Status {
    for (Entry& entry : entries) {
      if (entry.name != name) continue;
      entry.hosts = hosts;
      return {};
    }
    return bad_input("{}: there is no key '{}' in it", path_.string(), name);
  });
}

Status Vault::remove(std::string_view name) {
  TRY_STATUS(check_key_name(name));
  return rewrite([&](std::vector<Entry>& entries) -> Status {
    const auto gone =
        std::remove_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.name == name; });
    if (gone == entries.end()) return bad_input("{}: there is no key '{}' in it", path_.string(), name);
    entries.erase(gone, entries.end());
    return {};
  });
}

}  // namespace onsight::agents::vault
