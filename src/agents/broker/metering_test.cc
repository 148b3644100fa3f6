#include "agents/broker/metering.h"

#include <gtest/gtest.h>

#include "agents/broker/replacer.h"

namespace onsight::agents::broker {
namespace {

// Shaped as the providers' documents describe their answers.
constexpr std::string_view kAnthropicEvents =
    "event: message_start\n"
    R"(data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":100},"output_tokens":1}}})"
    "\n\nevent: content_block_start\n"
    R"(data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})"
    "\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: content_block_delta\n"
    R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello \"usage\" world"}})"
    "\n\nevent: content_block_delta\n"
    R"(data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"usage\": {\"output_tokens\": 99999}}"}})"
    "\n\nevent: message_delta\n"
    R"(data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}})"
    "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

constexpr std::string_view kResponsesEvents =
    "event: response.created\n"
    R"(data: {"type":"response.created","response":{"id":"resp_1","status":"in_progress","usage":null}})"
    "\n\nevent: response.output_text.delta\n"
    R"(data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Hi there"})"
    "\n\nevent: response.completed\n"
    R"(data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":37,"input_tokens_details":{"cached_tokens":11},"output_tokens":120,"output_tokens_details":{"reasoning_tokens":100},"total_tokens":157}}})"
    "\n\n";

constexpr std::string_view kChatEvents =
    R"(data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}],"usage":null})"
    "\n\n"
    R"(data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}],"usage":null})"
    "\n\n"
    R"(data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4}}})"
    "\n\ndata: [DONE]\n\n";

constexpr std::string_view kGeminiEvents =
    R"(data: {"candidates":[{"content":{"parts":[{"text":"One"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":8,"totalTokenCount":60,"thoughtsTokenCount":50},"modelVersion":"gemini-2.5-pro"})"
    "\r\n\r\n"
    R"(data: {"candidates":[{"content":{"parts":[{"text":" two"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":8,"candidatesTokenCount":30,"cachedContentTokenCount":3,"toolUsePromptTokenCount":2,"totalTokenCount":90,"thoughtsTokenCount":52}})"
    "\r\n\r\n";

constexpr std::string_view kGeminiArray =
    R"([{"candidates":[{"content":{"parts":[{"text":"One }] \" {"}]}}],"usageMetadata":{"promptTokenCount":8}}
,
{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":8,"candidatesTokenCount":30}}
])";

Usage metered(Protocol protocol, bool events, std::string_view text, size_t at_once) {
  UsageMeter meter(protocol, events);
  for (size_t i = 0; i < text.size(); i += at_once) meter.feed(text.substr(i, at_once));
  meter.finish();
  return meter.usage();
}

TEST(Metering, StreamsOfAllProviders) {
  for (const size_t at_once : {size_t{1}, size_t{2}, size_t{7}, size_t{100}, size_t{1} << 20}) {
    const Usage anthropic = metered(Protocol::kAnthropic, true, kAnthropicEvents, at_once);
    EXPECT_TRUE(anthropic.final);
    EXPECT_EQ(anthropic.input, 1325);
    EXPECT_EQ(anthropic.cache_read, 1000);
    EXPECT_EQ(anthropic.cache_write, 200);
    EXPECT_EQ(anthropic.cache_write_long, 100);
    EXPECT_EQ(anthropic.output, 15);
    const Usage responses = metered(Protocol::kOpenAi, true, kResponsesEvents, at_once);
    EXPECT_TRUE(responses.final);
    EXPECT_EQ(responses.input, 37);
    EXPECT_EQ(responses.cache_read, 11);
    EXPECT_EQ(responses.output, 120);
    const Usage chat = metered(Protocol::kOpenAi, true, kChatEvents, at_once);
    EXPECT_TRUE(chat.final);
    EXPECT_EQ(chat.input, 9);
    EXPECT_EQ(chat.output, 12);
    const Usage gemini = metered(Protocol::kGemini, true, kGeminiEvents, at_once);
    EXPECT_TRUE(gemini.final);
    EXPECT_EQ(gemini.input, 10);
    EXPECT_EQ(gemini.cache_read, 3);
    EXPECT_EQ(gemini.output, 82);
    const Usage array = metered(Protocol::kGemini, false, kGeminiArray, at_once);
    EXPECT_TRUE(array.final);
    EXPECT_EQ(array.input, 8);
    EXPECT_EQ(array.output, 30);
  }
}

