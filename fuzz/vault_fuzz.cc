// The file of a vault, as it is and under a good seal: what was written into it is read, and nothing else.
#include <cstdlib>
#include <string_view>

#include "agents/vault/vault.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight::agents::vault;
  static const Secret kKey(std::string_view("0123456789abcdef0123456789abcdef"));
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // A file that nobody sealed never opens.
  if (parse_file(bytes, kKey, "fuzz")) std::abort();
  for (const int version : {1, 2}) {
    const auto entries = parse_entries(bytes, version, "fuzz");
    if (!entries) continue;
    size_t held = 4;
    for (const Entry& entry : *entries) {
      if (!check_key_name(entry.name) || entry.value.empty()) std::abort();
      held += 6 + entry.name.size() + entry.value.size() + (version == 1 ? 0 : 1);
      for (const std::string& host : entry.hosts) {
        if (version == 1 || !check_key_host(host)) std::abort();
        held += 1 + host.size();
      }
    }
    if (held != size) std::abort();
  }
  return 0;
}
