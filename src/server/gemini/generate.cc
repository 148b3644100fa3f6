// :generateContent, :streamGenerateContent and :countTokens.
#include <algorithm>

#include "net/sse.h"
#include "server/gemini/gemini.h"
#include "server/gemini/generate_request.h"
#include "server/gemini/names.h"

namespace onsight::server::gemini {
namespace {

Json candidate_object(const engine::TokenProbability& token) {
  return {{"token", token.bytes}, {"tokenId", token.token}, {"logProbability", token.logprob}};
}

struct Candidate {
  Json chosen = Json::array(), top = Json::array();  // log probabilities, not yet told
  double logprobs = 0;                               // the sum of all
  int count = 0;
};

std::string_view finish_name(const engine::Reply& reply) {
  return reply.finish_reason == engine::FinishReason::kLength ? "MAX_TOKENS" : "STOP";
}

class GenerateWriter : public Writer {
 public:
  enum class Form { kWhole, kEvents, kList };

  GenerateWriter(std::shared_ptr<net::Exchange> exchange, std::string model, const GenerateRequest& request, Form form)
      : exchange_(std::move(exchange)),
        model_(std::move(model)),
        form_(form),
        logprobs_(request.request.logprobs),
        plain_enum_(request.plain_enum),
        candidates_(static_cast<size_t>(request.candidates)) {}

  void token(int choice, const engine::TokenProbability& token,
             std::span<const engine::TokenProbability> top) override {
    Candidate& candidate = candidates_[static_cast<size_t>(choice)];
    candidate.chosen.push_back(candidate_object(token));
    candidate.logprobs += token.logprob;
    ++candidate.count;
    if (logprobs_ == 0) return;
    Json others = Json::array();
    for (const engine::TokenProbability& other : top) others.push_back(candidate_object(other));
    candidate.top.push_back({{"candidates", std::move(others)}});
  }

  void text(int choice, std::string_view piece) override {
    if (form_ == Form::kWhole || plain_enum_) return;
    Json out = candidate_of(choice, piece);
    send(envelope(std::move(out)));
  }

  void done(int choice, const engine::Reply& reply) override {
    if (form_ == Form::kWhole) return;
    // The last of all is told with what they took.
    if (!last_.is_null()) send(envelope(std::move(last_)));
    last_ = candidate_of(choice, plain_enum_ ? plain(reply.text) : "");
    finish(choice, reply, last_);
  }

  void all_done(std::span<const engine::Reply> replies) override {
    if (form_ != Form::kWhole) {
      Json out = envelope(std::move(last_));
      out["usageMetadata"] = usage_of(replies);
      send(out);
      return end();
    }
    Json list = Json::array();
    for (size_t i = 0; i < replies.size(); ++i) {
      const int choice = static_cast<int>(i);
      list.push_back(candidate_of(choice, plain_enum_ ? plain(replies[i].text) : replies[i].text));
      finish(choice, replies[i], list.back());
    }
    Json out = {{"candidates", std::move(list)}, {"usageMetadata", usage_of(replies)}};
    out["modelVersion"] = model_;
    out["responseId"] = id_;
    exchange_->respond(json_response(out));
  }

  void failed(const Failure& failure) override {
    if (!started_) return exchange_->respond(error(failure));
    send({{"error", error_object(failure)}});
    end();
  }

 private:
  // What the JSON string of an answer says.
  static std::string plain(const std::string& text) {
    const Json value = Json::parse(text, nullptr, false);
    return value.is_string() ? value.get<std::string>() : text;
  }

  Json candidate_of(int choice, std::string_view text) {
    Json out = {{"content", {{"parts", Json::array({{{"text", text}}})}, {"role", "model"}}}, {"index", choice}};
    Candidate& candidate = candidates_[static_cast<size_t>(choice)];
    if (candidate.chosen.empty()) return out;
    out["logprobsResult"] = {{"chosenCandidates", std::exchange(candidate.chosen, Json::array())}};
    if (logprobs_ > 0) out["logprobsResult"]["topCandidates"] = std::exchange(candidate.top, Json::array());
    return out;
  }

  void finish(int choice, const engine::Reply& reply, Json& out) const {
    out["finishReason"] = finish_name(reply);
    const Candidate& candidate = candidates_[static_cast<size_t>(choice)];
    if (candidate.count > 0) out["avgLogprobs"] = candidate.logprobs / candidate.count;
  }

