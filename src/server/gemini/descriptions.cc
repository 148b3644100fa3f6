// What is asked and answered, for /openapi.json. A field that may be left out may be null. Names may be in snake_case
// and numbers in quotes, which is not said for each.
#include "server/gemini/gemini.h"

namespace onsight::server::gemini {

const std::string_view kGenerateSchema = R"({
  "type": "object",
  "required": ["contents"],
  "properties": {
    "model": {"type": "string"},
    "contents": {"type": "array", "minItems": 1, "items": {
      "type": "object", "required": ["parts"], "properties": {
        "role": {"enum": ["user", "model"]},
        "parts": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {
          "text": {"type": "string"},
          "inlineData": {"type": "object", "required": ["mimeType", "data"], "properties": {
            "mimeType": {"type": "string"}, "data": {"type": "string"}, "displayName": {"type": "string"}}},
          "fileData": {"type": "object", "required": ["fileUri"], "properties": {
            "mimeType": {"type": "string"}, "fileUri": {"type": "string"}, "displayName": {"type": "string"}}},
          "videoMetadata": {"type": "object", "properties": {
            "fps": {"type": "number", "minimum": 0.001, "maximum": 24},
            "startOffset": {"type": "string"}, "endOffset": {"type": "string"}}},
          "thought": {}, "thoughtSignature": {}, "partMetadata": {}}}}}}},
    "systemInstruction": {"type": "object", "properties": {"role": {}, "parts": {"type": "array", "items": {
      "type": "object", "required": ["text"], "properties": {
        "text": {"type": "string"}, "thought": {}, "thoughtSignature": {}, "partMetadata": {}}}}}},
    "generationConfig": {"type": "object", "properties": {
      "temperature": {"type": "number", "minimum": 0, "maximum": 2},
      "topP": {"type": "number", "minimum": 0, "maximum": 1},
      "topK": {"type": "integer", "minimum": 0, "maximum": 1000000},
      "maxOutputTokens": {"type": "integer", "minimum": 1},
      "candidateCount": {"type": "integer", "minimum": 1, "maximum": 8},
      "stopSequences": {"type": "array", "maxItems": 5, "items": {"type": "string", "minLength": 1}},
      "seed": {"type": "integer"},
      "responseMimeType": {"enum": ["text/plain", "application/json", "text/x.enum"]},
      "responseSchema": {"type": "object"},
      "responseJsonSchema": {"type": ["object", "boolean"]},
      "_responseJsonSchema": {"type": ["object", "boolean"]},
      "responseLogprobs": {"type": "boolean"},
      "logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
      "responseModalities": {"type": "array", "items": {"enum": ["TEXT", "Text", "text"]}},
      "mediaResolution": {"enum": ["MEDIA_RESOLUTION_UNSPECIFIED", "MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM",
        "MEDIA_RESOLUTION_HIGH"]},
      "presencePenalty": {"const": 0},
      "frequencyPenalty": {"const": 0},
      "thinkingConfig": {"type": "object", "properties": {
        "thinkingBudget": {"const": 0}, "includeThoughts": {"const": false}}}}},
    "tools": {"type": "array", "maxItems": 0},
    "toolConfig": {"type": "object", "maxProperties": 0},
    "cachedContent": {"const": ""},
    "safetySettings": {},
    "labels": {},
    "store": {},
    "serviceTier": {}
  }
})";

const std::string_view kGenerateAnswer = R"({
  "type": "object",
  "required": ["candidates", "modelVersion", "responseId"],
  "properties": {
    "candidates": {"type": "array", "items": {"type": "object", "required": ["content", "index"], "properties": {
      "content": {"type": "object", "required": ["parts", "role"], "properties": {
        "parts": {"type": "array", "items": {"type": "object", "required": ["text"], "properties": {
          "text": {"type": "string"}}}},
        "role": {"const": "model"}}},
      "index": {"type": "integer"},
      "finishReason": {"enum": ["STOP", "MAX_TOKENS"]},
      "avgLogprobs": {"type": "number"},
      "logprobsResult": {"type": "object"}}}},
    "usageMetadata": {"type": "object", "required": ["promptTokenCount", "totalTokenCount"], "properties": {
      "promptTokenCount": {"type": "integer"}, "candidatesTokenCount": {"type": "integer"},
      "totalTokenCount": {"type": "integer"}, "cachedContentTokenCount": {"type": "integer"}}},
    "modelVersion": {"type": "string"},
    "responseId": {"type": "string"}
  }
})";

const std::string_view kCountSchema = R"({
  "type": "object",
  "properties": {
    "model": {"type": "string"},
    "contents": {"type": "array", "items": {"type": "object"}},
    "generateContentRequest": {"type": "object"}
  }
})";

