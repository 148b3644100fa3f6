// trace_prompt: one forward pass in which every activation is seen.
#pragma once

#include <string_view>

#include "engine/engine.h"
#include "engine/network.h"

namespace onsight::engine {

// Engine::trace on a network. Not beside anything else that runs on it.
Status trace_prompt(Network& network, const Request& request, std::string_view answer, const TraceSink& sink);

}  // namespace onsight::engine
