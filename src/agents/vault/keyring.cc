#include "agents/vault/keyring.h"

#include <dlfcn.h>

#include <cstring>

namespace onsight::agents::vault {
namespace {

// As libsecret's ABI has them (secret-schema.h); nothing of it is included, so that it need not be installed.
struct SecretAttribute {
  const char* name;
  int type;  // 0: a string
};
struct SecretSchema {
  const char* name;
  int flags;
  SecretAttribute attributes[32];
  int reserved;
  void* reserved_pointers[7];
};
struct GlibError {
  uint32_t domain;
  int code;
  char* message;
};

const SecretSchema kVaultSchema = {"onsight.vault", 0, {{"path", 0}, {nullptr, 0}}, 0, {}};

using StoreCall = int (*)(const SecretSchema*, const char* collection, const char* label, const char* password,
                          void* cancellable, GlibError**, ...);
using LookupCall = char* (*)(const SecretSchema*, void* cancellable, GlibError**, ...);
using FreeCall = void (*)(char*);
using FreeErrorCall = void (*)(GlibError*);

class LibsecretKeyring : public Keyring {
 public:
  Status open(const char* library) {
    handle_ = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle_)
      return bad_input("the keyring cannot be used, expected the library {} (package libsecret-1-0)", library);
    store_ = find_call<StoreCall>("secret_password_store_sync");
    lookup_ = find_call<LookupCall>("secret_password_lookup_sync");
    free_ = find_call<FreeCall>("secret_password_free");
    free_error_ = find_call<FreeErrorCall>("g_error_free");  // of GLib, which it brings
    if (!store_ || !lookup_ || !free_ || !free_error_)
      return bad_input("the keyring cannot be used, the library {} lacks a function", library);
    return {};
  }

  Status store(const std::string& vault, const Secret& text) override {
    Secret ended(text.size() + 1);
    if (ended.empty()) return make_error(ErrorCode::kOutOfMemory, "not enough memory for a key");
    std::memcpy(ended.data(), text.view().data(), text.size());
    GlibError* error = nullptr;
    const int done = store_(&kVaultSchema, "default", "onsight: the key of the vault", ended.data(), nullptr, &error,
                            "path", vault.c_str(), nullptr);
    if (!done || error) return failed("store", error);
    return {};
  }

  Result<std::optional<Secret>> find(const std::string& vault) override {
    GlibError* error = nullptr;
    char* const found = lookup_(&kVaultSchema, nullptr, &error, "path", vault.c_str(), nullptr);
    if (error) return failed("read", error);
    if (!found) return std::optional<Secret>();
    Secret out{std::string_view(found)};
    free_(found);  // wipes it
    return std::optional<Secret>(std::move(out));
  }

 private:
  template <class Call>
  Call find_call(const char* name) {
    return reinterpret_cast<Call>(::dlsym(handle_, name));
  }

  tl::unexpected<Error> failed(std::string_view what, GlibError* error) {
    auto out = make_error(ErrorCode::kIo, "the keyring cannot {} the vault's key ({})", what,
                          error && error->message ? error->message : "it did not say why");
    if (error) free_error_(error);
    return out;
  }

  void* handle_ = nullptr;  // stays open: GLib does not bear being unloaded
  StoreCall store_ = nullptr;
  LookupCall lookup_ = nullptr;
  FreeCall free_ = nullptr;
  FreeErrorCall free_error_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Keyring>> open_keyring(const char* library) {
  auto keyring = std::make_unique<LibsecretKeyring>();
  TRY_STATUS(keyring->open(library));
  return std::unique_ptr<Keyring>(std::move(keyring));
}

}  // namespace onsight::agents::vault
