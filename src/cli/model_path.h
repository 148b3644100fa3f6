// Where models are: a folder of the user, or a name that is looked up.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"

namespace onsight::cli {

// What --model names, as hub::find_model() finds it; nothing: the model that comes with onsight.
Result<Path> find_model(const std::optional<std::string>& model);

// The folders in which names are looked up, in this order.
std::vector<Path> model_folders();

}  // namespace onsight::cli
