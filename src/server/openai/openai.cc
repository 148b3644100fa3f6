#include "server/openai/openai.h"

namespace onsight::server::openai {
namespace {

Json model_object(const Service& service, const std::string& name) {
  return {{"id", name}, {"object", "model"}, {"created", service.started()}, {"owned_by", "onsight"}};
}

Outcome models(Call& call) {
  Json data = Json::array();
  for (const std::string& name : call.service.options().names) data.push_back(model_object(call.service, name));
  call.exchange->respond(json_response({{"object", "list"}, {"data", data}}));
  return {};
}

Outcome model(Call& call) {
  const std::string& name = call.names["model"];
  if (!call.service.serves(name)) return tl::unexpected<Failure>(unknown_model(name));
  call.exchange->respond(json_response(model_object(call.service, name)));
  return {};
}

// Told apart from a path that nobody knows.
Outcome not_here(Call& call) {
  return fails(
      404,
      fmt::format("{}: this server answers questions about pictures, expected /v1/chat/completions or /v1/responses",
                  call.request.path),
      "unsupported_endpoint");
}

const Route kRoutes[] = {
    {.method = "POST",
     .pattern = "/v1/chat/completions",
     .summary = "Answers a conversation with pictures",
     .handle = chat_completions,
     .request_schema = kChatSchema,
     .answer_schema = kChatAnswer,
     .stream_type = "text/event-stream"},
    {.method = "POST",
     .pattern = "/v1/responses",
     .summary = "Answers an input with pictures",
     .handle = responses,
     .request_schema = kResponsesSchema,
     .answer_schema = kResponsesAnswer,
     .stream_type = "text/event-stream"},
    {.method = "POST",
     .pattern = "/v1/estimate",
     .summary = "What the same body would cost as a chat completion",
     .handle = estimate,
     .request_schema = kChatSchema,
     .answer_schema = kEstimateAnswer},
    {.method = "GET",
     .pattern = "/v1/models",
     .summary = "The model, by its names",
     .handle = models,
     .answer_schema = kModelsAnswer},
    {.method = "GET",
     .pattern = "/v1/models/{+model}",
     .summary = "The model",
     .handle = model,
     .answer_schema = kModelAnswer},
    refused_route("POST", "/v1/completions", not_here),
    refused_route("GET", "/v1/embeddings", not_here),
    refused_route("POST", "/v1/embeddings", not_here),
    refused_route("POST", "/v1/moderations", not_here),
    refused_route("POST", "/v1/audio/{what}", not_here),
    refused_route("POST", "/v1/images/{what}", not_here),
    refused_route("GET", "/v1/files", not_here),
    refused_route("POST", "/v1/files", not_here),
    refused_route("GET", "/v1/files/{id}", not_here),
    refused_route("DELETE", "/v1/files/{id}", not_here),
    refused_route("GET", "/v1/batches", not_here),
    refused_route("POST", "/v1/batches", not_here),
    refused_route("GET", "/v1/batches/{id}", not_here),
    refused_route("POST", "/v1/fine_tuning/jobs", not_here),
    refused_route("GET", "/v1/responses/{id}", not_here),
    refused_route("DELETE", "/v1/responses/{id}", not_here),
    refused_route("POST", "/v1/responses/{id}/cancel", not_here),
    refused_route("GET", "/v1/responses/{id}/input_items", not_here),
    refused_route("GET", "/v1/chat/completions/{id}", not_here),
};

std::string_view type_of(int status) {
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

}  // namespace

const Dialect kDialect{.id = "openai",
                       .prefixes = {"/v1/"},
                       .routes = [] { return std::span<const Route>(kRoutes); },
                       .error = error,
                       .error_schema = kErrorAnswer};

Outcome with_body(Call& call, Outcome (*answer)(Call& call, const Json& body)) {
  TRY(Json body, parse_body(call.request.body));
  call.request.body.clear();
  if (!call.service.may_fetch(body)) return answer(call, body);
  call.rest = [answer, body = std::move(body)](Call& later) { return answer(later, body); };
  return {};
}

Json error_object(const Failure& failure) {
  std::string code = failure.code;
  if (code.empty() && failure.status == 429) code = "rate_limit_exceeded";
  return {{"message", failure.message},
          {"type", type_of(failure.status)},
          {"param", failure.field.empty() ? Json(nullptr) : Json(failure.field)},
          {"code", code.empty() ? Json(nullptr) : Json(code)}};
}

net::HttpResponse error(const Failure& failure) {
  return json_response({{"error", error_object(failure)}}, failure.status);
}

Failure in_words_of_body(Failure failure, std::string_view messages, std::string_view schema) {
  if (failure.field == "messages") failure.field = messages;
  if (failure.field == "schema") failure.field = schema;
  return failure;
}

Failure unknown_model(std::string_view model) {
  return {404, fmt::format("the model '{}' is not here (GET /v1/models names the one that is)", model),
          "model_not_found", "model"};
}

}  // namespace onsight::server::openai