TEST(Metering, WholeAnswers) {
  const Usage anthropic = metered(
      Protocol::kAnthropic, false,
      R"({"type":"message","content":[{"type":"text","text":"}{\"usage\":{}"}],"usage":{"input_tokens":3,"output_tokens":4}})",
      5);
  EXPECT_TRUE(anthropic.final);
  EXPECT_EQ(anthropic.input, 3);
  EXPECT_EQ(anthropic.output, 4);
  EXPECT_EQ(metered(Protocol::kOpenAi, false, R"({"usage":{"input_tokens":3,"output_tokens":4}})", 5).output, 4);
  EXPECT_EQ(metered(Protocol::kOpenAi, false, R"({"usage":{"prompt_tokens":3}})", 5).input, 3);
  EXPECT_EQ(metered(Protocol::kGemini, false,
                    R"({"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}})", 5)
                .input,
            3);
}

TEST(Metering, CutOffStreamsAreNotFinal) {
  const Usage usage =
      metered(Protocol::kAnthropic, true, kAnthropicEvents.substr(0, kAnthropicEvents.find("event: message_delta")), 9);
  EXPECT_TRUE(usage.seen);
  EXPECT_FALSE(usage.final);
  EXPECT_EQ(usage.input, 1325);
  EXPECT_EQ(usage.output, 1);
  UsageMeter meter(Protocol::kAnthropic, true);
  for (int i = 0; i < 100; ++i)
    meter.feed(
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"twelve bytes\"}}\n\n");
  EXPECT_EQ(meter.output_so_far(), 300);
}

TEST(Metering, HostileAnswersCountNothingStrange) {
  for (const char* text :
       {R"({"usage":{"input_tokens":-5,"output_tokens":-1}})", R"({"usage":{"input_tokens":"5"}})", R"({"usage":[1]})",
        R"({"usage":5})", R"({"usage":{"input_tokens":)", "]]]]", "{{{{", "\"usage", "[[[]]]"}) {
    const Usage usage = metered(Protocol::kAnthropic, false, text, 1);
    EXPECT_EQ(usage.input, 0) << text;
    EXPECT_EQ(usage.output, 0) << text;
  }
  EXPECT_EQ(metered(Protocol::kAnthropic, false,
                    R"({"usage":{"input_tokens":1e300,"output_tokens":99999999999999999999}})", 1)
                .input,
            1'000'000'000);
}

TEST(Metering, RequestsAreRead) {
  const auto anthropic = read_model_request(
      Protocol::kAnthropic, "/v1/messages",
      R"({"model":"claude-x","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"{\"model\":1}"}]}]})");
  ASSERT_TRUE(anthropic);
  EXPECT_EQ(anthropic->model, "claude-x");
  EXPECT_EQ(anthropic->max_output, 1000);
  EXPECT_TRUE(anthropic->stream);
  EXPECT_EQ(anthropic->references, 0);
  const auto openai = read_model_request(
      Protocol::kOpenAi, "/v1/chat/completions",
      R"({"model":"gpt","n":3,"max_completion_tokens":5,"max_tokens":7,"stream_options":{"include_usage":true}})");
  ASSERT_TRUE(openai);
  EXPECT_EQ(openai->answers, 3);
  EXPECT_EQ(openai->max_output, 7);
  EXPECT_TRUE(openai->asks_for_usage);
  const auto gemini = read_model_request(
      Protocol::kGemini, "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
      R"({"generationConfig":{"maxOutputTokens":99,"candidateCount":2},"contents":[{"parts":[{"fileData":{"fileUri":"x"}}]}]})");
  ASSERT_TRUE(gemini);
  EXPECT_EQ(gemini->model, "gemini-2.5-pro");
  EXPECT_TRUE(gemini->stream);
  EXPECT_EQ(gemini->max_output, 99);
  EXPECT_EQ(gemini->answers, 2);
  EXPECT_EQ(gemini->references, 1);
  EXPECT_GT(input_bound(*gemini, 100), 100'000);
  EXPECT_FALSE(read_model_request(Protocol::kAnthropic, "/v1/messages", R"({"max_tokens":1})"));
}

