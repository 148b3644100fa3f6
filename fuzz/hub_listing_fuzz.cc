// What a hub says of the files of a model.
#include "hub/listing.h"

using namespace onsight::hub;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto listing = read_listing({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!listing) return 0;
  const auto files = model_files(*listing, "fuzz");
  if (!files) return 0;
  if ((*files)[0].name != "config.json") __builtin_trap();
  for (const HubFile& file : *files) {
    std::string_view name = file.name;
    if (name.starts_with(kTemplateFolder)) name.remove_prefix(kTemplateFolder.size());
    if (name.empty() || name.front() == '.' || name.find('/') != std::string_view::npos) __builtin_trap();
    if (file.sum.find('/') != std::string::npos || file.bytes < 0) __builtin_trap();
  }
  return 0;
}
