// What a request to a model may cost, and what an answer says that it did: the usage fields of three protocols, read
// out of JSON and event streams as they come.
//
//   TRY(ModelRequest wanted, read_model_request(Protocol::kAnthropic, path, body));
//   UsageMeter meter(Protocol::kAnthropic, /*events=*/true);
//   meter.feed(bytes); … meter.finish();
//   cost_of(meter.usage(), *price_of(provider, wanted.model));
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agents/config/config.h"
#include "base/result.h"

namespace onsight::agents::broker {

enum class Protocol { kNone, kAnthropic, kOpenAi, kGemini };
Protocol protocol_of(std::string_view name);

// kRefused: what the provider offers beside, which would cost what nobody counts (batches, files, training, voices).
enum class Endpoint { kMetered, kFree, kRefused };
// `path` behind the provider's own, decoded: "/v1/messages".
Endpoint endpoint_of(Protocol protocol, std::string_view method, std::string_view path);

struct ModelRequest {
  std::string model;
  bool stream = false;
  std::optional<int64_t> max_output;  // tokens of one answer
  int64_t answers = 1;                // asked for at once
  int64_t references = 0;             // to what lies with the provider: a file, an earlier answer, a cache
  bool asks_for_usage = false, has_stream_options = false;  // of OpenAI's chat
};
// Refuses what is no JSON object, and a name that counts here standing there twice: two programs would read two
// requests.
Result<ModelRequest> read_model_request(Protocol protocol, std::string_view path, std::string_view body);

// What is reserved for the input, in tokens. Half its bytes: texts have 3 to 4 bytes a token, code and escaped
// JSON 2.5, and what the body does not hold itself counts 100,000 each. Text made to be dear can have one byte a token;
// what that takes beyond the reservation is settled by the usage, so it exceeds a cap by one round of requests, never
// by two.
int64_t input_bound(const ModelRequest& request, size_t body_bytes);

struct Usage {
  int64_t input = 0, output = 0;                                  // all of them
  int64_t cache_read = 0, cache_write = 0, cache_write_long = 0;  // of the input
  bool seen = false;                                              // at least one usage field
  bool final = false;                                             // the one that the protocol ends with
};

// Micro-dollars, rounded up. Cached input costs what the price says, or as other input where it says nothing; written
// to a cache it costs a quarter more, or twice as much for a cache of an hour, which is what Anthropic asks.
int64_t cost_of(const Usage& usage, const config::Provider::Price& price);
// The longest that the model's name begins with; null without one.
const config::Provider::Price* price_of(const config::Provider& provider, std::string_view model);

class UsageMeter {
 public:
  UsageMeter(Protocol protocol, bool events) : protocol_(protocol), events_(events) {}
  void feed(std::string_view bytes);
  void finish();
  const Usage& usage() const { return usage_; }
  // Tokens of the answer so far: by its usage fields, or a token for four bytes of text, whichever is more.
  int64_t output_so_far() const;

 private:
  void feed_events(std::string_view bytes);
  void feed_json(std::string_view bytes);
  void take_line(std::string_view line);
  void take_value(std::string_view json);

  Protocol protocol_;
  bool events_;
  Usage usage_;
  int64_t text_bytes_ = 0;
  // Of event streams: the line and the event that are not whole yet. Of JSON: the object that is not.
  std::string line_, value_;
  bool too_long_ = false, after_cr_ = false;
  bool in_string_ = false, escaped_ = false, in_array_ = false;
  int depth_ = 0;
};

}  // namespace onsight::agents::broker