// Of two values under one name the provider may take the other.
TEST(Metering, AmbiguousRequestsAreRefused) {
  for (const char* bad :
       {R"({"model":"a","max_tokens":1,"max_tokens":64000})", R"({"model":"a","model":"b"})",
        R"({"model":"a","\u006dax_tokens":1,"max_tokens":2})", R"({"model":["a"]})", R"({"model":{"a":1}})",
        R"({"model":"a","max_tokens":"5"})", R"({"model":"a","max_tokens":-1})", R"({"model":"a","max_tokens":1e30})",
        R"({"model":"a","max_tokens":[1]})", R"({"model":"a","stream":"true"})", R"([{"model":"a"}])",
        R"({"model":"a"} {"model":"b"})", R"({"model":"a",})", "", "null", "\xff"}) {
    const auto read = read_model_request(Protocol::kAnthropic, "/v1/messages", bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().reason, "bad_request") << bad;
  }
  EXPECT_FALSE(
      read_model_request(Protocol::kGemini, "/models/m:generateContent",
                         R"({"generationConfig":{"maxOutputTokens":1},"generation_config":{"maxOutputTokens":9}})"));
  EXPECT_FALSE(read_model_request(Protocol::kGemini, "/models/m:generateContent",
                                  R"({"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}})"));
}

// Through the provider's own servers an agent would reach any host.
TEST(Metering, RequestsThatLeadElsewhereAreRefused) {
  for (const auto& [protocol, bad] :
       {std::pair(Protocol::kAnthropic, R"({"model":"a","mcp_servers":[{"type":"url","url":"https://evil.test"}]})"),
        std::pair(Protocol::kAnthropic, R"({"model":"a","tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]})"),
        std::pair(Protocol::kOpenAi,
                  R"({"model":"a","tools":[{"type":"mcp","server_label":"x","server_url":"https://evil.test"}]})"),
        std::pair(Protocol::kGemini, R"({"tools":[{"urlContext":{}}]})"),
        std::pair(Protocol::kGemini, R"({"tools":[{"url_context":{}}]})"),
        std::pair(Protocol::kOpenAi, R"({"model":"a","background":true})")}) {
    const auto read = read_model_request(protocol, "/models/m:generateContent", bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().reason, "not_allowed") << bad;
  }
}

