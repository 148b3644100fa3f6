// What is served beside the dialects: the page, and what watches the server.
#include <algorithm>

#include "net/page.h"
#include "server/page.h"
#include "server/site.h"

namespace onsight::server {
namespace {

Outcome page(Call& call) {
  static const net::Page kPage(page_bytes());
  call.exchange->respond(kPage.respond(call.request));
  return {};
}

Outcome health(Call& call) {
  const engine::Activity activity = call.service.activity();
  call.exchange->respond(json_response(
      {{"status", "ok"}, {"model", call.service.name()}, {"active", activity.active}, {"queued", activity.queued}}));
  return {};
}

Outcome metrics(Call& call) {
  call.exchange->respond(
      {200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}}, metrics_text(call.service)});
  return {};
}

Outcome openapi(Call& call) {
  call.exchange->respond(json_response(openapi_of(all_places(), call.service.options().version)));
  return {};
}

constexpr std::string_view kHealthAnswer = R"({
  "type": "object",
  "required": ["status", "model", "active", "queued"],
  "properties": {"status": {"const": "ok"}, "model": {"type": "string"}, "active": {"type": "integer"},
                 "queued": {"type": "integer"}}
})";

constexpr std::string_view kErrorAnswer = R"({
  "type": "object",
  "required": ["error"],
  "properties": {"error": {"type": "object", "required": ["message", "code"], "properties": {
    "message": {"type": "string"}, "code": {"type": "integer"}}}}
})";

constexpr Route kRoutes[] = {
    {.method = "GET",
     .pattern = "/",
     .summary = "The web page",
     .handle = page,
     .answer_type = "text/html",
     .open = true},
    {.method = "GET",
     .pattern = "/health",
     .summary = "Whether the server is there",
     .handle = health,
     .answer_schema = kHealthAnswer,
     .open = true},
    {.method = "GET",
     .pattern = "/metrics",
     .summary = "Counters in Prometheus' text format",
     .handle = metrics,
     .answer_type = "text/plain"},
    {.method = "GET",
     .pattern = "/openapi.json",
     .summary = "This description",
     .handle = openapi,
     .answer_schema = R"({"type": "object", "required": ["openapi", "info", "paths"]})"},
};

net::HttpResponse error(const Failure& failure) {
  return json_response({{"error", {{"message", failure.message}, {"code", failure.status}}}}, failure.status);
}

// As OpenAPI has it, which knows no "{+model}".
std::string path_of(std::string_view pattern) {
  std::string path(pattern);
  std::erase(path, '+');
  return path;
}

// {model} and the like.
Json parameters_of(const std::string& pattern) {
  Json out = Json::array();
  for (size_t at = pattern.find('{'); at != std::string_view::npos; at = pattern.find('{', at + 1)) {
    const std::string name = pattern.substr(at + 1, pattern.find('}', at) - at - 1);
    out.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return out;
}

void allow_null(Json& schema);

void allow_null_in(Json& schema, std::string_view key) {
  if (schema.contains(key))
    for (Json& inner : schema[std::string(key)]) allow_null(inner);
}

// A schema that takes null too.
Json or_null(Json schema) {
  if (schema.empty() || schema == Json{{"type", "null"}}) return schema;
  if (schema.contains("type")) {
    Json& type = schema["type"];
    if (type.is_string()) type = Json::array({type});
    type.push_back("null");
    return schema;
  }
  if (schema.contains("anyOf")) {
    schema["anyOf"].push_back({{"type", "null"}});
    return schema;
  }
  return {{"anyOf", Json::array({std::move(schema), {{"type", "null"}}})}};
}

// What may be left out may be null.
void allow_null(Json& schema) {
  if (!schema.is_object()) return;
  allow_null_in(schema, "anyOf");
  if (schema.contains("items")) allow_null(schema["items"]);
  if (!schema.contains("properties")) return;
  const Json required = schema.value("required", Json::array());
  for (auto& [name, property] : schema["properties"].items()) {
    allow_null(property);
    if (std::find(required.begin(), required.end(), name) == required.end()) property = or_null(std::move(property));
  }
}

Json schema_of(std::string_view text) {
  Json schema = Json::parse(text, nullptr, false);
  allow_null(schema);
  return schema;
}

Json body_of(const Route& route) {
  Json content = Json::object();
  if (!route.request_schema.empty()) content["application/json"] = {{"schema", schema_of(route.request_schema)}};
  for (std::string_view rest = route.other_bodies; !rest.empty();) {
    const size_t comma = rest.find(", ");
    content[std::string(rest.substr(0, comma))] = Json::object();
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 2);
  }
  return content;
}

Json answer_of(const Route& route) {
  Json answer = Json::object();
  if (!route.answer_schema.empty()) {
    Json schema = schema_of(route.answer_schema);
    if (route.answers) schema = {{"type", "array"}, {"items", std::move(schema)}};
    answer["schema"] = std::move(schema);
  }
  Json content = {{std::string(route.answer_type), std::move(answer)}};
  if (!route.stream_type.empty()) content[std::string(route.stream_type)] = Json::object();
  return content;
}

