// What is asked and answered, for /openapi.json. A field that may be left out may be null.
#include "server/openai/openai.h"

namespace onsight::server::openai {

const std::string_view kChatSchema = R"({
  "type": "object",
  "required": ["model", "messages"],
  "additionalProperties": false,
  "properties": {
    "model": {"type": "string"},
    "messages": {"type": "array", "minItems": 1, "items": {
      "type": "object", "required": ["role"], "additionalProperties": false, "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant"]},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {
          "type": "object", "required": ["type"], "additionalProperties": false, "properties": {
            "type": {"enum": ["text", "image_url", "video_url", "refusal"]},
            "text": {"type": "string"},
            "refusal": {"type": "string"},
            "image_url": {"anyOf": [{"type": "string"}, {
              "type": "object", "required": ["url"], "additionalProperties": false, "properties": {
                "url": {"type": "string"}, "detail": {"enum": ["auto", "low", "high"]}}}]},
            "video_url": {"type": "object", "required": ["url"], "additionalProperties": false, "properties": {
              "url": {"type": "string"}}}}}}]},
        "name": {"type": "string"},
        "refusal": {"type": "string"},
        "annotations": {"type": "array"},
        "parsed": {},
        "tool_calls": {"type": "array", "maxItems": 0},
        "function_call": {"type": "object", "maxProperties": 0},
        "audio": {"type": "object", "maxProperties": 0}}}},
    "mm_processor_kwargs": {"type": "object", "additionalProperties": false, "properties": {
      "fps": {"type": "number", "minimum": 0.001, "maximum": 1000},
      "num_frames": {"type": "integer", "minimum": 1, "maximum": 100000},
      "do_sample_frames": {"type": "boolean"}}},
    "media_io_kwargs": {"type": "object", "properties": {
      "video": {"type": "object", "additionalProperties": false, "properties": {
        "num_frames": {"anyOf": [{"const": -1}, {"type": "integer", "minimum": 1, "maximum": 100000}]},
        "fps": {"anyOf": [{"const": -1}, {"type": "number", "minimum": 0.001, "maximum": 1000}]}}}}},
    "stream": {"type": "boolean"},
    "stream_options": {"type": "object", "additionalProperties": false, "properties": {
      "include_usage": {"type": "boolean"}, "include_obfuscation": {"type": "boolean"}}},
    "stop": {"anyOf": [{"type": "string", "minLength": 1},
                       {"type": "array", "maxItems": 4, "items": {"type": "string", "minLength": 1}}]},
    "seed": {"type": "integer"},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "top_k": {"type": "integer", "minimum": 0, "maximum": 1000000},
    "min_p": {"type": "number", "minimum": 0, "maximum": 1},
    "repetition_penalty": {"type": "number", "minimum": 0.01, "maximum": 10},
    "max_tokens": {"type": "integer", "minimum": 1},
    "max_completion_tokens": {"type": "integer", "minimum": 1},
    "max_tiles": {"type": "integer", "minimum": 1, "maximum": 10000},
    "logprobs": {"type": "boolean"},
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
    "n": {"type": "integer", "minimum": 1, "maximum": 8},
    "modalities": {"const": ["text"]},
    "response_format": {"type": "object", "required": ["type"], "additionalProperties": false, "properties": {
      "type": {"enum": ["text", "json_object", "json_schema"]},
      "json_schema": {"type": "object", "required": ["name", "schema"], "additionalProperties": false, "properties": {
        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}, "schema": {"type": ["object", "boolean"]},
        "strict": {"type": "boolean"}, "description": {"type": "string"}}}}},
    "user": {"type": "string"},
    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
    "store": {"type": "boolean"},
    "service_tier": {"type": "string"},
    "safety_identifier": {"type": "string"},
    "prompt_cache_key": {"type": "string"},
    "prompt_cache_retention": {"type": "string"},
    "parallel_tool_calls": {"type": "boolean"},
    "prediction": {"type": "object"},
    "verbosity": {"type": "string"},
    "reasoning_effort": {"type": "string"},
    "frequency_penalty": {"const": 0},
    "presence_penalty": {"const": 0},
    "logit_bias": {"type": "object", "maxProperties": 0},
    "tools": {"type": "array", "maxItems": 0},
    "tool_choice": {"enum": ["none", "auto"]},
    "functions": {"type": "array", "maxItems": 0},
    "function_call": {"enum": ["none", "auto"]},
    "audio": {"type": "object", "maxProperties": 0},
    "web_search_options": {"type": "object", "maxProperties": 0}
  }
})";