  static Json usage_of(std::span<const engine::Reply> replies) {
    // Each candidate has the same prompt, which is counted once.
    const int prompt = replies.front().prompt_tokens, reused = replies.front().reused_tokens;
    int completion = 0;
    for (const engine::Reply& reply : replies) completion += reply.completion_tokens;
    Json out = {
        {"promptTokenCount", prompt}, {"candidatesTokenCount", completion}, {"totalTokenCount", prompt + completion}};
    if (reused > 0) out["cachedContentTokenCount"] = reused;
    return out;
  }

  Json envelope(Json candidate) const {
    return {{"candidates", Json::array({std::move(candidate)})}, {"modelVersion", model_}, {"responseId", id_}};
  }

  // Begins the stream with the first word, so that what fails before it is answered with a status.
  void send(const Json& chunk) {
    const bool first = !std::exchange(started_, true);
    if (first)
      exchange_->start_stream(
          200, form_ == Form::kEvents ? net::sse_headers() : net::Headers{{"Content-Type", "application/json"}});
    if (form_ == Form::kEvents) return exchange_->write(net::sse_event(to_text(chunk)));
    exchange_->write((first ? "[" : ",\r\n") + to_text(chunk));
  }
  void end() {
    if (form_ == Form::kList) exchange_->write("]");
    exchange_->finish();
  }

  const std::shared_ptr<net::Exchange> exchange_;
  const std::string id_ = fresh_id(""), model_;
  const Form form_;
  const int logprobs_;
  const bool plain_enum_;
  std::vector<Candidate> candidates_;
  bool started_ = false;
  Json last_;  // of a candidate that is done, not yet told
};

Result<Json> read_body(Call& call) {
  TRY(Json body, parse_body(call.request.body));
  call.request.body.clear();
  TRY_STATUS(use_camel_case(body));
  unquote_numbers(body);
  return body;
}

// A request shows pictures or videos, never both.
bool shows_video(const engine::Request& request) {
  return std::any_of(request.messages.begin(), request.messages.end(), [](const engine::Message& message) {
    return std::any_of(message.content.begin(), message.content.end(),
                       [](const engine::Part& part) { return part.kind == engine::Part::Kind::kVideo; });
  });
}

Outcome generate(Call& call, std::string_view method, GenerateWriter::Form form) {
  if (auto found = check_model(call, method); !found) return found;
  tl::expected<GenerateRequest, Failure> read;
  {
    TRY(const Json body, read_body(call));
    read = read_generate(call.service, body, "");
  }
  if (!read) return tl::unexpected<Failure>(read.error());
  std::vector<engine::Request> requests(static_cast<size_t>(read->candidates), read->request);
  for (size_t i = 0; i < requests.size(); ++i) requests[i].sampling.seed += i;
  auto writer = std::make_shared<GenerateWriter>(call.exchange, call.names["model"], *read, form);
  return call.service.answer(call.exchange, call.request.peer, std::move(requests), std::move(writer));
}

}  // namespace

Outcome generate_content(Call& call) { return generate(call, "generateContent", GenerateWriter::Form::kWhole); }

Outcome stream_generate_content(Call& call) {
  const std::string_view alt = call.request.query_value("alt");
  if (!alt.empty() && alt != "sse" && alt != "json")
    return fails(400, fmt::format("alt: expected sse or json, found '{}'", alt));
  return generate(call, "streamGenerateContent",
                  alt == "sse" ? GenerateWriter::Form::kEvents : GenerateWriter::Form::kList);
}

Outcome count_tokens(Call& call) {
  if (auto found = check_model(call, "countTokens"); !found) return found;
  TRY(const Json body, read_body(call));
  const Fields fields(body, "");
  TRY_STATUS(check_names(fields, {"model", "contents", "generateContentRequest"}, {}, {}));
  const bool nested = fields.has("generateContentRequest");
  if (nested && fields.has("contents"))
    return fails(400, "generateContentRequest: expected it or contents, found both");
  const auto read = read_generate(call.service, nested ? *fields.find("generateContentRequest") : body,
                                  nested ? "generateContentRequest" : "");
  if (!read) return tl::unexpected<Failure>(read.error());
  const auto found = call.service.estimate(read->request, 1);
  if (!found) return tl::unexpected<Failure>(found.error());
  Json details = Json::array({{{"modality", "TEXT"}, {"tokenCount", found->prompt_tokens - found->image_tokens}}});
  if (found->image_tokens > 0)
    details.push_back(
        {{"modality", shows_video(read->request) ? "VIDEO" : "IMAGE"}, {"tokenCount", found->image_tokens}});
  call.exchange->respond(json_response({{"totalTokens", found->prompt_tokens}, {"promptTokensDetails", details}}));
  return {};
}

}  // namespace onsight::server::gemini
