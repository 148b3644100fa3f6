// config.json for readers with other defaults than transformers.
#pragma once

#include "models/smolvlm/config.h"

namespace onsight::models::smolvlm {

// The folder's, with every value written out that decides what the model computes.
Result<Json> full_config(const Config& config, const FileSource& files);

}  // namespace onsight::models::smolvlm