const std::string_view kCountAnswer = R"({
  "type": "object",
  "required": ["totalTokens", "promptTokensDetails"],
  "properties": {
    "totalTokens": {"type": "integer"},
    "promptTokensDetails": {"type": "array", "items": {
      "type": "object", "required": ["modality", "tokenCount"], "properties": {
        "modality": {"enum": ["TEXT", "IMAGE", "VIDEO"]}, "tokenCount": {"type": "integer"}}}}
  }
})";

const std::string_view kModelAnswer = R"({
  "type": "object",
  "required": ["name", "supportedGenerationMethods"],
  "properties": {
    "name": {"type": "string"},
    "baseModelId": {"type": "string"},
    "version": {"type": "string"},
    "displayName": {"type": "string"},
    "description": {"type": "string"},
    "inputTokenLimit": {"type": "integer"},
    "outputTokenLimit": {"type": "integer"},
    "supportedGenerationMethods": {"type": "array", "items": {"type": "string"}},
    "temperature": {"type": "number"},
    "maxTemperature": {"type": "number"},
    "topP": {"type": "number"},
    "topK": {"type": "integer"}
  }
})";

const std::string_view kModelsAnswer = R"({
  "type": "object",
  "required": ["models"],
  "properties": {
    "models": {"type": "array", "items": {
      "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
    "nextPageToken": {"type": "string"}
  }
})";

const std::string_view kUploadSchema = R"({
  "type": "object",
  "properties": {"file": {"type": "object", "properties": {
    "name": {"type": "string"}, "displayName": {"type": "string"}, "mimeType": {"type": "string"}}}}
})";

const std::string_view kFileAnswer = R"({
  "type": "object",
  "required": ["name", "mimeType", "sizeBytes", "uri", "state"],
  "properties": {
    "name": {"type": "string"},
    "displayName": {"type": "string"},
    "mimeType": {"type": "string"},
    "sizeBytes": {"type": "string"},
    "createTime": {"type": "string"},
    "updateTime": {"type": "string"},
    "expirationTime": {"type": "string"},
    "sha256Hash": {"type": "string"},
    "uri": {"type": "string"},
    "state": {"const": "ACTIVE"},
    "source": {"const": "UPLOADED"}
  }
})";

const std::string_view kFilesAnswer = R"({
  "type": "object",
  "properties": {
    "files": {"type": "array", "items": {
      "type": "object", "required": ["name", "uri"], "properties": {
        "name": {"type": "string"}, "uri": {"type": "string"}}}},
    "nextPageToken": {"type": "string"}
  }
})";

// Empty until the file is whole.
const std::string_view kUploadAnswer = R"({
  "type": "object",
  "properties": {"file": {"type": "object", "required": ["name", "uri"], "properties": {
    "name": {"type": "string"}, "uri": {"type": "string"}}}}
})";

const std::string_view kErrorAnswer = R"({
  "type": "object",
  "required": ["error"],
  "properties": {"error": {"type": "object", "required": ["code", "message", "status"], "properties": {
    "code": {"type": "integer"}, "message": {"type": "string"}, "status": {"type": "string"}}}}
})";

const std::string_view kStreamParameters = R"([
  {"name": "alt", "in": "query", "schema": {"enum": ["json", "sse"]}}
])";

const std::string_view kListParameters = R"([
  {"name": "pageSize", "in": "query", "schema": {"type": "integer", "minimum": 0}},
  {"name": "pageToken", "in": "query", "schema": {"type": "string"}}
])";

const std::string_view kStartParameters = R"([
  {"name": "X-Goog-Upload-Protocol", "in": "header", "schema": {"enum": ["resumable", "multipart", "raw"]}},
  {"name": "X-Goog-Upload-Command", "in": "header", "schema": {"const": "start"}},
  {"name": "X-Goog-Upload-Header-Content-Length", "in": "header", "schema": {"type": "integer", "minimum": 0}},
  {"name": "X-Goog-Upload-Header-Content-Type", "in": "header", "schema": {"type": "string"}},
  {"name": "uploadType", "in": "query", "schema": {"const": "multipart"}}
])";

const std::string_view kGoOnParameters = R"([
  {"name": "X-Goog-Upload-Command", "in": "header", "required": true,
   "schema": {"enum": ["upload", "upload, finalize", "finalize", "query", "cancel"]}},
  {"name": "X-Goog-Upload-Offset", "in": "header", "schema": {"type": "integer", "minimum": 0}}
])";

const std::string_view kUploadHeaders = R"({
  "X-Goog-Upload-Status": {"schema": {"enum": ["active", "final", "cancelled"]}},
  "X-Goog-Upload-URL": {"schema": {"type": "string"}},
  "X-Goog-Upload-Control-URL": {"schema": {"type": "string"}},
  "X-Goog-Upload-Chunk-Granularity": {"schema": {"type": "integer"}},
  "X-Goog-Upload-Size-Received": {"schema": {"type": "integer"}}
})";

}  // namespace onsight::server::gemini
