#include "server/gemini/generate_request.h"

#include <algorithm>

#include "net/base64.h"
#include "server/file_store.h"
#include "server/gemini/names.h"
#include "server/gemini/schema.h"

namespace onsight::server::gemini {
namespace {

using Parts = std::vector<engine::Part>;

// A list, of which this API takes a single item for one of one.
std::vector<Fields> items_of(const Fields& fields, std::string_view key) {
  std::vector<Fields> out;
  const Json* list = fields.find(key);
  if (!list) return out;
  if (!list->is_array()) return {Fields(*list, fields.place(key))};
  for (size_t i = 0; i < list->size(); ++i) out.emplace_back((*list)[i], item_of(fields.place(key), i));
  return out;
}

Status expect_object(const Fields& fields) {
  if (fields.json().is_object()) return {};
  return bad_input("{}: expected an object, found {}", place_of(fields), fields.json().type_name());
}

using Kind = engine::Part::Kind;

Result<Kind> kind_of(const std::string& type, const std::string& place) {
  if (type.starts_with("image/")) return Kind::kImage;
  if (type.starts_with("video/")) return Kind::kVideo;
  return bad_input("{}: expected a picture or a video (image/png, video/mp4 and the like), found '{}'", place, type);
}

// "12.5s".
Result<double> seconds_of(const Fields& fields, std::string_view key) {
  TRY(const std::string text, fields.string_or(key, ""));
  if (text.empty()) return 0.0;
  const auto refuse = [&] { return bad_input("{}: expected seconds as 12.5s, found '{}'", fields.place(key), text); };
  const std::string digits = text.substr(0, text.size() - 1);
  if (text.back() != 's' || digits.empty() || digits.size() > 15 || digits[0] == '.' ||
      std::count(digits.begin(), digits.end(), '.') > 1 || digits.find_first_not_of("0123456789.") != std::string::npos)
    return refuse();
  return std::stod(digits);
}

Result<media::ClipOptions> read_video_metadata(const Fields& part, Kind kind) {
  media::ClipOptions out;
  if (!part.has("videoMetadata")) return out;
  if (kind != Kind::kVideo)
    return bad_input("{}: expected none beside what is not a video", part.place("videoMetadata"));
  TRY(const Fields metadata, part.object("videoMetadata"));
  TRY_STATUS(check_names(metadata, {"fps", "startOffset", "endOffset"}, {}, {}));
  TRY(out.fps, metadata.number("fps", 0, 1e-3, 24));  // the original's limit
  TRY(out.start, seconds_of(metadata, "startOffset"));
  TRY(out.end, seconds_of(metadata, "endOffset"));
  if (metadata.has("endOffset") && out.end <= out.start)
    return bad_input("{}: expected a time after startOffset", metadata.place("endOffset"));
  return out;
}

// "files/x", or a URL that ends so.
std::string file_name_of(std::string_view uri) {
  constexpr std::string_view kFolder = "files/";
  const size_t at = uri.rfind(kFolder);
  if (at == std::string_view::npos) return {};
  const bool named = at == 0 || (uri.starts_with("http") && uri[at - 1] == '/');
  const std::string_view name = uri.substr(at + kFolder.size());
  return named && is_file_name(name) ? std::string(name) : std::string();
}

tl::expected<engine::Part, Failure> read_file_data(const Service& service, const Fields& data) {
  TRY_STATUS(check_names(data, {"fileUri", "mimeType"}, {"displayName"}, {}));
  TRY(const std::string uri, data.string("fileUri"));
  const std::string place = data.place("fileUri");
  const std::string name = file_name_of(uri);
  if (name.empty())
    return fails(400, fmt::format("{}: expected the uri or the name of a file that was uploaded here, found '{}'",
                                  place, uri.substr(0, 200)));
  FileStore* files = service.options().files.get();
  const auto found = files ? files->find(name) : std::nullopt;
  // The original does not say whether a file that may not be read is there.
  if (!found) return fails(403, fmt::format("{}: expected a file that is here, files/{} is not", place, name));
  TRY(const std::string type, data.string_or("mimeType", found->mime_type));
  TRY(const Kind kind, kind_of(type, place));
  if (kind == Kind::kVideo) {
    TRY(const Path file, files->path(name));
    TRY(Video video, service.video_of_file(file, place));
    return engine::Part{.kind = kind,
                        .clip = {.video = std::move(video), .kept = std::make_shared<media::KeptFrames>()}};
  }
  TRY(const std::string bytes, files->read(name, service.options().max_image_bytes));
  TRY(Picture picture, service.picture(bytes, place));
  return engine::Part{.kind = kind, .image = std::move(picture)};
}

Result<engine::Part> read_inline_data(const Service& service, const Fields& data) {
  TRY_STATUS(check_names(data, {"data", "mimeType"}, {"displayName"}, {}));
  TRY(const std::string type, data.string("mimeType"));
  TRY(const Kind kind, kind_of(type, data.place("mimeType")));
  const Json* text = data.find("data");
  if (!text || !text->is_string())
    return bad_input("{}: expected the {} in base64", data.place("data"), kind == Kind::kImage ? "picture" : "video");
  TRY(std::string bytes, net::base64_decode(text->get_ref<const std::string&>(), data.place("data")));
  if (kind == Kind::kVideo) {
    TRY(Video video, service.video(std::move(bytes), data.place("data")));
    return engine::Part{.kind = kind,
                        .clip = {.video = std::move(video), .kept = std::make_shared<media::KeptFrames>()}};
  }
  TRY(Picture picture, service.picture(bytes, data.place("data")));
  return engine::Part{.kind = kind, .image = std::move(picture)};
}

Status check_part_names(const Fields& part) {
  TRY_STATUS(expect_object(part));
  return check_names(part, {"text", "inlineData", "fileData", "videoMetadata"},
                     {"thought", "thoughtSignature", "partMetadata"},
                     {"functionCall", "functionResponse", "executableCode", "codeExecutionResult", "toolCall",
                      "toolResponse", "mediaResolution"});
}

tl::expected<engine::Part, Failure> read_part(const Service& service, const Fields& part) {
  TRY_STATUS(check_part_names(part));
  if (part.has("text") + part.has("inlineData") + part.has("fileData") != 1)
    return fails(400, place_of(part) + ": expected one of text, inlineData and fileData");
  engine::Part out;
  if (part.has("text")) {
    TRY(out.text, part.string("text"));
  } else if (part.has("inlineData")) {
    TRY(const Fields data, part.object("inlineData"));
    TRY(out, read_inline_data(service, data));
  } else {
    TRY(const Fields data, part.object("fileData"));
    auto file = read_file_data(service, data);
    if (!file) return tl::unexpected<Failure>(file.error());
    out = *std::move(file);
  }
  TRY(out.clip.options, read_video_metadata(part, out.kind));
  return out;
}

// Texts alone.
Status check_system_part(const Fields& part) {
  TRY_STATUS(check_part_names(part));
  for (const std::string_view name : {"inlineData", "fileData", "videoMetadata"})
    if (part.has(name)) return bad_input("{}: expected text alone in a systemInstruction", part.place(name));
  return {};
}

Outcome read_contents(const Service& service, const Fields& fields, engine::Request& request) {
  if (fields.has("systemInstruction")) {
    TRY(const Fields content, fields.object("systemInstruction"));
    TRY_STATUS(check_names(content, {"parts"}, {"role"}, {}));
    engine::Message& message = request.messages.emplace_back();
    message.role = "system";
    for (const Fields& part : items_of(content, "parts")) {
      TRY_STATUS(check_system_part(part));
      TRY(std::string text, part.string("text"));
      message.content.push_back({.text = std::move(text)});
    }
    if (message.content.empty()) request.messages.pop_back();
  }
  const std::vector<Fields> contents = items_of(fields, "contents");
  if (contents.empty()) return fails(400, fields.place("contents") + ": expected at least one");
  for (const Fields& content : contents) {
    TRY_STATUS(expect_object(content));
    TRY_STATUS(check_names(content, {"role", "parts"}, {}, {}));
    TRY(const std::string role, content.string_or("role", "user"));
    if (role != "user" && role != "model")
      return fails(400, fmt::format("{}: expected user or model, found '{}'", content.place("role"), role));
    const std::vector<Fields> parts = items_of(content, "parts");
    if (parts.empty()) return fails(400, content.place("parts") + ": expected at least one");
    const size_t at = request.messages.size();
    request.messages.push_back({.role = role == "model" ? "assistant" : "user"});
    for (const Fields& part : parts) {
      auto read = read_part(service, part);
      if (!read) return tl::unexpected<Failure>(read.error());
      const bool counts = read->kind != Kind::kText;
      request.messages[at].content.push_back(*std::move(read));
      if (counts) TRY_STATUS(service.check_pictures(request.messages, place_of(part)));
    }
  }
  return {};
}

Status read_sampling(const Fields& config, engine::Sampling& sampling) {
  TRY(const double temperature, config.number("temperature", 0, 0, 2));
  TRY(const double top_p, config.number("topP", 1, 0, 1));
  TRY(const int64_t top_k, config.integer("topK", 0, 0, 1'000'000));
  TRY(const int64_t seed, config.integer("seed", 0, INT64_MIN, INT64_MAX));
  sampling.temperature = static_cast<float>(temperature);
  // Nothing is as little as the most probable token alone.
  sampling.top_p = std::max(static_cast<float>(top_p), 1e-6f);
  sampling.top_k = static_cast<int>(top_k);
  sampling.seed = config.has("seed") ? static_cast<uint64_t>(seed) : fresh_seed();
  return {};
}

Status read_stop(const Fields& config, engine::Request& request) {
  if (!config.has("stopSequences")) return {};
  TRY(const Json* stops, config.array("stopSequences"));
  if (stops->size() > 5)
    return bad_input("{}: expected at most 5 texts, found {}", config.place("stopSequences"), stops->size());
  for (const Json& stop : *stops) {
    if (!stop.is_string() || stop.get_ref<const std::string&>().empty())
      return bad_input("{}: expected texts that are not empty", config.place("stopSequences"));
    request.stop.push_back(stop.get<std::string>());
  }
  return {};
}

Status read_logprobs(const Fields& config, engine::Request& request) {
  TRY(const bool wanted, config.boolean("responseLogprobs", false));
  TRY(const int64_t top, config.integer("logprobs", 0, 0, 20));
  if (!wanted && config.has("logprobs"))
    return bad_input("{}: expected responseLogprobs to be true beside it", config.place("logprobs"));
  if (wanted) request.logprobs = static_cast<int>(top);
  return {};
}

// responseMimeType and the schemas.
Status read_form(const Fields& config, GenerateRequest& out) {
  TRY(const std::string type, config.string_or("responseMimeType", "text/plain"));
  const std::string place = config.place("responseMimeType");
  if (type != "text/plain" && type != "application/json" && type != "text/x.enum")
    return bad_input("{}: expected text/plain, application/json or text/x.enum, found '{}'", place, type);
  std::string_view key;
  for (const std::string_view name : {"responseSchema", "responseJsonSchema", "_responseJsonSchema"}) {
    if (!config.has(name)) continue;
    if (!key.empty()) return bad_input("{}: expected {} or this, found both", config.place(name), key);
    key = name;
  }
  if (type == "text/plain") {
    if (key.empty()) return {};
    return bad_input("{}: expected responseMimeType application/json or text/x.enum beside it", config.place(key));
  }
  if (!out.request.stop.empty())
    return bad_input("{}: expected none beside {}, it would cut the answer", config.place("stopSequences"), type);
  Json schema = {{"type", Json::array({"object", "array"})}};
  if (!key.empty()) schema = *config.find(key);
  if (key == "responseSchema") {
    TRY_STATUS(check_schema_size(schema, config.place(key)));
    TRY(schema, to_json_schema(schema, config.place(key)));
  }
  if (type == "text/x.enum") {
    out.plain_enum = true;
    const Json strings = schema.is_object() ? schema.value("enum", Json::array()) : Json::array();
    if (!strings.is_array() || strings.empty() ||
        !std::all_of(strings.begin(), strings.end(), [](const Json& value) { return value.is_string(); }))
      return bad_input("{}: expected a responseSchema of type STRING with enum beside text/x.enum", place);
    schema["type"] = "string";
  }
  TRY(out.request.schema, compile_schema(schema, config.place(key.empty() ? "responseMimeType" : key)));
  return {};
}

// As the original does for a model that does not think.
Status check_thinking(const Fields& config) {
  if (!config.has("thinkingConfig")) return {};
  TRY(const Fields thinking, config.object("thinkingConfig"));
  TRY_STATUS(check_names(thinking, {"thinkingBudget", "includeThoughts"}, {}, {"thinkingLevel"}));
  TRY(const bool told, thinking.boolean("includeThoughts", false));
  if (told) return bad_input("{}: expected false, this model does not think", thinking.place("includeThoughts"));
  TRY(const int64_t budget, thinking.integer("thinkingBudget", 0, INT32_MIN, INT32_MAX));
  if (budget == 0) return {};
  return bad_input("{}: expected 0, this model does not think", thinking.place("thinkingBudget"));
}

Status read_modalities(const Fields& config, engine::Request& request) {
  if (config.has("responseModalities")) {
    TRY(const Json* modalities, config.array("responseModalities"));
    for (const Json& modality : *modalities)
      if (modality != "TEXT" && modality != "Text" && modality != "text")
        return bad_input("{}: expected TEXT, which is all that this model writes, found {}",
                         config.place("responseModalities"), to_text(modality));
  }
  TRY(const std::string resolution, config.string_or("mediaResolution", "MEDIA_RESOLUTION_UNSPECIFIED"));
  if (resolution == "MEDIA_RESOLUTION_LOW") {
    request.picture.max_tiles = 1;
  } else if (resolution != "MEDIA_RESOLUTION_UNSPECIFIED" && resolution != "MEDIA_RESOLUTION_MEDIUM" &&
             resolution != "MEDIA_RESOLUTION_HIGH") {
    return bad_input("{}: expected MEDIA_RESOLUTION_LOW, _MEDIUM or _HIGH, found '{}'", config.place("mediaResolution"),
                     resolution);
  }
  return {};
}

Status read_config(const Service& service, const Fields& config, GenerateRequest& out) {
  TRY_STATUS(expect_object(config));
  TRY_STATUS(check_names(config,
                         {"temperature", "topK", "topP", "maxOutputTokens", "candidateCount", "stopSequences", "seed",
                          "responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema",
                          "responseLogprobs", "logprobs", "thinkingConfig", "responseModalities", "mediaResolution"},
                         {},
                         {"presencePenalty", "frequencyPenalty", "speechConfig", "audioTimestamp", "imageConfig",
                          "enableEnhancedCivicAnswers", "routingConfig", "modelSelectionConfig",
                          "enableAffectiveDialog", "responseFormat", "translationConfig", "audioTranscriptionConfig"}));
  TRY_STATUS(read_sampling(config, out.request.sampling));
  TRY_STATUS(read_stop(config, out.request));
  TRY_STATUS(read_logprobs(config, out.request));
  TRY_STATUS(check_thinking(config));
  TRY_STATUS(read_modalities(config, out.request));
  TRY(const int64_t candidates, config.integer("candidateCount", 1, 1, service.options().max_answers));
  out.candidates = static_cast<int>(candidates);
  TRY(const int64_t most, config.integer("maxOutputTokens", 0, 1, INT32_MAX));
  out.request.max_tokens = service.tokens(most);
  return read_form(config, out);
}

}  // namespace

tl::expected<GenerateRequest, Failure> read_generate(const Service& service, const Json& body,
                                                     const std::string& place) {
  const Fields fields(body, place);
  TRY_STATUS(expect_object(fields));
  TRY_STATUS(check_names(fields, {"model", "contents", "systemInstruction", "generationConfig"},
                         {"safetySettings", "labels", "store", "serviceTier"},
                         {"tools", "toolConfig", "cachedContent", "modelArmorConfig"}));
  if (fields.has("model")) {
    TRY(const std::string model, fields.string("model"));
    if (!service.serves(model) && !(model.starts_with("models/") && service.serves(model.substr(7))))
      return fails(404,
                   fmt::format("{}: expected models/{}, found '{}'", fields.place("model"), service.name(), model));
  }
  GenerateRequest out;
  const Json nothing = Json::object();
  const Json* config = fields.find("generationConfig");
  TRY_STATUS(read_config(service, Fields(config ? *config : nothing, fields.place("generationConfig")), out));
  if (auto read = read_contents(service, fields, out.request); !read) return tl::unexpected<Failure>(read.error());
  return out;
}

}  // namespace onsight::server::gemini
