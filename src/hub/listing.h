// Listing: what the hub says of the files of a revision.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onsight::hub {

struct HubFile {
  std::string name;
  int64_t bytes = 0;
  // Names the blob and is its checksum: SHA-256 of large files, of others git's SHA-1.
  std::string sum;
  bool is_sha256() const { return sum.size() == 64; }
};

struct Listing {
  std::string commit;
  std::vector<HubFile> files;
};

// The only folder of a repository that is fetched: chat templates beside the default one, which the hub's own clients
// expect of a model that is here.
inline constexpr std::string_view kTemplateFolder = "additional_chat_templates/";

// The answer to /api/models/OWNER/NAME/revision/REVISION?blobs=true: of its files what a model may need, which are its
// settings, its tokenizer and templates, weights as safetensors, its card and licence. Nothing that could run is among
// them, and what is said of others may be anything. `where` names it in errors.
Result<Listing> read_listing(std::string_view json, std::string_view where);

// Of these the weights whole, or in parts. Refuses a listing without settings or weights.
Result<std::vector<HubFile>> model_files(const Listing& listing, std::string_view where);

}  // namespace onsight::hub
