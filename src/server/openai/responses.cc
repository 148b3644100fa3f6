// POST /v1/responses.
#include "net/sse.h"
#include "server/openai/chat_request.h"
#include "server/openai/names.h"
#include "server/openai/openai.h"

namespace onsight::server::openai {
namespace {

Status check_responses_names(const Fields& fields) {
  return check_names(fields,
                     {"model", "input", "instructions", "stream", "temperature", "top_p", "max_output_tokens", "text",
                      "top_k", "min_p", "repetition_penalty", "seed", "truncation", "reasoning", "stream_options"},
                     {{"user", Shape::kString},
                      {"metadata", Shape::kTexts},
                      {"store", Shape::kBoolean},
                      {"service_tier", Shape::kString},
                      {"safety_identifier", Shape::kString},
                      {"prompt_cache_key", Shape::kString},
                      {"prompt_cache_retention", Shape::kString},
                      {"parallel_tool_calls", Shape::kBoolean},
                      {"max_tool_calls", Shape::kInteger}},
                     {"tools", "tool_choice", "previous_response_id", "conversation", "background", "include",
                      "top_logprobs", "prompt"});
}

struct ResponsesRequest {
  engine::Request request;
  bool stream = false;
  Json shown;  // what the response object repeats of the request
};

Result<engine::Part> read_input_part(const Service& service, const Fields& part, Closeness& closeness,
                                     const net::FetchDeadline& deadline) {
  TRY(const std::string type, part.string("type"));
  if (type == "input_text" || type == "output_text") {
    TRY_STATUS(check_names(part, {"type", "text"},
                           {{"annotations", Shape::kList}, {"logprobs", Shape::kList}, {"parsed", Shape::kAny}}));
    TRY(std::string text, part.string("text"));
    return engine::Part{.text = std::move(text)};
  }
  if (type != "input_image")
    return bad_field(part.place("type"), "invalid_value", "expected input_text or input_image, found '{}'", type);
  TRY_STATUS(check_names(part, {"type", "image_url", "detail"}, {}, {"file_id"}));
  TRY_STATUS(closeness.take(part));
  TRY(const std::string url, part.string("image_url"));
  return read_image(service, url, part.place("image_url"), deadline);
}

Status read_items(const Service& service, const Fields& fields, const net::FetchDeadline& deadline,
                  engine::Request& request) {
  const Json* input = fields.find("input");
  if (input && input->is_string()) {
    request.messages.push_back({.content = {{.text = input->get<std::string>()}}});
    return {};
  }
  if (!input || !input->is_array()) return fields.wrong_type("input", "a string or a list of messages");
  if (input->empty()) return bad_field("input", "empty_array", "expected at least one message");
  const auto read_part = [&](const Fields& part, Closeness& closeness) {
    return read_input_part(service, part, closeness, deadline);
  };
  Closeness closeness;
  for (size_t i = 0; i < input->size(); ++i) {
    const Fields item((*input)[i], item_of("input", i));
    if (!item.json().is_object()) return bad_field(item_of("input", i), "invalid_type", "expected an object");
    TRY(const std::string type, item.string_or("type", "message"));
    if (type != "message") return bad_field(item.place("type"), "invalid_value", "expected message, found '{}'", type);
    // An answer comes back as it was told.
    TRY_STATUS(check_names(item, {"type", "role", "content"},
                           {{"id", Shape::kString}, {"status", Shape::kString}, {"phase", Shape::kString}}));
    TRY(request.messages.emplace_back().role, read_role(item));
    TRY_STATUS(read_content(service, item, read_part, closeness, request));
  }
  closeness.apply(request);
  return {};
}

// With the digits that the request has.
Json shown_number(const Fields& fields, std::string_view key, double otherwise) {
  const Json* number = fields.find(key);
  return number ? *number : Json(otherwise);
}

Result<ResponsesRequest> read(const Service& service, const Json& body, const net::FetchDeadline& deadline) {
  const Fields fields(body, "");
  TRY_STATUS(check_responses_names(fields));
  ResponsesRequest out;
  engine::Request& request = out.request;
  TRY_STATUS(read_sampling(fields, request.sampling));
  TRY(out.stream, fields.boolean("stream", false));
  TRY(const int64_t most, fields.integer("max_output_tokens", 0, 1, INT32_MAX));
  request.max_tokens = service.tokens(most);
  TRY(const std::string truncation, fields.string_or("truncation", "disabled"));
  if (truncation != "disabled")
    return bad_field("truncation", "unsupported_value", "expected disabled, found '{}'", truncation);
  TRY(const std::string instructions, fields.string_or("instructions", ""));
  if (!instructions.empty()) request.messages.push_back({.role = "system", .content = {{.text = instructions}}});
  Json format = {{"type", "text"}};
  if (fields.has("stream_options")) {
    TRY(const Fields options, fields.object("stream_options"));
    TRY_STATUS(check_names(options, {}, {{"include_obfuscation", Shape::kBoolean}}));
  }
  if (fields.has("reasoning")) {
    TRY(const Fields reasoning, fields.object("reasoning"));
    TRY_STATUS(
        check_names(reasoning, {},
                    {{"effort", Shape::kString}, {"summary", Shape::kString}, {"generate_summary", Shape::kString}}));
  }
  if (fields.has("text")) {
    TRY(const Fields text, fields.object("text"));
    TRY_STATUS(check_names(text, {"format"}, {{"verbosity", Shape::kString}}));
    if (text.has("format")) {
      TRY(const Fields form, text.object("format"));
      TRY_STATUS(read_form(form, SchemaPlace::kBeside, request));
      format = form.json();
    }
  }
  TRY_STATUS(read_items(service, fields, deadline, request));
  out.shown = {{"instructions", instructions.empty() ? Json(nullptr) : Json(instructions)},
               {"max_output_tokens", fields.has("max_output_tokens") ? Json(most) : Json(nullptr)},
               {"temperature", shown_number(fields, "temperature", 0)},
               {"text", {{"format", format}}},
               {"top_p", shown_number(fields, "top_p", 1)},
               {"metadata", fields.has("metadata") ? *fields.find("metadata") : Json::object()}};
  return out;
}

class ResponsesWriter : public Writer {
 public:
  ResponsesWriter(std::shared_ptr<net::Exchange> exchange, std::string model, ResponsesRequest request)
      : exchange_(std::move(exchange)),
        model_(std::move(model)),
        stream_(request.stream),
        shown_(std::move(request.shown)) {}

