#include "server/logprobs.h"

namespace onsight::server {

Json logprob_object(const engine::TokenProbability& token) {
  Json bytes = Json::array();
  for (const char c : token.bytes) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token.bytes}, {"logprob", token.logprob}, {"bytes", bytes}};
}

Json logprob_object(const engine::TokenProbability& token, std::span<const engine::TokenProbability> top) {
  Json out = logprob_object(token);
  out["top_logprobs"] = Json::array();
  for (const engine::TokenProbability& other : top) out["top_logprobs"].push_back(logprob_object(other));
  return out;
}

}  // namespace onsight::server
