// Which GGUF files a path means.
#pragma once

#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace onsight::models {

// The text model's file, then its projector's; nothing if `path` does not mean GGUF files. `path` is the text model's
// file, a folder without config.json that holds one, or both files with a comma between them. A projector that is not
// named is the file beside the text model with "mmproj" in its name; of several, that with the text model's name in it.
Result<std::vector<Path>> find_gguf_files(const Path& path);

// The text model's file alone; an empty path if there is none.
Result<Path> find_gguf_text(const Path& path);

}  // namespace onsight::models