  void begin() override {
    if (!stream_) return;
    exchange_->start_stream(200, net::sse_headers());
    send("response.created", {{"response", object("in_progress")}});
    send("response.in_progress", {{"response", object("in_progress")}});
    send("response.output_item.added", {{"output_index", 0}, {"item", item("in_progress", {})}});
    send("response.content_part.added", place({{"part", part("")}}));
  }

  void text(int, std::string_view piece) override {
    if (stream_) send("response.output_text.delta", place({{"delta", piece}, {"logprobs", Json::array()}}));
  }

  void all_done(std::span<const engine::Reply> replies) override {
    const engine::Reply& reply = replies.front();
    const bool whole = reply.finish_reason != engine::FinishReason::kLength;
    const std::string status = whole ? "completed" : "incomplete";
    const Json done = item(status, reply.text);
    Json out = object(status);
    out["output"] = Json::array({done});
    if (!whole) out["incomplete_details"] = {{"reason", "max_output_tokens"}};
    out["usage"] = {{"input_tokens", reply.prompt_tokens},
                    {"input_tokens_details", {{"cached_tokens", reply.reused_tokens}}},
                    {"output_tokens", reply.completion_tokens},
                    {"output_tokens_details", {{"reasoning_tokens", 0}}},
                    {"total_tokens", reply.prompt_tokens + reply.completion_tokens}};
    if (!stream_) return exchange_->respond(json_response(out));
    send("response.output_text.done", place({{"text", reply.text}, {"logprobs", Json::array()}}));
    send("response.content_part.done", place({{"part", part(reply.text)}}));
    send("response.output_item.done", {{"output_index", 0}, {"item", done}});
    send("response." + status, {{"response", out}});
    exchange_->finish();
  }

  void failed(const Failure& failure) override {
    if (!stream_) return exchange_->respond(error(failure));
    Json out = object("failed");
    out["error"] = {{"code", failure.status == 429 ? "rate_limit_exceeded" : "server_error"},
                    {"message", failure.message}};
    send("response.failed", {{"response", out}});
    exchange_->finish();
  }

 private:
  void send(const std::string& type, const Json& more) {
    Json event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(more);
    exchange_->write(net::sse_event(to_text(event), type));
  }
  Json place(const Json& more) const {
    Json out = {{"item_id", item_id_}, {"output_index", 0}, {"content_index", 0}};
    out.update(more);
    return out;
  }
  static Json part(std::string_view text) {
    return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }
  Json item(const std::string& status, std::optional<std::string_view> text) const {
    return {{"type", "message"},
            {"id", item_id_},
            {"status", status},
            {"role", "assistant"},
            {"content", text ? Json::array({part(*text)}) : Json::array()}};
  }
  Json object(const std::string& status) const {
    Json out = {{"id", id_},
                {"object", "response"},
                {"created_at", created_},
                {"status", status},
                {"background", false},
                {"error", nullptr},
                {"incomplete_details", nullptr},
                {"model", model_},
                {"output", Json::array()},
                {"parallel_tool_calls", true},
                {"previous_response_id", nullptr},
                {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
                {"store", false},
                {"tool_choice", "auto"},
                {"tools", Json::array()},
                {"truncation", "disabled"},
                {"usage", nullptr},
                {"user", nullptr}};
    out.update(shown_);
    return out;
  }

  const std::shared_ptr<net::Exchange> exchange_;
  const std::string id_ = fresh_id("resp_"), item_id_ = fresh_id("msg_"), model_;
  const int64_t created_ = now_seconds();
  const bool stream_;
  const Json shown_;
  int sequence_ = 0;
};

Outcome answer_responses(Call& call, const Json& body) {
  TRY(const std::string model, Fields(body, "").string("model"));
  if (!call.service.serves(model)) return tl::unexpected<Failure>(unknown_model(model));
  TRY(ResponsesRequest read_request, read(call.service, body, call.fetch_deadline));
  std::vector<engine::Request> requests = {std::move(read_request.request)};
  auto writer = std::make_shared<ResponsesWriter>(call.exchange, model, std::move(read_request));
  return call.service.answer(call.exchange, call.request.peer, std::move(requests), std::move(writer))
      .map_error([](Failure failure) { return in_words_of_body(std::move(failure), "input", "text.format"); });
}

}  // namespace

Outcome responses(Call& call) { return with_body(call, answer_responses); }

}  // namespace onsight::server::openai
