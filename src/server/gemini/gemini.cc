#include "server/gemini/gemini.h"

#include <algorithm>
#include <charconv>

namespace onsight::server::gemini {
namespace {

Json model_object(const Service& service, const std::string& name) {
  const engine::ModelInfo& info = service.info();
  return {{"name", "models/" + name},
          {"baseModelId", name},
          {"version", service.options().version},
          {"displayName", name},
          {"description", fmt::format("{}, answers questions about pictures", info.architecture)},
          {"inputTokenLimit", info.context_length},
          {"outputTokenLimit", std::min(service.options().max_tokens, info.context_length)},
          {"supportedGenerationMethods", Json::array({"generateContent", "countTokens"})},
          {"temperature", 0},
          {"maxTemperature", 2},
          {"topP", 1},
          {"topK", 0}};
}

Outcome models(Call& call) {
  const std::vector<std::string>& names = call.service.options().names;
  TRY(const Page page, page_of(call.request, names.size(), 50, 1000));
  Json out = {{"models", Json::array()}};
  for (size_t i = page.begin; i < page.end; ++i) out["models"].push_back(model_object(call.service, names[i]));
  if (!page.next.empty()) out["nextPageToken"] = page.next;
  call.exchange->respond(json_response(out));
  return {};
}

Outcome model(Call& call) {
  if (auto found = check_model(call, "getModel"); !found) return found;
  call.exchange->respond(json_response(model_object(call.service, call.names["model"])));
  return {};
}

Outcome not_here(Call& call) {
  return fails(501, fmt::format("{}: expected a question, this server answers questions about pictures and texts only",
                                call.request.path));
}

Outcome only_uploads(Call&) {
  return fails(400,
               "POST /v1beta/files: expected POST /upload/v1beta/files, this server keeps files that are uploaded");
}

constexpr std::string_view kNothing = R"({"type": "object", "maxProperties": 0})";

const Route kRoutes[] = {
    {.method = "POST",
     .pattern = "/v1beta/models/{+model}:generateContent",
     .summary = "Answers a conversation with pictures",
     .handle = generate_content,
     .request_schema = kGenerateSchema,
     .answer_schema = kGenerateAnswer},
    {.method = "POST",
     .pattern = "/v1beta/models/{+model}:streamGenerateContent",
     .summary = "The same as a stream: with ?alt=sse of events, otherwise of a JSON list's items",
     .handle = stream_generate_content,
     .request_schema = kGenerateSchema,
     .answer_schema = kGenerateAnswer,
     .answers = true,
     .stream_type = "text/event-stream",
     .parameters = kStreamParameters},
    {.method = "POST",
     .pattern = "/v1beta/models/{+model}:countTokens",
     .summary = "How many tokens a prompt has",
     .handle = count_tokens,
     .request_schema = kCountSchema,
     .answer_schema = kCountAnswer},
    {.method = "POST",
     .pattern = "/v1/models/{+model}:generateContent",
     .summary = "Answers a conversation with pictures",
     .handle = generate_content,
     .request_schema = kGenerateSchema,
     .answer_schema = kGenerateAnswer},
    {.method = "POST",
     .pattern = "/v1/models/{+model}:streamGenerateContent",
     .summary = "The same as a stream: with ?alt=sse of events, otherwise of a JSON list's items",
     .handle = stream_generate_content,
     .request_schema = kGenerateSchema,
     .answer_schema = kGenerateAnswer,
     .answers = true,
     .stream_type = "text/event-stream",
     .parameters = kStreamParameters},
    {.method = "POST",
     .pattern = "/v1/models/{+model}:countTokens",
     .summary = "How many tokens a prompt has",
     .handle = count_tokens,
     .request_schema = kCountSchema,
     .answer_schema = kCountAnswer},
    {.method = "GET",
     .pattern = "/v1beta/models",
     .summary = "The model, by its names",
     .handle = models,
     .answer_schema = kModelsAnswer,
     .parameters = kListParameters},
    {.method = "GET",
     .pattern = "/v1beta/models/{+model}",
     .summary = "The model",
     .handle = model,
     .answer_schema = kModelAnswer},
    {.method = "POST",
     .pattern = "/upload/v1beta/files",
     .summary = "Begins the upload of a file, or takes it whole",
     .handle = start_upload,
     .request_schema = kUploadSchema,
     .other_bodies = "multipart/related, */*",
     .answer_schema = kUploadAnswer,
     .parameters = kStartParameters,
     .answer_headers = kUploadHeaders},
    {.method = "POST",
     .pattern = "/upload/v1/files",
     .summary = "Begins the upload of a file, or takes it whole",
     .handle = start_upload,
     .request_schema = kUploadSchema,
     .other_bodies = "multipart/related, */*",
     .answer_schema = kUploadAnswer,
     .parameters = kStartParameters,
     .answer_headers = kUploadHeaders},
    // Its path is a secret that only who began the upload knows; clients send no key here.
    {.method = "POST",
     .pattern = "/upload/v1beta/files/{upload}",
     .summary = "Goes on with an upload",
     .handle = go_on_with_upload,
     .other_bodies = "application/octet-stream",
     .answer_schema = kUploadAnswer,
     .parameters = kGoOnParameters,
     .answer_headers = kUploadHeaders,
     .open = true,
     .refuse = refuse_upload},
    {.method = "PUT",
     .pattern = "/upload/v1beta/files/{upload}",
     .summary = "Goes on with an upload",
     .handle = go_on_with_upload,
     .other_bodies = "application/octet-stream",
     .answer_schema = kUploadAnswer,
     .parameters = kGoOnParameters,
     .answer_headers = kUploadHeaders,
     .open = true,
     .refuse = refuse_upload},
    {.method = "POST",
     .pattern = "/upload/v1/files/{upload}",
     .summary = "Goes on with an upload",
     .handle = go_on_with_upload,
     .other_bodies = "application/octet-stream",
     .answer_schema = kUploadAnswer,
     .parameters = kGoOnParameters,
     .answer_headers = kUploadHeaders,
     .open = true,
     .refuse = refuse_upload},
    {.method = "PUT",
     .pattern = "/upload/v1/files/{upload}",
     .summary = "Goes on with an upload",
     .handle = go_on_with_upload,
     .other_bodies = "application/octet-stream",
     .answer_schema = kUploadAnswer,
     .parameters = kGoOnParameters,
     .answer_headers = kUploadHeaders,
     .open = true,
     .refuse = refuse_upload},
    {.method = "GET",
     .pattern = "/v1beta/files",
     .summary = "The files that were uploaded",
     .handle = list_files,
     .answer_schema = kFilesAnswer,
     .parameters = kListParameters},
    {.method = "GET",
     .pattern = "/v1beta/files/{name}",
     .summary = "What is known of a file",
     .handle = get_file,
     .answer_schema = kFileAnswer},
    {.method = "DELETE",
     .pattern = "/v1beta/files/{name}",
     .summary = "Removes a file",
     .handle = delete_file,
     .answer_schema = kNothing},
    refused_route("POST", "/v1beta/models/{+model}:{method}", not_here),
    refused_route("POST", "/v1/models/{+model}:{method}", not_here),
    refused_route("POST", "/v1beta/files", only_uploads),
    refused_route("GET", "/v1/cachedContents", not_here),
    refused_route("POST", "/v1/cachedContents", not_here),
    refused_route("GET", "/v1/tunedModels", not_here),
    refused_route("GET", "/v1beta/cachedContents", not_here),
    refused_route("POST", "/v1beta/cachedContents", not_here),
    refused_route("GET", "/v1beta/tunedModels", not_here),
    refused_route("POST", "/v1beta/tunedModels", not_here),
    refused_route("GET", "/v1beta/batches", not_here),
};

// OpenAI's API has these too, or may have.
const Route kClaimed[] = {
    {.method = "GET",
     .pattern = "/v1/models",
     .summary = "The model, by its names",
     .handle = models,
     .answer_schema = kModelsAnswer,
     .parameters = kListParameters},
    {.method = "GET",
     .pattern = "/v1/models/{+model}",
     .summary = "The model",
     .handle = model,
     .answer_schema = kModelAnswer},
    {.method = "GET",
     .pattern = "/v1/files",
     .summary = "The files that were uploaded",
     .handle = list_files,
     .answer_schema = kFilesAnswer,
     .parameters = kListParameters},
    refused_route("POST", "/v1/files", only_uploads),
    {.method = "GET",
     .pattern = "/v1/files/{name}",
     .summary = "What is known of a file",
     .handle = get_file,
     .answer_schema = kFileAnswer},
    {.method = "DELETE",
     .pattern = "/v1/files/{name}",
     .summary = "Removes a file",
     .handle = delete_file,
     .answer_schema = kNothing},
    refused_route("GET", "/v1/batches", not_here),
};

// The official clients send both.
bool claims(const net::HttpRequest& head) {
  return head.headers.find("x-goog-api-key") || head.headers.find("x-goog-api-client");
}

// In the original's words, which clients look for.
Failure no_key(bool other) {
  if (other) return {400, "API key not valid. Please pass a valid API key."};
  return {403, "the API key: expected the one of this server, as x-goog-api-key or ?key="};
}

std::string_view status_name(int status) {
  switch (status) {
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "NOT_FOUND";
    case 409:
      return "ALREADY_EXISTS";
    case 413:
    case 429:
      return "RESOURCE_EXHAUSTED";
    case 408:
    case 504:
      return "DEADLINE_EXCEEDED";
    case 500:
      return "INTERNAL";
    case 501:
      return "UNIMPLEMENTED";
    case 503:
      return "UNAVAILABLE";
    default:
      return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
  }
}

// To the original a path with another method is another path.
int status_of(const Failure& failure) { return failure.status == 405 ? 404 : failure.status; }

Result<size_t> query_number(const net::HttpRequest& request, std::string_view name, size_t otherwise) {
  const std::string_view text = request.query_value(name);
  if (text.empty()) return otherwise;
  size_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size())
    return bad_input("{}: expected what an answer of this server named, or a number, found '{}'", name, text);
  return number;
}

}  // namespace

