#include "agents/broker/metering.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "base/json.h"

namespace onsight::agents::broker {
namespace {

constexpr size_t kMaxValue = 16 << 20;  // of one event or object: the last of a long answer repeats all of it
constexpr int64_t kMaxTokens = 1'000'000'000, kMaxPrice = 1'000'000'000;
constexpr int64_t kTokensOfReference = 100'000, kMaxReferences = 50;
constexpr int64_t kBytesOfToken = 4;
constexpr std::string_view kModels = "/models/";

tl::unexpected<Error> request_error(std::string_view reason, std::string message) {
  return tl::unexpected<Error>(Error{ErrorCode::kBadInput, std::move(message), {}, reason});
}

// Behind "/v1", "/v1beta" or "/v1alpha", which base URLs have or have not.
std::string_view without_version(std::string_view path) {
  for (const std::string_view version : {"/v1beta/", "/v1alpha/", "/v1/"})
    if (path.starts_with(version)) return path.substr(version.size() - 1);
  return path;
}

bool one_segment(std::string_view text) { return !text.empty() && text.find('/') == std::string_view::npos; }

// Looks at a request as it is parsed: nothing of it is kept but what counts, however large it is.
class RequestSax : public nlohmann::json_sax<Json> {
 public:
  RequestSax(Protocol protocol, ModelRequest& out) : protocol_(protocol), out_(out) {}
  const std::string& error() const { return error_; }
  std::string_view reason() const { return reason_; }
  bool is_object() const { return object_; }

  bool null() override { return value_done(); }
  bool boolean(bool value) override {
    const std::string_view name = counted();
    if (name == "stream") out_.stream = value;
    if (name == "include_usage") out_.asks_for_usage = value;
    if (name == "background" && value)
      return fail("not_allowed", "a request in the background is not let through: what it costs is not in its answer");
    if (name == "model" || is_count(name)) return wrong_type(name);
    return value_done();
  }
  bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }
  bool string(string_t& value) override {
    const std::string_view name = counted();
    if (name == "model") out_.model = value;
    if (name == "stream" || name == "include_usage" || name == "background" || is_count(name)) return wrong_type(name);
    look_for_reference(value);
    if (in_tools() && keys_.back() == "type" &&
        (value == "mcp" || value.starts_with("web_fetch") || value == "url_context"))
      return leads_elsewhere();
    return value_done();
  }
  bool binary(binary_t&) override { return value_done(); }
  bool start_object(std::size_t) override {
    if (keys_.empty()) object_ = true;
    if (counted() == "model" || counted() == "stream" || is_count(counted())) return wrong_type(counted());
    keys_.emplace_back();
    return true;
  }
  bool key(string_t& value) override {
    keys_.back() = value;
    if (keys_.size() == 1 && (value == "mcp_servers" || value == "mcpServers")) return leads_elsewhere();
    if (in_tools() && (value == "server_url" || value == "url_context" || value == "urlContext"))
      return leads_elsewhere();
    if (keys_.size() == 1 && value == "stream_options") out_.has_stream_options = true;
    const std::string_view name = counted();
    if (!name.empty() && !seen_.insert(std::string(name)).second)
      return fail("bad_request", fmt::format("the request: expected '{}' once", name));
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return value_done();
  }
  bool start_array(std::size_t) override {
    if (counted() == "model" || counted() == "stream" || is_count(counted())) return wrong_type(counted());
    keys_.emplace_back("[");
    return true;
  }
  bool end_array() override {
    keys_.pop_back();
    return value_done();
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return fail("bad_request", "the request: expected valid JSON");
  }

 private:
  static bool value_done() { return true; }

  bool fail(std::string_view reason, std::string message) {
    if (error_.empty()) {
      error_ = std::move(message);
      reason_ = reason;
    }
    return false;
  }
  bool wrong_type(std::string_view name) {
    return fail("bad_request", fmt::format("the request: '{}' is of another kind than was expected", name));
  }
  bool leads_elsewhere() {
    return fail("not_allowed", "the request asks the provider to go to other hosts, which is not let through");
  }

  bool in_tools() const { return keys_.size() >= 3 && keys_[0] == "tools"; }