Json operation_of(const Place& place) {
  const Route& route = *place.route;
  const Json failed = {{"description", "An error, in the shape of this API"},
                       {"content", {{"application/json", {{"schema", schema_of(place.dialect->error_schema)}}}}}};
  Json operation = {{"summary", route.summary}, {"tags", Json::array({place.dialect->id})}};
  Json parameters = parameters_of(path_of(route.pattern));
  if (!route.parameters.empty())
    for (Json& parameter : Json::parse(route.parameters, nullptr, false)) parameters.push_back(std::move(parameter));
  if (!parameters.empty()) operation["parameters"] = std::move(parameters);
  // Of an upload it may be empty.
  if (Json body = body_of(route); !body.empty())
    operation["requestBody"] = {{"required", route.other_bodies.empty()}, {"content", std::move(body)}};
  Json answer = {{"description", "The answer"}, {"content", answer_of(route)}};
  if (!route.answer_headers.empty()) answer["headers"] = Json::parse(route.answer_headers, nullptr, false);
  operation["responses"] = {{"200", std::move(answer)}, {"4XX", failed}, {"5XX", failed}};
  if (route.open) operation["security"] = Json::array();
  return operation;
}

// What a path is for some beside what it is for others: answers and errors of either, and parameters of both.
void add_claimed(Json& operation, const Place& place) {
  const Json other = operation_of(place);
  operation["tags"].push_back(place.dialect->id);
  for (const auto& [status, answer] : other["responses"].items()) {
    Json& schema = operation["responses"][status]["content"]["application/json"]["schema"];
    schema = {{"anyOf", Json::array({schema, answer["content"]["application/json"]["schema"]})}};
  }
  for (const Json& parameter : other.value("parameters", Json::array()))
    if (Json& all = operation["parameters"]; std::find(all.begin(), all.end(), parameter) == all.end())
      all.push_back(parameter);
}

}  // namespace

const Dialect kOwnRoutes{.id = "server",
                         .prefixes = {"/"},
                         .routes = [] { return std::span<const Route>(kRoutes); },
                         .error = error,
                         .error_schema = kErrorAnswer};

net::HttpResponse json_response(const Json& json, int status) {
  return {status, {{"Content-Type", "application/json"}}, to_text(json)};
}

std::string metrics_text(Service& service) {
  const engine::Activity now = service.activity();
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  std::string out = service.metrics().requests_text();
  out += metric_text("onsight_requests_active", "gauge", "Requests whose answers are being written.", now.active);
  out += metric_text("onsight_requests_queued", "gauge", "Requests that wait.", now.queued);
  out += metric_text("onsight_wait_seconds", "gauge", "Predicted wait of a request that comes now.", now.wait_ms / 1e3);
  out += metric_text("onsight_requests_total", "counter", "Requests that the model took in.", number(now.requests));
  out += metric_text("onsight_requests_refused_total", "counter", "Requests for which there was no room.",
                     number(now.refused));
  out += metric_text("onsight_requests_cancelled_total", "counter", "Requests that ended before their answers did.",
                     number(now.cancelled));
  out += metric_text("onsight_prompt_tokens_total", "counter", "Tokens of prompts.", number(now.prompt_tokens));
  out += metric_text("onsight_reused_tokens_total", "counter", "Of these, tokens whose state was there already.",
                     number(now.reused_tokens));
  out += metric_text("onsight_completion_tokens_total", "counter", "Tokens of answers.", number(now.completion_tokens));
  out += metric_text("onsight_tiles_total", "counter", "Tiles of pictures that were read.", number(now.tiles));
  const PictureCache::Counts pictures = service.pictures();
  out +=
      metric_text("onsight_pictures_decoded_total", "counter", "Pictures that were decoded.", number(pictures.decoded));
  out += metric_text("onsight_pictures_reused_total", "counter", "Pictures that had been decoded already.",
                     number(pictures.reused));
  out += metric_text("onsight_pictures_bytes", "gauge", "Decoded pictures that are kept.", number(pictures.bytes));
  out += metric_text("onsight_memory_bytes", "gauge", "Keys, values and features in memory.", number(now.memory_bytes));
  out += metric_text("onsight_memory_limit_bytes", "gauge", "The most that they may take.",
                     number(now.memory_limit_bytes));
  out += metric_text("onsight_process_peak_memory_bytes", "gauge", "The most memory that the process has held.",
                     number(engine::peak_memory_bytes()));
  out +=
      service.metrics().first_token.text("onsight_first_token_seconds", "From a request to the first of its answer.");
  out += service.metrics().token_gap.text("onsight_token_gap_seconds", "Between a piece of an answer and the next.");
  return out;
}

Json openapi_of(std::span<const Place> places, const std::string& version) {
  Json paths = Json::object();
  // What a path is for all who ask, and behind it what it is for some.
  for (const bool claimed : {false, true})
    for (const Place& place : places) {
      if (place.route->refused || place.claimed != claimed) continue;
      Json& operation = paths[path_of(place.route->pattern)][lower(place.route->method)];
      if (operation.is_null())
        operation = operation_of(place);
      else
        add_claimed(operation, place);
      if (claimed)
        operation["description"] =
            fmt::format("As {}'s API has it where a request has {}", place.dialect->id, place.dialect->claimed_by);
    }
  return {{"openapi", "3.1.0"},
          {"info", {{"title", "onsight"}, {"version", version}, {"description", "Asks a picture a question."}}},
          {"paths", paths},
          {"components",
           {{"securitySchemes",
             {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
              {"x-api-key", {{"type", "apiKey"}, {"in", "header"}, {"name", "x-api-key"}}},
              {"x-goog-api-key", {{"type", "apiKey"}, {"in", "header"}, {"name", "x-goog-api-key"}}},
              {"key", {{"type", "apiKey"}, {"in", "query"}, {"name", "key"}}}}}}},
          {"security", Json::array({{{"bearer", Json::array()}},
                                    {{"x-api-key", Json::array()}},
                                    {{"x-goog-api-key", Json::array()}},
                                    {{"key", Json::array()}}})}};
}

}  // namespace onsight::server