const std::string_view kChatAnswer = R"({
  "type": "object",
  "required": ["id", "object", "created", "model", "choices", "usage"],
  "properties": {
    "id": {"type": "string"},
    "object": {"const": "chat.completion"},
    "created": {"type": "integer"},
    "model": {"type": "string"},
    "system_fingerprint": {"type": "string"},
    "choices": {"type": "array", "items": {
      "type": "object", "required": ["index", "message", "finish_reason"], "properties": {
        "index": {"type": "integer"},
        "message": {"type": "object", "required": ["role", "content"], "properties": {
          "role": {"const": "assistant"}, "content": {"type": "string"}, "refusal": {"type": "string"}}},
        "logprobs": {"type": "object"},
        "finish_reason": {"enum": ["stop", "length"]}}}},
    "usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"], "properties": {
      "prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"},
      "total_tokens": {"type": "integer"},
      "prompt_tokens_details": {"type": "object", "properties": {"cached_tokens": {"type": "integer"}}}}}
  }
})";

const std::string_view kEstimateAnswer = R"({
  "type": "object",
  "required": ["object", "model", "prompt_tokens", "image_tokens", "tiles", "max_tokens", "wait_seconds",
               "first_token_seconds", "token_seconds", "memory_bytes"],
  "properties": {
    "object": {"const": "estimate"},
    "model": {"type": "string"},
    "prompt_tokens": {"type": "integer"},
    "image_tokens": {"type": "integer"},
    "tiles": {"type": "integer"},
    "max_tokens": {"type": "integer"},
    "wait_seconds": {"type": "number"},
    "first_token_seconds": {"type": "number"},
    "token_seconds": {"type": "number"},
    "memory_bytes": {"type": "integer"}
  }
})";

const std::string_view kResponsesSchema = R"({
  "type": "object",
  "required": ["model", "input"],
  "additionalProperties": false,
  "properties": {
    "model": {"type": "string"},
    "input": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {
      "type": "object", "required": ["role", "content"], "additionalProperties": false, "properties": {
        "type": {"const": "message"},
        "role": {"enum": ["system", "developer", "user", "assistant"]},
        "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {
          "type": "object", "required": ["type"], "additionalProperties": false, "properties": {
            "type": {"enum": ["input_text", "input_image", "output_text"]},
            "text": {"type": "string"},
            "image_url": {"type": "string"},
            "detail": {"enum": ["auto", "low", "high"]},
            "file_id": {"type": "null"},
            "annotations": {"type": "array"},
            "logprobs": {"type": "array"},
            "parsed": {}}}}]},
        "id": {"type": "string"},
        "status": {"type": "string"},
        "phase": {"type": "string"}}}}]},
    "instructions": {"type": "string"},
    "stream": {"type": "boolean"},
    "stream_options": {"type": "object", "additionalProperties": false, "properties": {
      "include_obfuscation": {"type": "boolean"}}},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "top_k": {"type": "integer", "minimum": 0, "maximum": 1000000},
    "min_p": {"type": "number", "minimum": 0, "maximum": 1},
    "repetition_penalty": {"type": "number", "minimum": 0.01, "maximum": 10},
    "seed": {"type": "integer"},
    "max_output_tokens": {"type": "integer", "minimum": 1},
    "truncation": {"const": "disabled"},
    "text": {"type": "object", "additionalProperties": false, "properties": {
      "format": {"type": "object", "required": ["type"], "additionalProperties": false, "properties": {
        "type": {"enum": ["text", "json_object", "json_schema"]},
        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}, "schema": {"type": ["object", "boolean"]},
        "strict": {"type": "boolean"}, "description": {"type": "string"}}},
      "verbosity": {"type": "string"}}},
    "reasoning": {"type": "object", "additionalProperties": false, "properties": {
      "effort": {"type": "string"}, "summary": {"type": "string"}, "generate_summary": {"type": "string"}}},
    "user": {"type": "string"},
    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
    "store": {"type": "boolean"},
    "service_tier": {"type": "string"},
    "safety_identifier": {"type": "string"},
    "prompt_cache_key": {"type": "string"},
    "prompt_cache_retention": {"type": "string"},
    "parallel_tool_calls": {"type": "boolean"},
    "max_tool_calls": {"type": "integer"},
    "tools": {"type": "array", "maxItems": 0},
    "tool_choice": {"enum": ["none", "auto"]},
    "previous_response_id": {"type": "null"},
    "conversation": {"type": "null"},
    "background": {"const": false},
    "include": {"type": "array", "maxItems": 0},
    "top_logprobs": {"const": 0},
    "prompt": {"type": "object", "maxProperties": 0}
  }
})";