  // The name under which the value that comes now counts; both spellings of Gemini's count as one.
  std::string_view counted() const {
    if (keys_.size() == 1) {
      const std::string& key = keys_[0];
      if (key == "model" || key == "stream") return key;
      if (protocol_ == Protocol::kAnthropic && key == "max_tokens") return key;
      if (protocol_ == Protocol::kOpenAi &&
          (key == "max_tokens" || key == "max_completion_tokens" || key == "max_output_tokens" || key == "n" ||
           key == "best_of" || key == "background" || key == "stream_options"))
        return key;
      if (protocol_ == Protocol::kGemini && (key == "generationConfig" || key == "generation_config"))
        return "generation_config";
    }
    if (keys_.size() != 2) return {};
    if (protocol_ == Protocol::kOpenAi && keys_[0] == "stream_options" && keys_[1] == "include_usage")
      return "include_usage";
    if (protocol_ != Protocol::kGemini || (keys_[0] != "generationConfig" && keys_[0] != "generation_config"))
      return {};
    if (keys_[1] == "maxOutputTokens" || keys_[1] == "max_output_tokens") return "max_output_tokens";
    if (keys_[1] == "candidateCount" || keys_[1] == "candidate_count") return "n";
    return {};
  }

  static bool is_limit(std::string_view name) {
    return name == "max_tokens" || name == "max_completion_tokens" || name == "max_output_tokens";
  }
  static bool is_count(std::string_view name) { return is_limit(name) || name == "n" || name == "best_of"; }

  bool number(double value) {
    const std::string_view name = counted();
    if (name == "model" || name == "stream" || name == "include_usage" || name == "background") return wrong_type(name);
    if (!is_count(name)) return value_done();
    if (!(value >= 0) || value > static_cast<double>(kMaxTokens))
      return fail("bad_request", fmt::format("the request: expected '{}' from 0 to {}", name, kMaxTokens));
    const auto whole = static_cast<int64_t>(std::ceil(value));
    if (is_limit(name))
      out_.max_output = std::max(whole, out_.max_output.value_or(0));
    else
      out_.answers = std::max<int64_t>({1, whole, out_.answers});
    return value_done();
  }

  void look_for_reference(std::string_view value) {
    constexpr std::array<std::string_view, 8> kAlways = {
        "file_id",      "fileUri",       "file_uri",      "file_url", "previous_response_id",
        "conversation", "cachedContent", "cached_content"};
    if (keys_.empty()) return;
    const std::string& key = keys_.back();
    const bool always = std::find(kAlways.begin(), kAlways.end(), key) != kAlways.end();
    const bool link = (key == "url" || key == "image_url") && value.starts_with("http");
    if (always || link) out_.references = std::min(out_.references + 1, kMaxReferences);
  }

  Protocol protocol_;
  ModelRequest& out_;
  std::vector<std::string> keys_;  // of the objects around; "[" of lists
  std::set<std::string> seen_;
  std::string error_;
  std::string_view reason_;
  bool object_ = false;
};

int64_t count_in(const Json& object, std::string_view name) {
  if (!object.is_object()) return 0;
  const auto at = object.find(name);
  if (at == object.end() || !at->is_number()) return 0;
  const double value = at->get<double>();
  return value > 0 ? static_cast<int64_t>(std::min(value, static_cast<double>(kMaxTokens))) : 0;
}

const Json& member(const Json& object, std::string_view name) {
  static const Json kNothing;
  if (!object.is_object()) return kNothing;
  const auto at = object.find(name);
  return at == object.end() ? kNothing : *at;
}

bool has_type(const Json& object, std::string_view type) {
  const Json& value = member(object, "type");
  return value.is_string() && value.get_ref<const std::string&>() == type;
}

// Counts only ever grow: what an answer said once is not taken back.
void raise_count(int64_t& to, int64_t value) { to = std::max(to, value); }

void take_anthropic(const Json& json, Usage& out) {
  const bool start = has_type(json, "message_start");
  const Json& usage = start ? member(member(json, "message"), "usage") : member(json, "usage");
  if (!usage.is_object()) return;
  out.seen = true;
  out.final = out.final || !start;
  const Json& writes = member(usage, "cache_creation");
  const int64_t written = count_in(usage, "cache_creation_input_tokens");
  const int64_t written_long = std::min(written, count_in(writes, "ephemeral_1h_input_tokens"));
  raise_count(out.cache_read, count_in(usage, "cache_read_input_tokens"));
  raise_count(out.cache_write_long, written_long);
  raise_count(out.cache_write, written - written_long);
  raise_count(out.input, count_in(usage, "input_tokens") + written + count_in(usage, "cache_read_input_tokens"));
  raise_count(out.output, count_in(usage, "output_tokens"));
}

void take_openai(const Json& json, Usage& out) {
  const Json& inner = member(member(json, "response"), "usage");
  const Json& usage = inner.is_object() ? inner : member(json, "usage");
  if (!usage.is_object()) return;
  out.seen = out.final = true;
  raise_count(out.input, std::max(count_in(usage, "input_tokens"), count_in(usage, "prompt_tokens")));
  raise_count(out.output, std::max(count_in(usage, "output_tokens"), count_in(usage, "completion_tokens")));
  raise_count(out.cache_read, std::max(count_in(member(usage, "input_tokens_details"), "cached_tokens"),
                                       count_in(member(usage, "prompt_tokens_details"), "cached_tokens")));
}

void take_gemini(const Json& json, Usage& out) {
  const Json& usage = member(json, "usageMetadata");
  if (!usage.is_object()) return;
  out.seen = true;
  raise_count(out.input, count_in(usage, "promptTokenCount") + count_in(usage, "toolUsePromptTokenCount"));
  raise_count(out.output, count_in(usage, "candidatesTokenCount") + count_in(usage, "thoughtsTokenCount"));
  raise_count(out.cache_read, count_in(usage, "cachedContentTokenCount"));
  if (member(json, "promptFeedback").is_object()) out.final = true;
  const Json& candidates = member(json, "candidates");
  if (!candidates.is_array()) return;
  for (const Json& candidate : candidates) out.final = out.final || member(candidate, "finishReason").is_string();
}

// Bytes of the strings under these names, as they stand in an event.
int64_t text_bytes_in(Protocol protocol, std::string_view json) {
  constexpr std::array<std::string_view, 3> kAnthropic = {"\"text\":\"", "\"thinking\":\"", "\"partial_json\":\""};
  constexpr std::array<std::string_view, 3> kOpenAi = {"\"delta\":\"", "\"content\":\"", "\"arguments\":\""};
  int64_t out = 0;
  for (const std::string_view name : protocol == Protocol::kOpenAi ? kOpenAi : kAnthropic) {
    for (size_t at = json.find(name); at != std::string_view::npos; at = json.find(name, at)) {
      at += name.size();
      const size_t begin = at;
      while (at < json.size() && json[at] != '"') at += json[at] == '\\' ? 2 : 1;
      out += static_cast<int64_t>(std::min(at, json.size()) - begin);
      if (at >= json.size()) break;
    }
  }
  return out;
}

}  // namespace

