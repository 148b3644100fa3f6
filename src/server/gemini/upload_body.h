// A file and what is said about it in one body: multipart/related.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace onsight::server::gemini {

struct UploadBody {
  std::string_view metadata;  // JSON
  std::string type;           // of the file, as its part names it; may be empty
  std::string_view bytes;
};

// Two parts, the metadata first; the views are into `body`.
Result<UploadBody> split_upload(std::string_view body, std::string_view content_type);

}  // namespace onsight::server::gemini
