// The model's settings as transformers.js reads them.
#pragma once

#include "models/outline.h"
#include "models/smolvlm/config.h"

namespace onsight::models::smolvlm {

// It looks for the picture processor in preprocessor_config.json alone, for the chat template in tokenizer_config.json
// and takes a value that is not there for none.
Result<JsDescription> describe_for_js(const Config& config, const FileSource& files);

}  // namespace onsight::models::smolvlm
