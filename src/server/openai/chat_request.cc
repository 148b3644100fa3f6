#include "server/openai/chat_request.h"

#include <algorithm>

#include "net/base64.h"
#include "net/http.h"
#include "server/openai/frame_choice.h"
#include "server/openai/names.h"

namespace onsight::server::openai {
namespace {

constexpr std::string_view kPictureList = "data:video/jpeg;base64,";

// The pictures of "data:video/jpeg;base64,PICTURE,PICTURE,…", at most so many.
Result<std::vector<std::string>> read_pictures(std::string_view list, int64_t most, const std::string& where) {
  std::vector<std::string> out;
  for (bool more = true; more && std::ssize(out) < most;) {
    const size_t end = list.find(',');
    TRY(std::string bytes,
        of_field(net::base64_decode(list.substr(0, end), fmt::format("{}: frame {}", where, out.size())), where,
                 "invalid_value"));
    out.push_back(std::move(bytes));
    more = end != std::string_view::npos;
    list.remove_prefix(more ? end + 1 : list.size());
  }
  return out;
}

// As vLLM takes it: {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,…"}}, or a list of pictures.
Result<engine::Part> read_video(const Service& service, const Fields& part, const FrameChoice& choice,
                                const net::FetchDeadline& deadline) {
  TRY_STATUS(check_names(part, {"type", "video_url"}));
  TRY(const Fields object, part.object("video_url"));
  TRY_STATUS(check_names(object, {"url"}));
  TRY(const std::string url, object.string("url"));
  const std::string where = object.place("url");
  engine::Part out = {.kind = engine::Part::Kind::kVideo, .clip = {.kept = std::make_shared<media::KeptFrames>()}};
  if (net::equal_ignoring_case(std::string_view(url).substr(0, kPictureList.size()), kPictureList)) {
    TRY(auto pictures, read_pictures(std::string_view(url).substr(kPictureList.size()), choice.most_pictures, where));
    TRY(out.clip.video, service.video_of_pictures(std::move(pictures), choice.picture_fps, where));
    out.clip.options = choice.pictures;
  } else {
    TRY(out.clip.video, service.video_of_url(url, where, deadline));
    out.clip.options = choice.file;
  }
  return out;
}

Result<engine::Part> read_chat_part(const Service& service, const Fields& part, Closeness& closeness,
                                    const FrameChoice& frames, const net::FetchDeadline& deadline) {
  TRY(const std::string type, part.string("type"));
  if (type == "text" || type == "refusal") {
    TRY_STATUS(check_names(part, {"type", type}));
    TRY(std::string text, part.string(type));
    return engine::Part{.text = std::move(text)};
  }
  if (type == "video_url") return read_video(service, part, frames, deadline);
  if (type != "image_url")
    return bad_field(part.place("type"), "invalid_value", "expected text, image_url or video_url, found '{}'", type);
  TRY_STATUS(check_names(part, {"type", "image_url"}));
  const Json* image = part.find("image_url");
  if (image && image->is_string()) {
    closeness.all_low = false;
    return read_image(service, image->get<std::string>(), part.place("image_url"), deadline);
  }
  TRY(const Fields object, part.object("image_url"));
  TRY_STATUS(check_names(object, {"url", "detail"}));
  TRY_STATUS(closeness.take(object));
  TRY(const std::string url, object.string("url"));
  return read_image(service, url, object.place("url"), deadline);
}

// An answer comes back as it was told, with all of the original's fields.
Status check_message_names(const Fields& message) {
  for (const std::string_view name : {"tool_calls", "function_call"})
    if (const Json* calls = message.find(name); calls && !calls->empty())
      return bad_field(message.place(name), "unsupported_parameter", "expected none, this model calls no tools");
  return check_names(
      message, {"role", "content", "tool_calls", "function_call"},
      {{"name", Shape::kString}, {"refusal", Shape::kString}, {"annotations", Shape::kList}, {"parsed", Shape::kAny}},
      {"audio"});
}

Status read_messages(const Service& service, const Fields& fields, const FrameChoice& frames,
                     const net::FetchDeadline& deadline, engine::Request& request) {
  const auto read_part = [&](const Fields& part, Closeness& closeness) {
    return read_chat_part(service, part, closeness, frames, deadline);
  };
  TRY(const Json* messages, fields.array("messages"));
  if (messages->empty()) return bad_field("messages", "empty_array", "expected at least one");
  Closeness closeness;
  for (size_t i = 0; i < messages->size(); ++i) {
    const std::string place = item_of("messages", i);
    const Fields message((*messages)[i], place);
    if (!message.json().is_object()) return bad_field(place, "invalid_type", "expected an object");
    engine::Message& out = request.messages.emplace_back();
    TRY(out.role, read_role(message));
    TRY_STATUS(check_message_names(message));
    if (out.role == "assistant" && !message.has("content")) continue;
    TRY_STATUS(read_content(service, message, read_part, closeness, request));
  }
  closeness.apply(request);
  return {};
}

Status read_stop(const Fields& fields, engine::Request& request) {
  const Json* stop = fields.find("stop");
  if (!stop) return {};
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  if (list.size() > 4)
    return bad_field("stop", "array_above_max_length", "expected at most 4 texts, found {}", list.size());
  for (const Json& text : list) {
    if (!text.is_string() || text.get<std::string>().empty())
      return bad_field("stop", text.is_string() ? "invalid_value" : "invalid_type",
                       "expected a text, or a list of at most 4");
    request.stop.push_back(text.get<std::string>());
  }
  return {};
}

Status read_logprobs(const Fields& fields, engine::Request& request) {
  TRY(const bool wanted, fields.boolean("logprobs", false));
  TRY(const int64_t top, fields.integer("top_logprobs", 0, 0, 20));
  if (!wanted && fields.has("top_logprobs"))
    return bad_field("top_logprobs", "invalid_value", "expected logprobs to be true beside it");
  if (wanted) request.logprobs = static_cast<int>(top);
  return {};
}

// Its name and description say nothing to this model, but are what the original takes.
Result<std::shared_ptr<const text::JsonSchema>> read_schema(const Fields& described) {
  constexpr size_t kMaxName = 64;
  TRY(const std::string name, described.string("name"));
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (!plain || name.empty() || name.size() > kMaxName)
    return bad_field(described.place("name"), "invalid_value",
                     "expected 1 to {} letters, digits, underscores and dashes, found '{}'", kMaxName,
                     name.substr(0, kMaxName + 1));
  TRY_STATUS(described.string_or("description", ""));
  TRY_STATUS(described.boolean("strict", true));
  const Json* schema = described.find("schema");
  if (!schema) return described.wrong_type("schema", "a JSON schema");
  return compile_schema(*schema, described.place("schema"));
}

Status check_chat_names(const Fields& fields) {
  return check_names(fields,
                     {"model",
                      "messages",
                      "stream",
                      "stream_options",
                      "stop",
                      "seed",
                      "temperature",
                      "top_p",
                      "top_k",
                      "min_p",
                      "repetition_penalty",
                      "max_tokens",
                      "max_completion_tokens",
                      "max_tiles",
                      "mm_processor_kwargs",
                      "media_io_kwargs",
                      "logprobs",
                      "top_logprobs",
                      "n",
                      "response_format",
                      "modalities"},
                     {{"user", Shape::kString},
                      {"metadata", Shape::kTexts},
                      {"store", Shape::kBoolean},
                      {"service_tier", Shape::kString},
                      {"safety_identifier", Shape::kString},
                      {"prompt_cache_key", Shape::kString},
                      {"prompt_cache_retention", Shape::kString},
                      {"parallel_tool_calls", Shape::kBoolean},
                      {"prediction", Shape::kObject},
                      {"verbosity", Shape::kString},
                      {"reasoning_effort", Shape::kString}},
                     {"frequency_penalty", "presence_penalty", "logit_bias", "tools", "tool_choice", "functions",
                      "function_call", "audio", "web_search_options"});
}

}  // namespace

Status Closeness::take(const Fields& picture) {
  TRY(const std::string detail, picture.string_or("detail", "auto"));
  if (detail != "auto" && detail != "low" && detail != "high")
    return bad_field(picture.place("detail"), "invalid_value", "expected auto, low or high, found '{}'", detail);
  all_low = all_low && detail == "low";
  return {};
}

void Closeness::apply(engine::Request& request) const {
  if (pictures && all_low) request.picture.max_tiles = 1;
}

Status read_content(const Service& service, const Fields& message, const ReadPart& read_part, Closeness& closeness,
                    engine::Request& request) {
  std::vector<engine::Part>& parts = request.messages.back().content;
  const Json* content = message.find("content");
  if (content && content->is_string()) {
    parts.push_back({.text = content->get<std::string>()});
    return {};
  }
  if (!content || !content->is_array()) return message.wrong_type("content", "a string or a list of parts");
  for (size_t k = 0; k < content->size(); ++k) {
    const Fields part((*content)[k], item_of(message.place("content"), k));
    TRY(engine::Part read, read_part(part, closeness));
    closeness.pictures = closeness.pictures || read.image;
    const bool counts = read.kind != engine::Part::Kind::kText;
    parts.push_back(std::move(read));
    if (counts) TRY_STATUS(service.check_pictures(request.messages, item_of(message.place("content"), k)));
  }
  return {};
}

Result<engine::Part> read_image(const Service& service, const std::string& url, std::string_view where,
                                const net::FetchDeadline& deadline) {
  TRY(Picture picture, service.picture_of_url(url, where, deadline));
  return engine::Part{.kind = engine::Part::Kind::kImage, .image = std::move(picture)};
}

Result<std::string> read_role(const Fields& message) {
  TRY(const std::string role, message.string("role"));
  if (role == "developer") return "system";
  if (role != "system" && role != "user" && role != "assistant")
    return bad_field(message.place("role"), "invalid_value",
                     "expected system, developer, user or assistant, found '{}'", role);
  return role;
}

Status read_form(const Fields& format, SchemaPlace place, engine::Request& request) {
  const bool inside = place == SchemaPlace::kInside;
  TRY(const std::string type, format.string("type"));
  if (inside) TRY_STATUS(check_names(format, {"type", "json_schema"}));
  if (!inside) TRY_STATUS(check_names(format, {"type", "name", "schema", "strict", "description"}));
  if (type == "text") return {};
  if (type == "json_object") {
    TRY(request.schema, any_object_schema());
  } else if (type == "json_schema") {
    TRY(const Fields described, inside ? format.object("json_schema") : Result<Fields>(format));
    if (inside) TRY_STATUS(check_names(described, {"name", "schema", "strict", "description"}));
    TRY(request.schema, read_schema(described));
  } else {
    return bad_field(format.place("type"), "invalid_value", "expected text, json_object or json_schema, found '{}'",
                     type);
  }
  if (!request.stop.empty())
    return bad_field("stop", "unsupported_value", "expected none beside {}, it would cut the JSON", type);
  return {};
}

Status read_sampling(const Fields& fields, engine::Sampling& sampling) {
  TRY(const double temperature, fields.number("temperature", 0, 0, 2));
  TRY(const double top_p, fields.number("top_p", 1, 0, 1));
  TRY(const int64_t top_k, fields.integer("top_k", 0, 0, 1'000'000));
  TRY(const double min_p, fields.number("min_p", 0, 0, 1));
  TRY(const double penalty, fields.number("repetition_penalty", 1, 0.01, 10));
  TRY(const int64_t seed, fields.integer("seed", 0, INT64_MIN, INT64_MAX));
  sampling.temperature = static_cast<float>(temperature);
  // Nothing is as little as the most probable token alone.
  sampling.top_p = std::max(static_cast<float>(top_p), 1e-6f);
  sampling.top_k = static_cast<int>(top_k);
  sampling.min_p = static_cast<float>(min_p);
  sampling.repetition_penalty = static_cast<float>(penalty);
  sampling.seed = fields.has("seed") ? static_cast<uint64_t>(seed) : fresh_seed();
  return {};
}

Result<ChatRequest> read_chat(const Service& service, const Json& body, const net::FetchDeadline& deadline) {
  const Fields fields(body, "");
  TRY_STATUS(check_chat_names(fields));
  ChatRequest out;
  engine::Request& request = out.request;
  TRY_STATUS(read_sampling(fields, request.sampling));
  TRY_STATUS(read_stop(fields, request));
  TRY_STATUS(read_logprobs(fields, request));
  TRY(const int64_t choices, fields.integer("n", 1, 1, service.options().max_answers));
  out.choices = static_cast<int>(choices);
  TRY(const int64_t most, fields.integer("max_tokens", 0, 1, INT32_MAX));
  TRY(const int64_t most_too, fields.integer("max_completion_tokens", most, 1, INT32_MAX));
  request.max_tokens = service.tokens(most_too);
  TRY(out.stream, fields.boolean("stream", false));
  if (fields.has("stream_options")) {
    if (!out.stream) return bad_field("stream_options", "invalid_value", "expected stream to be true beside it");
    TRY(const Fields options, fields.object("stream_options"));
    TRY_STATUS(check_names(options, {"include_usage"}, {{"include_obfuscation", Shape::kBoolean}}));
    TRY(out.include_usage, options.boolean("include_usage", false));
  }
  if (const Json* modalities = fields.find("modalities"); modalities && *modalities != Json::array({"text"}))
    return bad_field("modalities", "unsupported_value", "expected [\"text\"]");
  if (fields.has("response_format")) {
    TRY(const Fields format, fields.object("response_format"));
    TRY_STATUS(read_form(format, SchemaPlace::kInside, request));
  }
  TRY(const FrameChoice frames, read_frame_choice(fields));
  TRY_STATUS(read_messages(service, fields, frames, deadline, request));
  TRY(const int64_t tiles, fields.integer("max_tiles", request.picture.max_tiles, 1, 10'000));
  request.picture.max_tiles = static_cast<int>(tiles);
  return out;
}

}  // namespace onsight::server::openai
