// Secret: bytes that lie in locked memory between guard pages, never in a core file, and are wiped when they go. It has
// no operator<< and no formatter: it cannot get into a message by mistake.
//
//   TRY(Secret key, vault.get("anthropic"));
//   use(key.view());
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace onsight::agents::vault {

class Secret {
 public:
  Secret() = default;
  explicit Secret(size_t bytes);            // zeros; empty() where there is no memory
  explicit Secret(std::string_view bytes);  // a copy: the caller wipes its own
  Secret(Secret&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Secret& operator=(Secret&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Secret();

  Secret copy() const { return Secret(view()); }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  char* data() { return data_; }
  std::string_view view() const { return {data_, size_}; }
  void shrink(size_t bytes);                  // keeps the first; wipes the others
  bool equals(std::string_view other) const;  // in a time that tells nothing of where they differ

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Overwrites all that a string holds, and empties it.
void wipe(std::string& text);

// libsodium is ready; false where it cannot be.
bool ready();

}  // namespace onsight::agents::vault