TEST(Metering, EndpointsThatNobodyCountsAreRefused) {
  const auto is = [](Protocol protocol, std::string_view method, std::string_view path) {
    return endpoint_of(protocol, method, path);
  };
  EXPECT_EQ(is(Protocol::kAnthropic, "POST", "/v1/messages"), Endpoint::kMetered);
  EXPECT_EQ(is(Protocol::kAnthropic, "POST", "/v1/messages/count_tokens"), Endpoint::kFree);
  EXPECT_EQ(is(Protocol::kAnthropic, "GET", "/v1/models"), Endpoint::kFree);
  EXPECT_EQ(is(Protocol::kAnthropic, "POST", "/v1/messages/batches"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kAnthropic, "POST", "/v1/messages/"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kAnthropic, "GET", "/v1/organizations/api_keys"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kOpenAi, "POST", "/responses"), Endpoint::kMetered);
  EXPECT_EQ(is(Protocol::kOpenAi, "POST", "/v1/chat/completions"), Endpoint::kMetered);
  EXPECT_EQ(is(Protocol::kOpenAi, "POST", "/v1/files"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kOpenAi, "POST", "/v1/realtime/sessions"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kGemini, "POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent"), Endpoint::kMetered);
  EXPECT_EQ(is(Protocol::kGemini, "POST", "/v1beta/models/gemini-2.5-pro:countTokens"), Endpoint::kFree);
  EXPECT_EQ(is(Protocol::kGemini, "POST", "/v1beta/models/x:predictLongRunning"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kGemini, "POST", "/v1beta/tunedModels/x:generateContent"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kGemini, "POST", "/v1beta/cachedContents"), Endpoint::kRefused);
  EXPECT_EQ(is(Protocol::kNone, "PATCH", "/whatever"), Endpoint::kMetered);
  EXPECT_EQ(is(Protocol::kNone, "TRACE", "/whatever"), Endpoint::kRefused);
}

TEST(Metering, Prices) {
  config::Provider provider;
  provider.prices = {{"", 1'000'000, 2'000'000, 0}, {"claude-sonnet", 3'000'000, 15'000'000, 300'000}};
  EXPECT_EQ(price_of(provider, "claude-sonnet-4-5")->out, 15'000'000);
  EXPECT_EQ(price_of(provider, "other")->out, 2'000'000);
  Usage usage = metered(Protocol::kAnthropic, true, kAnthropicEvents, 100);
  // 25 × 3 + 1000 × 0.3 + 200 × 3.75 + 100 × 6 + 15 × 15 = 75 + 300 + 750 + 600 + 225
  EXPECT_EQ(cost_of(usage, *price_of(provider, "claude-sonnet-4-5")), 1950);
  usage = {};
  usage.output = 1;
  EXPECT_EQ(cost_of(usage, provider.prices[1]), 15);
  EXPECT_EQ(cost_of(usage, {"", 0, 1, 0}), 1);  // rounded up
  usage.input = usage.output = usage.cache_read = INT64_MAX;
  EXPECT_GT(cost_of(usage, {"", INT64_MAX, INT64_MAX, INT64_MAX}), 0);
  provider.prices.erase(provider.prices.begin());
  EXPECT_EQ(price_of(provider, "other"), nullptr);
}

TEST(Replacer, FindsWhatIsSplit) {
  for (const std::string& needle :
       {std::string("sk-key"), std::string("aab"), std::string("aaaa"), std::string("x"), std::string("abab")})
    for (const std::string& text : {fmt::format("no{0}yes{0}{0}end", needle), std::string("aaabaabaaab"),
                                    needle.substr(0, needle.size() - 1), std::string("ababababaab"), std::string()}) {
      std::string expected = text;
      for (size_t at = 0; (at = expected.find(needle, at)) != std::string::npos; ++at)
        expected = fmt::format("{}#{}", expected.substr(0, at), expected.substr(at + needle.size()));
      for (size_t at_once = 1; at_once <= text.size() + 1; ++at_once) {
        Replacer replacer(needle, "#");
        std::string out;
        for (size_t i = 0; i < text.size(); i += at_once) replacer.feed(std::string_view(text).substr(i, at_once), out);
        replacer.finish(out);
        EXPECT_EQ(out, expected) << needle << " in " << text << " by " << at_once;
      }
    }
}

TEST(Replacer, HoldsBackOnlyWhatMayBegin) {
  Replacer replacer("sk-secret", "#");
  std::string out;
  replacer.feed("data: hello\n\n", out);
  EXPECT_EQ(out, "data: hello\n\n");
  replacer.feed("s", out);
  EXPECT_EQ(out, "data: hello\n\n");
  replacer.feed("o", out);
  EXPECT_EQ(out, "data: hello\n\nso");
}

}  // namespace
}  // namespace onsight::agents::broker