const std::string_view kResponsesAnswer = R"({
  "type": "object",
  "required": ["id", "object", "created_at", "status", "model", "output", "usage"],
  "properties": {
    "id": {"type": "string"},
    "object": {"const": "response"},
    "created_at": {"type": "integer"},
    "status": {"enum": ["completed", "incomplete"]},
    "background": {"const": false},
    "error": {"type": "null"},
    "incomplete_details": {"type": "object", "properties": {"reason": {"const": "max_output_tokens"}}},
    "instructions": {"type": "string"},
    "max_output_tokens": {"type": "integer"},
    "metadata": {"type": "object"},
    "model": {"type": "string"},
    "output": {"type": "array", "items": {
      "type": "object", "required": ["type", "id", "status", "role", "content"], "properties": {
        "type": {"const": "message"}, "id": {"type": "string"}, "status": {"enum": ["completed", "incomplete"]},
        "role": {"const": "assistant"},
        "content": {"type": "array", "items": {"type": "object", "required": ["type", "text"], "properties": {
          "type": {"const": "output_text"}, "text": {"type": "string"}, "annotations": {"type": "array"},
          "logprobs": {"type": "array"}}}}}}},
    "parallel_tool_calls": {"const": true},
    "previous_response_id": {"type": "null"},
    "reasoning": {"type": "object"},
    "store": {"const": false},
    "temperature": {"type": "number"},
    "text": {"type": "object"},
    "tool_choice": {"const": "auto"},
    "tools": {"type": "array", "maxItems": 0},
    "top_p": {"type": "number"},
    "truncation": {"const": "disabled"},
    "usage": {"type": "object", "required": ["input_tokens", "output_tokens", "total_tokens"], "properties": {
      "input_tokens": {"type": "integer"}, "input_tokens_details": {"type": "object"},
      "output_tokens": {"type": "integer"}, "output_tokens_details": {"type": "object"},
      "total_tokens": {"type": "integer"}}},
    "user": {"type": "null"}
  }
})";

const std::string_view kModelAnswer = R"({
  "type": "object",
  "required": ["id", "object", "created", "owned_by"],
  "properties": {"id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"},
                 "owned_by": {"type": "string"}}
})";

const std::string_view kModelsAnswer = R"({
  "type": "object",
  "required": ["object", "data"],
  "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {
    "type": "object", "required": ["id", "object"], "properties": {
      "id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"},
      "owned_by": {"type": "string"}}}}}
})";

const std::string_view kErrorAnswer = R"({
  "type": "object",
  "required": ["error"],
  "properties": {"error": {"type": "object", "required": ["message", "type"], "properties": {
    "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": "string"},
    "code": {"type": "string"}}}}
})";

}  // namespace onsight::server::openai
