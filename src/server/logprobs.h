// A token and its probability in the JSON that OpenAI's API and Ollama's have in common.
#pragma once

#include <span>

#include "engine/engine.h"
#include "server/fields.h"

namespace onsight::server {

// {"token": " cat", "logprob": -0.1, "bytes": [32, 99, 97, 116]}; and "top_logprobs", a list of such.
Json logprob_object(const engine::TokenProbability& token);
Json logprob_object(const engine::TokenProbability& token, std::span<const engine::TokenProbability> top);

}  // namespace onsight::server
