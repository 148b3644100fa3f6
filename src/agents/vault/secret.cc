#include "agents/vault/secret.h"

#include <sodium.h>

#include <cstring>

namespace onsight::agents::vault {

bool ready() {
  static const bool kReady = sodium_init() >= 0;
  return kReady;
}

Secret::Secret(size_t bytes) {
  if (bytes == 0 || !ready()) return;
  data_ = static_cast<char*>(sodium_malloc(bytes));
  if (!data_) return;
  size_ = bytes;
  std::memset(data_, 0, bytes);
}

Secret::Secret(std::string_view bytes) : Secret(bytes.size()) {
  if (size_ > 0) std::memcpy(data_, bytes.data(), size_);
}

Secret::~Secret() {
  if (data_) sodium_free(data_);  // wipes it
}

void Secret::shrink(size_t bytes) {
  if (bytes >= size_) return;
  sodium_memzero(data_ + bytes, size_ - bytes);
  size_ = bytes;
}

bool Secret::equals(std::string_view other) const {
  return other.size() == size_ && (size_ == 0 || sodium_memcmp(data_, other.data(), size_) == 0);
}

void wipe(std::string& text) {
  if (!text.empty()) sodium_memzero(text.data(), text.size());
  text.clear();
}

}  // namespace onsight::agents::vault
