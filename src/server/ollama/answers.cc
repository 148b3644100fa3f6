// POST /api/chat and /api/generate.
#include <algorithm>
#include <chrono>
#include <utility>

#include "net/sse.h"
#include "server/logprobs.h"
#include "server/ollama/ollama.h"

namespace onsight::server::ollama {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxStops = 100;

enum class Kind { kChat, kGenerate };

class AnswerWriter : public Writer {
 public:
  AnswerWriter(std::shared_ptr<net::Exchange> exchange, std::string model, Kind kind, bool stream)
      : exchange_(std::move(exchange)), model_(std::move(model)), kind_(kind), stream_(stream) {}

  void begin() override {
    if (stream_) exchange_->start_stream(200, net::ndjson_headers());
  }

  void token(int, const engine::TokenProbability& token, std::span<const engine::TokenProbability> top) override {
    tokens_.push_back(top.empty() ? logprob_object(token) : logprob_object(token, top));
  }

  void text(int, std::string_view piece) override {
    if (!stream_) return;
    Json line = part(piece);
    line["done"] = false;
    exchange_->write(net::ndjson_line(to_text(line)));
  }

  void all_done(std::span<const engine::Reply> replies) override {
    const engine::Reply& reply = replies.front();
    Json last = part(stream_ ? std::string_view() : std::string_view(reply.text));
    last["done"] = true;
    last["done_reason"] = engine::to_string(reply.finish_reason);
    // Nanoseconds.
    const auto ns = [](double ms) { return static_cast<int64_t>(ms * 1e6); };
    last["total_duration"] = std::chrono::nanoseconds(Clock::now() - begun_).count();
    last["load_duration"] = 0;
    last["prompt_eval_count"] = reply.prompt_tokens;
    const engine::Timings& times = reply.timings_ms;
    last["prompt_eval_duration"] = ns(times.preprocess + times.vision + times.prefill);
    last["eval_count"] = reply.completion_tokens;
    last["eval_duration"] = ns(times.decode);
    if (!stream_) return exchange_->respond(json_response(last));
    exchange_->write(net::ndjson_line(to_text(last)));
    exchange_->finish();
  }

  void failed(const Failure& failure) override {
    if (!stream_) return exchange_->respond(error(failure));
    exchange_->write(net::ndjson_line(to_text({{"error", failure.message}})));
    exchange_->finish();
  }

 private:
  Json part(std::string_view text) {
    Json out = {{"model", model_}, {"created_at", time_text(now_seconds())}};
    if (kind_ == Kind::kChat)
      out["message"] = {{"role", "assistant"}, {"content", text}};
    else
      out["response"] = text;
    if (!tokens_.empty()) out["logprobs"] = std::exchange(tokens_, Json::array());
    return out;
  }

