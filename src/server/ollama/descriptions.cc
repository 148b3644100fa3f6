// What is asked and answered, for /openapi.json. A field that may be left out may be null; others are ignored.
#include "server/ollama/ollama.h"

namespace onsight::server::ollama {

const std::string_view kChatSchema = R"({
  "type": "object",
  "required": ["model"],
  "properties": {
    "model": {"type": "string"},
    "messages": {"type": "array", "items": {"type": "object", "required": ["role"], "properties": {
      "role": {"enum": ["system", "user", "assistant"]},
      "content": {"type": "string"},
      "images": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}}}},
    "stream": {"type": "boolean", "default": true},
    "format": {"anyOf": [{"const": "json"}, {"type": "object"}]},
    "logprobs": {"type": "boolean"},
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
    "options": {"type": "object", "properties": {
      "temperature": {"type": "number"}, "seed": {"type": "integer"}, "num_predict": {"type": "integer"},
      "top_k": {"type": "integer"}, "top_p": {"type": "number"}, "min_p": {"type": "number"},
      "repeat_penalty": {"type": "number"}, "stop": {"type": "array", "items": {"type": "string"}}}}
  }
})";

const std::string_view kGenerateSchema = R"({
  "type": "object",
  "required": ["model"],
  "properties": {
    "model": {"type": "string"},
    "prompt": {"type": "string"},
    "system": {"type": "string"},
    "images": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
    "stream": {"type": "boolean", "default": true},
    "format": {"anyOf": [{"const": "json"}, {"type": "object"}]},
    "logprobs": {"type": "boolean"},
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
    "options": {"type": "object"}
  }
})";

const std::string_view kShowSchema = R"({
  "type": "object",
  "properties": {"model": {"type": "string"}, "name": {"type": "string"}}
})";

const std::string_view kChatAnswer = R"({
  "type": "object",
  "required": ["model", "created_at", "done", "done_reason"],
  "properties": {
    "model": {"type": "string"},
    "created_at": {"type": "string"},
    "message": {"type": "object", "required": ["role", "content"], "properties": {
      "role": {"const": "assistant"}, "content": {"type": "string"}}},
    "logprobs": {"type": "array"},
    "done": {"const": true},
    "done_reason": {"enum": ["stop", "length", "load"]},
    "total_duration": {"type": "integer"},
    "load_duration": {"type": "integer"},
    "prompt_eval_count": {"type": "integer"},
    "prompt_eval_duration": {"type": "integer"},
    "eval_count": {"type": "integer"},
    "eval_duration": {"type": "integer"}
  }
})";

const std::string_view kGenerateAnswer = R"({
  "type": "object",
  "required": ["model", "created_at", "done", "done_reason"],
  "properties": {
    "model": {"type": "string"},
    "created_at": {"type": "string"},
    "response": {"type": "string"},
    "logprobs": {"type": "array"},
    "done": {"const": true},
    "done_reason": {"enum": ["stop", "length", "load"]},
    "total_duration": {"type": "integer"},
    "load_duration": {"type": "integer"},
    "prompt_eval_count": {"type": "integer"},
    "prompt_eval_duration": {"type": "integer"},
    "eval_count": {"type": "integer"},
    "eval_duration": {"type": "integer"}
  }
})";

const std::string_view kTagsAnswer = R"({
  "type": "object",
  "required": ["models"],
  "properties": {"models": {"type": "array", "items": {"type": "object", "required": ["name", "model"], "properties": {
    "name": {"type": "string"}, "model": {"type": "string"}, "size": {"type": "integer"}, "digest": {"type": "string"},
    "details": {"type": "object"}, "modified_at": {"type": "string"}, "expires_at": {"type": "string"},
    "size_vram": {"type": "integer"}, "context_length": {"type": "integer"}}}}}
})";

const std::string_view kShowAnswer = R"({
  "type": "object",
  "required": ["details", "model_info", "capabilities"],
  "properties": {
    "modelfile": {"type": "string"},
    "parameters": {"type": "string"},
    "template": {"type": "string"},
    "details": {"type": "object"},
    "model_info": {"type": "object"},
    "capabilities": {"type": "array", "items": {"type": "string"}},
    "modified_at": {"type": "string"}
  }
})";

}  // namespace onsight::server::ollama
