// Where models are: a folder of the user, or a name that is looked up.
#pragma once

#include <optional>
#include <string>

#include "base/file.h"

namespace onsight::cli {

// `model`: a folder or a .gguf file that exists, two such files with a comma between them, or the name of one under
// $ONSIGHT_MODELS, beside the installed program, in the install prefix or in the source tree; nothing: the model that
// comes with onsight.
Result<Path> find_model(const std::optional<std::string>& model);

}  // namespace onsight::cli