const Dialect kDialect{.id = "gemini",
                       .prefixes = {"/v1beta/", "/upload/"},
                       .routes = [] { return std::span<const Route>(kRoutes); },
                       .error = error,
                       .error_schema = kErrorAnswer,
                       .claims = claims,
                       .claimed_by = "an x-goog-api-key or x-goog-api-client field",
                       .claimed = [] { return std::span<const Route>(kClaimed); },
                       .no_key = no_key};

Json error_object(const Failure& failure) {
  const int status = status_of(failure);
  return {{"code", status}, {"message", failure.message}, {"status", status_name(status)}};
}

net::HttpResponse error(const Failure& failure) {
  return json_response({{"error", error_object(failure)}}, status_of(failure));
}

Outcome check_model(const Call& call, std::string_view method) {
  const auto name = call.names.find("model");
  if (name != call.names.end() && call.service.serves(name->second)) return {};
  return fails(404, fmt::format("models/{} is not here for {} (GET /v1beta/models names the one that is)",
                                name == call.names.end() ? "" : name->second, method));
}

Result<Page> page_of(const net::HttpRequest& request, size_t count, size_t default_size, size_t max_size) {
  TRY(const size_t asked, query_number(request, "pageSize", 0));
  TRY(const size_t begin, query_number(request, "pageToken", 0));
  Page page;
  page.begin = std::min(begin, count);
  page.end = page.begin + std::min(count - page.begin, std::min(asked == 0 ? default_size : asked, max_size));
  if (page.end < count) page.next = std::to_string(page.end);
  return page;
}

}  // namespace onsight::server::gemini