Protocol protocol_of(std::string_view name) {
  if (name == "anthropic") return Protocol::kAnthropic;
  if (name == "openai") return Protocol::kOpenAi;
  if (name == "gemini") return Protocol::kGemini;
  return Protocol::kNone;
}

Endpoint endpoint_of(Protocol protocol, std::string_view method, std::string_view path) {
  if (method == "CONNECT" || method == "TRACE" || method == "TRACK") return Endpoint::kRefused;
  if (protocol == Protocol::kNone) return Endpoint::kMetered;
  path = without_version(path);
  const bool post = method == "POST", get = method == "GET" || method == "HEAD";
  const bool below_models = path.starts_with(kModels) && one_segment(path.substr(kModels.size()));
  if (protocol == Protocol::kGemini && post && below_models) {
    const size_t colon = path.rfind(':');
    const std::string_view verb = colon == std::string_view::npos ? std::string_view() : path.substr(colon + 1);
    if (verb == "generateContent" || verb == "streamGenerateContent" || verb == "embedContent")
      return Endpoint::kMetered;
    return verb == "countTokens" ? Endpoint::kFree : Endpoint::kRefused;
  }
  if (get && (path == "/models" || below_models)) return Endpoint::kFree;
  if (protocol == Protocol::kAnthropic && post && path == "/messages") return Endpoint::kMetered;
  if (protocol == Protocol::kAnthropic && post && path == "/messages/count_tokens") return Endpoint::kFree;
  if (protocol == Protocol::kOpenAi && post &&
      (path == "/responses" || path == "/chat/completions" || path == "/completions" || path == "/embeddings"))
    return Endpoint::kMetered;
  return Endpoint::kRefused;
}

Result<ModelRequest> read_model_request(Protocol protocol, std::string_view path, std::string_view body) {
  ModelRequest out;
  if (Status shape = check_json_shape(body, "the request", SIZE_MAX); !shape)
    return request_error("bad_request", shape.error().message);
  RequestSax sax(protocol, out);
  const bool good = Json::sax_parse(body.begin(), body.end(), &sax);
  if (!sax.error().empty()) return request_error(sax.reason(), sax.error());
  if (!good || !sax.is_object()) return request_error("bad_request", "the request: expected a JSON object");
  if (protocol == Protocol::kGemini) {
    path = without_version(path);
    const size_t colon = path.rfind(':');
    out.model =
        path.starts_with(kModels) ? std::string(path.substr(kModels.size(), colon - kModels.size())) : std::string();
    out.stream = path.ends_with(":streamGenerateContent");
  }
  if (out.model.empty()) return request_error("bad_request", "the request: expected the name of a model");
  return out;
}