  const std::shared_ptr<net::Exchange> exchange_;
  const std::string model_;
  const Kind kind_;
  const bool stream_;
  const Clock::time_point begun_ = Clock::now();
  Json tokens_ = Json::array();  // not yet told
};

Status read_images(const Service& service, const Fields& fields, engine::Message& message) {
  if (!fields.has("images")) return {};
  TRY(const Json* images, fields.array("images"));
  for (size_t i = 0; i < images->size(); ++i) {
    const std::string place = item_of(fields.place("images"), i);
    const Json& image = (*images)[i];
    if (!image.is_string()) return bad_input("{}: expected a picture in base64", place);
    // Some clients leave the head of a data: URL before it.
    const std::string& text = image.get_ref<const std::string&>();
    TRY(Picture picture,
        text.starts_with("data:") ? service.picture_of_url(text, place) : service.picture_of_base64(text, place));
    message.content.push_back({.kind = engine::Part::Kind::kImage, .image = std::move(picture)});
    TRY_STATUS(service.check_pictures({message}, place));
  }
  return {};
}

Status read_options(const Service& service, const Fields& fields, engine::Request& request) {
  const Json nothing = Json::object();
  const Json* found = fields.find("options");
  if (found && !found->is_object()) return bad_input("options: expected an object, found {}", found->type_name());
  const Fields options(found ? *found : nothing, "options");
  engine::Sampling& sampling = request.sampling;
  TRY(const double temperature, options.number("temperature", 0, 0, 10));
  TRY(const double top_p, options.number("top_p", 1, 0, 1));
  TRY(const int64_t top_k, options.integer("top_k", 0, -1, 1'000'000));
  TRY(const double min_p, options.number("min_p", 0, 0, 1));
  TRY(const double penalty, options.number("repeat_penalty", 1, 0.01, 10));
  TRY(const int64_t seed, options.integer("seed", -1, INT64_MIN, INT64_MAX));
  TRY(const int64_t predict, options.integer("num_predict", 0, -2, INT32_MAX));
  for (const std::string_view name : {"frequency_penalty", "presence_penalty"}) {
    TRY(const double value, options.number(name, 0, -1e9, 1e9));
    if (value != 0) return bad_input("{}: expected 0, this server does not support it", options.place(name));
  }
  sampling.temperature = static_cast<float>(temperature);
  sampling.top_p = std::max(static_cast<float>(top_p), 1e-6f);
  sampling.top_k = static_cast<int>(std::max<int64_t>(top_k, 0));
  sampling.min_p = static_cast<float>(min_p);
  sampling.repetition_penalty = static_cast<float>(penalty);
  sampling.seed = seed == -1 ? fresh_seed() : static_cast<uint64_t>(seed);
  // -1 and -2: without a limit of the client's own.
  request.max_tokens = service.tokens(predict < 0 ? INT32_MAX : predict);
  if (const Json* stop = options.find("stop")) {
    const Json list = stop->is_array() ? *stop : Json::array({*stop});
    // Each is looked for at every token.
    if (list.size() > kMaxStops)
      return bad_input("options.stop: expected at most {} texts, found {}", kMaxStops, list.size());
    for (const Json& text : list) {
      if (!text.is_string() || text.get_ref<const std::string&>().empty())
        return bad_input("options.stop: expected a text, or a list of them");
      request.stop.push_back(text.get<std::string>());
    }
  }
  return {};
}

bool is_empty_text(const Json& json) { return json.is_string() && json.get_ref<const std::string&>().empty(); }

Status read_format(const Fields& fields, engine::Request& request) {
  const Json* format = fields.find("format");
  if (!format || is_empty_text(*format)) return {};
  if (*format == "json") {
    TRY(request.schema, any_object_schema());
  } else if (format->is_object()) {
    TRY(request.schema, compile_schema(*format, "format"));
  } else {
    return bad_input("format: expected \"json\" or a JSON schema, found {}", format->type_name());
  }
  if (!request.stop.empty()) return bad_input("options.stop: expected none beside format, it would cut the JSON");
  return {};
}

// Without logprobs, top_logprobs says nothing, as in the original.
Status read_logprobs(const Fields& fields, engine::Request& request) {
  TRY(const bool wanted, fields.boolean("logprobs", false));
  TRY(const int64_t top, fields.integer("top_logprobs", 0, 0, 20));
  if (wanted) request.logprobs = static_cast<int>(top);
  return {};
}

Status refuse_others(const Fields& fields, std::string_view model) {
  if (const Json* tools = fields.find("tools"); tools && !tools->empty())
    return bad_input("{} does not support tools", model);
  if (const Json* think = fields.find("think"); think && *think != false)
    return bad_input("{} does not support thinking", model);
  for (const std::string_view name : {"suffix", "template", "raw"})
    if (const Json* value = fields.find(name); value && !is_empty_text(*value) && *value != false)
      return bad_input("{}: expected nothing, this server does not support it", name);
  return {};
}

Status read_messages(const Service& service, const Fields& fields, engine::Request& request) {
  if (!fields.has("messages")) return {};
  TRY(const Json* messages, fields.array("messages"));
  for (size_t i = 0; i < messages->size(); ++i) {
    const Fields message((*messages)[i], item_of("messages", i));
    engine::Message& out = request.messages.emplace_back();
    TRY(out.role, message.string("role"));
    if (out.role != "system" && out.role != "user" && out.role != "assistant")
      return bad_input("{}: expected system, user or assistant, found '{}'", message.place("role"), out.role);
    TRY_STATUS(read_images(service, message, out));
    if (!out.content.empty()) TRY_STATUS(service.check_pictures(request.messages, message.place("images")));
    TRY(std::string content, message.string_or("content", ""));
    if (!content.empty()) out.content.push_back({.text = std::move(content)});
  }
  return {};
}

Status read_prompt(const Service& service, const Fields& fields, engine::Request& request) {
  TRY(std::string system, fields.string_or("system", ""));
  TRY(std::string prompt, fields.string_or("prompt", ""));
  if (prompt.empty() && !fields.has("images")) return {};
  if (!system.empty()) request.messages.push_back({.role = "system", .content = {{.text = std::move(system)}}});
  engine::Message& out = request.messages.emplace_back();
  TRY_STATUS(read_images(service, fields, out));
  if (!prompt.empty()) out.content.push_back({.text = std::move(prompt)});
  return {};
}

Outcome answer(Call& call, Kind kind) {
  TRY(const Json body, parse_body(call.request.body));
  call.request.body.clear();
  const Fields fields(body, "");
  TRY(const std::string model, fields.string("model"));
  if (!serves(call.service, model)) return tl::unexpected<Failure>(unknown_model(model));
  TRY(const bool stream, fields.boolean("stream", true));
  TRY_STATUS(refuse_others(fields, model));
  engine::Request request;
  TRY_STATUS(read_options(call.service, fields, request));
  TRY_STATUS(read_format(fields, request));
  TRY_STATUS(read_logprobs(fields, request));
  TRY_STATUS(kind == Kind::kChat ? read_messages(call.service, fields, request)
                                 : read_prompt(call.service, fields, request));
  if (request.messages.empty()) {
    // Clients ask for nothing to have the model loaded, which it is.
    Json done = {{"model", model}, {"created_at", time_text(now_seconds())}};
    if (kind == Kind::kChat)
      done["message"] = {{"role", "assistant"}, {"content", ""}};
    else
      done["response"] = "";
    done["done"] = true;
    done["done_reason"] = "load";
    call.exchange->respond(json_response(done));
    return {};
  }
  auto writer = std::make_shared<AnswerWriter>(call.exchange, model, kind, stream);
  return call.service.answer(call.exchange, call.request.peer, {std::move(request)}, std::move(writer));
}

}  // namespace

Outcome chat(Call& call) { return answer(call, Kind::kChat); }
Outcome generate(Call& call) { return answer(call, Kind::kGenerate); }

}  // namespace onsight::server::ollama
