#include "server/ollama/ollama.h"

#include <ctime>

#include "base/sha256.h"

namespace onsight::server::ollama {
namespace {

constexpr std::string_view kLatest = ":latest";

std::string with_tag(const std::string& name) {
  return name.find(':') == std::string::npos ? name + std::string(kLatest) : name;
}

// "35M", "2.2B"
std::string count_text(int64_t count) {
  const auto number = static_cast<double>(count);
  return number >= 1e9 ? fmt::format("{:.1f}B", number / 1e9) : fmt::format("{:.0f}M", number / 1e6);
}

Json details_of(const engine::ModelInfo& info) {
  return {{"parent_model", ""},
          {"format", "onsight"},
          {"family", info.architecture},
          {"families", Json::array({info.architecture})},
          {"parameter_size", count_text(info.parameters)},
          {"quantization_level", info.text_quantisation.empty() ? info.weight_types : info.text_quantisation}};
}

Json model_object(const Service& service, const std::string& name) {
  const engine::ModelInfo& info = service.info();
  // Of the name and the shapes: the files are not read again for it.
  const Digest digest =
      Sha256().field(info.name).field(static_cast<uint64_t>(info.file_bytes)).field(info.text_shape).finish();
  return {{"name", with_tag(name)},
          {"model", with_tag(name)},
          {"size", info.file_bytes},
          {"digest", to_hex(digest)},
          {"details", details_of(info)}};
}

Outcome tags(Call& call) {
  Json models = Json::array();
  for (const std::string& name : call.service.options().names) {
    Json model = model_object(call.service, name);
    model["modified_at"] = time_text(call.service.started());
    models.push_back(std::move(model));
  }
  call.exchange->respond(json_response({{"models", models}}));
  return {};
}

Outcome ps(Call& call) {
  Json model = model_object(call.service, call.service.name());
  model["expires_at"] = "9999-12-31T23:59:59Z";  // it stays
  model["size_vram"] = 0;
  model["context_length"] = call.service.info().context_length;
  call.exchange->respond(json_response({{"models", Json::array({model})}}));
  return {};
}

Outcome version(Call& call) {
  call.exchange->respond(json_response({{"version", call.service.options().version}}));
  return {};
}

Outcome show(Call& call) {
  TRY(const Json body, parse_body(call.request.body));
  const Fields fields(body, "");
  TRY(const std::string model, fields.string(fields.has("model") ? "model" : "name"));
  if (!serves(call.service, model)) return tl::unexpected<Failure>(unknown_model(model));
  const engine::ModelInfo& info = call.service.info();
  call.exchange->respond(json_response({{"modelfile", ""},
                                        {"parameters", ""},
                                        {"template", ""},
                                        {"details", details_of(info)},
                                        {"model_info",
                                         {{"general.architecture", info.architecture},
                                          {"general.parameter_count", info.parameters},
                                          {info.architecture + ".context_length", info.context_length}}},
                                        {"capabilities", Json::array({"completion", "vision"})},
                                        {"modified_at", time_text(call.service.started())}}));
  return {};
}

Outcome not_here(Call& call) {
  return fails(
      501, fmt::format("{}: this server has one model, which answers /api/chat and /api/generate", call.request.path));
}

const Route kRoutes[] = {
    {.method = "POST",
     .pattern = "/api/chat",
     .summary = "Answers a conversation with pictures",
     .handle = chat,
     .request_schema = kChatSchema,
     .answer_schema = kChatAnswer,
     .stream_type = "application/x-ndjson"},
    {.method = "POST",
     .pattern = "/api/generate",
     .summary = "Answers a prompt with pictures",
     .handle = generate,
     .request_schema = kGenerateSchema,
     .answer_schema = kGenerateAnswer,
     .stream_type = "application/x-ndjson"},
    {.method = "GET",
     .pattern = "/api/tags",
     .summary = "The model, by its names",
     .handle = tags,
     .answer_schema = kTagsAnswer},
    {.method = "POST",
     .pattern = "/api/show",
     .summary = "What the model is",
     .handle = show,
     .request_schema = kShowSchema,
     .answer_schema = kShowAnswer},
    {.method = "GET",
     .pattern = "/api/ps",
     .summary = "The model, as one that is loaded",
     .handle = ps,
     .answer_schema = kTagsAnswer},
    {.method = "GET",
     .pattern = "/api/version",
     .summary = "The version of the program",
     .handle = version,
     .answer_schema = R"({"type": "object", "required": ["version"], "properties": {"version": {"type": "string"}}})"},
    refused_route("POST", "/api/embed", not_here),
    refused_route("POST", "/api/embeddings", not_here),
    refused_route("POST", "/api/pull", not_here),
    refused_route("POST", "/api/push", not_here),
    refused_route("POST", "/api/create", not_here),
    refused_route("POST", "/api/copy", not_here),
    refused_route("DELETE", "/api/delete", not_here),
};

}  // namespace

const Dialect kDialect{
    .id = "ollama",
    .prefixes = {"/api/"},
    .routes = [] { return std::span<const Route>(kRoutes); },
    .error = error,
    .error_schema = R"({"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}})"};

net::HttpResponse error(const Failure& failure) { return json_response({{"error", failure.message}}, failure.status); }

bool serves(const Service& service, std::string_view model) {
  if (service.serves(model)) return true;
  return model.ends_with(kLatest) && service.serves(model.substr(0, model.size() - kLatest.size()));
}

Failure unknown_model(std::string_view model) { return {404, fmt::format("model '{}' not found", model)}; }

std::string time_text(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

}  // namespace onsight::server::ollama
