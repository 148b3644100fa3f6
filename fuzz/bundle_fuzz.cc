// The head of a bundle that an agent's container wrote. What is accepted holds names of objects, and nothing else.
#include <cstdlib>
#include <string_view>

#include "agents/workspace/bundle.h"
#include "agents/workspace/paths.h"

namespace {

void expect(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight::agents::workspace;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)dangerous(bytes);
  (void)leads_out(bytes, bytes);
  for (const std::string_view format : {"sha1", "sha256"}) {
    const auto bundle = parse_bundle(bytes, format);
    if (!bundle) {
      expect(!bundle.error().message.empty());
      for (const char c : bundle.error().message) expect(static_cast<unsigned char>(c) >= 0x20);
      continue;
    }
    expect(bundle->pack_begins <= size);
    for (const std::string& commit : bundle->needs) expect(is_object_name(commit, format));
    for (const auto& [name, object] : bundle->refs) expect(!name.empty() && is_object_name(object, format));
    const auto again = parse_bundle(bundle_head(*bundle, format), format);
    expect(again && again->refs == bundle->refs && again->needs == bundle->needs);
  }
  return 0;
}