int64_t input_bound(const ModelRequest& request, size_t body_bytes) {
  return static_cast<int64_t>(body_bytes / 2 + 1) + request.references * kTokensOfReference;
}

int64_t cost_of(const Usage& usage, const config::Provider::Price& price) {
  const auto bounded = [](int64_t tokens) { return std::clamp<int64_t>(tokens, 0, kMaxTokens); };
  const auto priced = [](int64_t micro) { return std::clamp<int64_t>(micro, 0, kMaxPrice); };
  const int64_t in = priced(price.in), out = priced(price.out),
                cached = price.cached_in > 0 ? priced(price.cached_in) : in;
  const int64_t all = bounded(usage.input), read = std::min(bounded(usage.cache_read), all);
  const int64_t written = std::min(bounded(usage.cache_write), all - read);
  const int64_t written_long = std::min(bounded(usage.cache_write_long), all - read - written);
  // In micro-dollars a million tokens: a thousandth of what 64 bits hold.
  const int64_t sum = (all - read - written - written_long) * in + read * cached + written * in / 4 * 5 +
                      written_long * in * 2 + bounded(usage.output) * out;
  return (sum + 999'999) / 1'000'000;
}

const config::Provider::Price* price_of(const config::Provider& provider, std::string_view model) {
  const config::Provider::Price* best = nullptr;
  for (const auto& price : provider.prices)
    if (model.starts_with(price.model) && (!best || price.model.size() > best->model.size())) best = &price;
  return best;
}

void UsageMeter::feed(std::string_view bytes) {
  if (protocol_ == Protocol::kNone) return;
  if (events_)
    feed_events(bytes);
  else
    feed_json(bytes);
}

void UsageMeter::finish() {
  if (!events_) return;
  if (!line_.empty()) take_line(line_);
  take_line({});  // an event that nothing came behind
}

void UsageMeter::feed_events(std::string_view bytes) {
  while (!bytes.empty()) {
    if (after_cr_ && bytes.front() == '\n') bytes.remove_prefix(1);
    after_cr_ = false;
    const size_t end = bytes.find_first_of("\r\n");
    const std::string_view piece = bytes.substr(0, end);
    if (line_.size() + piece.size() > kMaxValue)
      too_long_ = true;
    else
      line_ += piece;
    if (end == std::string_view::npos) return;
    take_line(line_);
    line_.clear();
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
  }
}

void UsageMeter::take_line(std::string_view line) {
  constexpr std::string_view kData = "data:";
  if (line.starts_with(kData)) {
    line.remove_prefix(kData.size());
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (value_.size() + line.size() > kMaxValue)
      too_long_ = true;
    else
      value_.append(value_.empty() ? "" : "\n").append(line);
  } else if (line.empty()) {
    if (!too_long_ && !value_.empty()) take_value(value_);
    value_.clear();
    too_long_ = false;
  }
}

void UsageMeter::feed_json(std::string_view bytes) {
  for (const char c : bytes) {
    const int base = in_array_ ? 1 : 0;
    const bool opens = !in_string_ && (c == '{' || c == '['), closes = !in_string_ && (c == '}' || c == ']');
    if (opens && depth_ == 0 && c == '[') {
      in_array_ = true;
      depth_ = 1;
      continue;
    }
    if (opens) ++depth_;
    if (depth_ > base) {
      if (value_.size() < kMaxValue)
        value_ += c;
      else
        too_long_ = true;
      if (in_string_) {
        if (!escaped_ && c == '"') in_string_ = false;
        escaped_ = !escaped_ && c == '\\';
      } else if (c == '"') {
        in_string_ = true;
        escaped_ = false;
      }
    }
    if (!closes || depth_ == 0) continue;
    --depth_;
    if (depth_ != base) continue;
    if (!too_long_) take_value(value_);
    value_.clear();
    too_long_ = false;
  }
}

void UsageMeter::take_value(std::string_view json) {
  if (events_) text_bytes_ += text_bytes_in(protocol_, json);
  if (json.find("\"usage") == std::string_view::npos) return;
  const auto parsed = parse_json(json, "an answer");
  if (!parsed) return;
  if (protocol_ == Protocol::kAnthropic) take_anthropic(*parsed, usage_);
  if (protocol_ == Protocol::kOpenAi) take_openai(*parsed, usage_);
  if (protocol_ == Protocol::kGemini) take_gemini(*parsed, usage_);
}

int64_t UsageMeter::output_so_far() const { return std::max(usage_.output, text_bytes_ / kBytesOfToken); }

}  // namespace onsight::agents::broker
