// The model as mlx-vlm computes it.
#pragma once

#include "models/outline.h"
#include "models/smolvlm/config.h"

namespace onsight::models::smolvlm {

// The folder's config.json with every value written out that mlx-vlm would take another default for; what it does not
// compute is refused.
Result<MlxDescription> describe_for_mlx(const Config& config, const FileSource& files);

}  // namespace onsight::models::smolvlm
