// Models by their names: a folder or a file of the user, one that is installed, or one that was pulled.
//
//   TRY(Path path, find_model("onsight-nano", model_folders("/usr")));
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace onsight::hub {

// The folders in which names are looked up, in this order: $ONSIGHT_MODELS, under the prefix in which the asking
// program or library lies (empty: it is not known), under the one that the build was configured for, in the source
// tree.
std::vector<Path> model_folders(const Path& prefix);

// `model`: a folder or a .gguf file that exists, two such files with a comma between them, the name of one in
// `folders`, or OWNER/NAME of one that was pulled; nothing: the model that comes with onsight.
Result<Path> find_model(const std::optional<std::string>& model, const std::vector<Path>& folders);

}  // namespace onsight::hub
