// What is served beside the dialects: the page, and what watches the server.
#include "server/page.h"
#include "server/site.h"

namespace onsight::server {
namespace {

Outcome page(Call& call) {
  call.exchange->respond(page_response(call.request));
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

constexpr Route kRoutes[] = {
    {.method = "GET",
     .pattern = "/",
     .summary = "The web page",
     .handle = page,
     .answer_type = "text/html",
     .open = true},
    {.method = "GET", .pattern = "/health", .summary = "Whether the server is there", .handle = health, .open = true},
    {.method = "GET",
     .pattern = "/metrics",
     .summary = "Counters in Prometheus' text format",
     .handle = metrics,
     .answer_type = "text/plain"},
    {.method = "GET", .pattern = "/openapi.json", .summary = "This description", .handle = openapi},
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

Json operation_of(const Place& place) {
  const Route& route = *place.route;
  Json content = {{std::string(route.answer_type), Json::object()}};
  if (!route.stream_type.empty()) content[std::string(route.stream_type)] = Json::object();
  const Json failed = {{"description", "An error, in the shape of this API"},
                       {"content", {{"application/json", Json::object()}}}};
  Json operation = {{"summary", route.summary}, {"tags", Json::array({place.dialect->id})}};
  const Json parameters = parameters_of(path_of(route.pattern));
  if (!parameters.empty()) operation["parameters"] = parameters;
  if (!route.request_schema.empty())
    operation["requestBody"] = {
        {"required", true},
        {"content", {{"application/json", {{"schema", Json::parse(route.request_schema, nullptr, false)}}}}}};
  operation["responses"] = {
      {"200", {{"description", "The answer"}, {"content", content}}}, {"4XX", failed}, {"5XX", failed}};
  if (route.open) operation["security"] = Json::array();
  return operation;
}

}  // namespace

const Dialect kOwnRoutes{"server", {"/"}, [] { return std::span<const Route>(kRoutes); }, error};

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
        operation["tags"].push_back(place.dialect->id);
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
