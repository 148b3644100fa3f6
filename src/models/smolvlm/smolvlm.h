// SmolVLM, SmolVLM2 and Idefics3: a SigLIP vision tower, a pixel shuffle with one projection, a Llama decoder.
#pragma once

#include "models/model.h"

namespace onsight::models::smolvlm {

extern const ModelDef kModelDef;

}  // namespace onsight::models::smolvlm
