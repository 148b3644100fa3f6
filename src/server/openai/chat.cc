// POST /v1/chat/completions and /v1/estimate.
#include "net/sse.h"
#include "server/logprobs.h"
#include "server/openai/chat_request.h"
#include "server/openai/openai.h"

namespace onsight::server::openai {
namespace {

Json usage_object(std::span<const engine::Reply> replies) {
  // Each choice has the same prompt, which is counted once.
  const int prompt = replies.front().prompt_tokens;
  int completion = 0;
  for (const engine::Reply& reply : replies) completion += reply.completion_tokens;
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", replies.front().reused_tokens}}}};
}

class ChatWriter : public Writer {
 public:
  ChatWriter(std::shared_ptr<net::Exchange> exchange, std::string model, const ChatRequest& request)
      : exchange_(std::move(exchange)),
        model_(std::move(model)),
        stream_(request.stream),
        include_usage_(request.include_usage),
        logprobs_(request.request.logprobs >= 0),
        tokens_(static_cast<size_t>(request.choices), Json::array()) {}

  void begin() override {
    if (!stream_) return;
    exchange_->start_stream(200, net::sse_headers());
    for (size_t i = 0; i < tokens_.size(); ++i)
      send_choice(static_cast<int>(i), {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr);
  }

  void token(int choice, const engine::TokenProbability& token,
             std::span<const engine::TokenProbability> top) override {
    tokens_[static_cast<size_t>(choice)].push_back(logprob_object(token, top));
  }

  void text(int choice, std::string_view piece) override {
    if (stream_) send_choice(choice, {{"content", piece}}, take_logprobs(choice), nullptr);
  }

  void done(int choice, const engine::Reply& reply) override {
    if (stream_) send_choice(choice, Json::object(), take_logprobs(choice), engine::to_string(reply.finish_reason));
  }

  void all_done(std::span<const engine::Reply> replies) override {
    if (stream_) {
      if (include_usage_) {
        Json last = envelope("chat.completion.chunk");
        last["choices"] = Json::array();
        last["usage"] = usage_object(replies);
        send(last);
      }
      exchange_->write(net::sse_event("[DONE]"));
      exchange_->finish();
      return;
    }
    Json out = envelope("chat.completion");
    out["choices"] = Json::array();
    for (size_t i = 0; i < replies.size(); ++i)
      out["choices"].push_back(
          {{"index", i},
           {"message", {{"role", "assistant"}, {"content", replies[i].text}, {"refusal", nullptr}}},
           {"logprobs", take_logprobs(static_cast<int>(i))},
           {"finish_reason", engine::to_string(replies[i].finish_reason)}});
    out["usage"] = usage_object(replies);
    exchange_->respond(json_response(out));
  }

  void failed(const Failure& failure) override {
    if (!stream_) return exchange_->respond(error(failure));
    send({{"error", error_object(failure)}});
    exchange_->finish();
  }

 private:
  Json envelope(std::string_view object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}, {"system_fingerprint", nullptr}};
  }
  void send(const Json& chunk) { exchange_->write(net::sse_event(to_text(chunk))); }

  void send_choice(int choice, Json delta, Json logprobs, Json finish_reason) {
    Json chunk = envelope("chat.completion.chunk");
    chunk["choices"] = Json::array({{{"index", choice},
                                     {"delta", std::move(delta)},
                                     {"logprobs", std::move(logprobs)},
                                     {"finish_reason", std::move(finish_reason)}}});
    if (include_usage_) chunk["usage"] = nullptr;
    send(chunk);
  }

  Json take_logprobs(int choice) {
    if (!logprobs_) return nullptr;
    Json content = std::move(tokens_[static_cast<size_t>(choice)]);
    tokens_[static_cast<size_t>(choice)] = Json::array();
    if (stream_ && content.empty()) return nullptr;
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }

  const std::shared_ptr<net::Exchange> exchange_;
  const std::string id_ = fresh_id("chatcmpl-"), model_;
  const int64_t created_ = now_seconds();
  const bool stream_, include_usage_, logprobs_;
  std::vector<Json> tokens_;  // of each choice, not yet told
};

Outcome answer_chat(Call& call, const Json& body) {
  TRY(const std::string model, Fields(body, "").string("model"));
  if (!call.service.serves(model)) return tl::unexpected<Failure>(unknown_model(model));
  TRY(const ChatRequest chat, read_chat(call.service, body, call.fetch_deadline));
  std::vector<engine::Request> requests(static_cast<size_t>(chat.choices), chat.request);
  for (size_t i = 0; i < requests.size(); ++i) requests[i].sampling.seed += i;
  auto writer = std::make_shared<ChatWriter>(call.exchange, model, chat);
  return call.service.answer(call.exchange, call.request.peer, std::move(requests), std::move(writer))
      .map_error([](Failure failure) { return in_words_of_body(std::move(failure), "messages", "response_format"); });
}

Outcome answer_estimate(Call& call, const Json& body) {
  TRY(const std::string model, Fields(body, "").string("model"));
  if (!call.service.serves(model)) return tl::unexpected<Failure>(unknown_model(model));
  TRY(const ChatRequest chat, read_chat(call.service, body, call.fetch_deadline));
  const auto found = call.service.estimate(chat.request, chat.choices);
  if (!found) return tl::unexpected<Failure>(in_words_of_body(found.error(), "messages", "response_format"));
  const double wait_ms = call.service.activity().wait_ms;
  call.exchange->respond(json_response({{"object", "estimate"},
                                        {"model", model},
                                        {"prompt_tokens", found->prompt_tokens},
                                        {"image_tokens", found->image_tokens},
                                        {"tiles", found->tiles},
                                        {"max_tokens", found->max_tokens},
                                        {"wait_seconds", wait_ms / 1e3},
                                        {"first_token_seconds", found->first_token_ms / 1e3},
                                        {"token_seconds", found->token_ms / 1e3},
                                        {"memory_bytes", found->memory_bytes}}));
  return {};
}

}  // namespace

Outcome chat_completions(Call& call) { return with_body(call, answer_chat); }
Outcome estimate(Call& call) { return with_body(call, answer_estimate); }

}  // namespace onsight::server::openai
