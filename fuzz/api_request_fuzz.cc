// Requests of all APIs as the server hands them on, answered by an engine that says two words. The first byte says
// where the rest, a body, is sent to; 'm' and those behind it: the rest is whole requests with heads of their own,
// among them the pieces of uploads.
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "net/target.h"
#include "server/file_store.h"
#include "server/site.h"

// libheif 1.15 forgets the 40 bytes in which libdav1d keeps an empty AV1 item; nothing grows with the input.
extern "C" const char* __lsan_default_suppressions() { return "leak:libdav1d.so\n"; }

namespace onsight {
namespace {

using server::Json;

void expect(bool holds) {
  if (!holds) std::abort();
}

constexpr int kMaxTokens = 64, kMaxImages = 4;

// What the engine is told to rely on. Limits of tokens choose how an answer ends.
class TwoWords : public engine::Engine {
 public:
  TwoWords() {
    info_.architecture = "none";
    info_.context_length = 100;
  }
  const engine::ModelInfo& info() const override { return info_; }

  Status submit(const engine::Request& request, engine::Callbacks callbacks,
                std::function<void(Result<engine::Reply>)> on_done) override {
    TRY_STATUS(check(request));
    if (request.max_tokens == 2) {
      on_done(make_error(ErrorCode::kOutOfMemory, "no room"));
      return {};
    }
    engine::Reply reply;
    for (const std::string_view word : {"Seen", "\n\"\xc3\xa9"}) {
      const engine::TokenProbability token{++reply.completion_tokens, std::string(word.substr(0, 3)), -0.5f};
      const std::array top{token, token};
      if (request.logprobs >= 0 && callbacks.on_token)
        callbacks.on_token(token, std::span(top).first(request.logprobs > 0 ? 2 : 0));
      callbacks.on_text(word);
      reply.text += word;
    }
    if (request.max_tokens == 3) reply.finish_reason = engine::FinishReason::kLength;
    on_done(std::move(reply));
    return {};
  }
  Result<engine::Estimate> estimate(const engine::Request& request, int answers) override {
    TRY_STATUS(check(request));
    expect(answers >= 1 && answers <= 8);
    return engine::Estimate{.prompt_tokens = 9, .image_tokens = 3};
  }
  engine::Activity activity() const override { return {}; }

  // Not for servers.
  void run(const std::stop_token&) override { std::abort(); }
  Result<engine::Reply> generate(const engine::Request&, const engine::Callbacks&) override { std::abort(); }
  Status trace(const engine::Request&, std::string_view, const engine::TraceSink&) override { std::abort(); }
  engine::RequestWork work(int64_t, int64_t) const override { std::abort(); }

 private:
  static Status check(const engine::Request& request) {
    if (request.max_tokens == 1) return make_error(ErrorCode::kBusy, "others are there");
    expect(request.max_tokens > 0 && request.max_tokens <= kMaxTokens && !request.messages.empty());
    expect(request.logprobs >= -1 && request.logprobs <= 20 && request.picture.max_tiles >= 0);
    const engine::Sampling& s = request.sampling;
    expect(s.temperature >= 0 && s.top_k >= 0 && s.top_p > 0 && s.top_p <= 1 && s.min_p >= 0 && s.min_p <= 1);
    expect(s.repetition_penalty > 0);
    expect(request.stop.empty() || !request.schema);
    for (const std::string& stop : request.stop) expect(!stop.empty());
    int pictures = 0;
    for (const engine::Message& message : request.messages) {
      expect(message.role == "user" || message.role == "assistant" || message.role == "system");
      for (const engine::Part& part : message.content) {
        expect((part.kind == engine::Part::Kind::kImage) == static_cast<bool>(part.image));
        expect((part.kind == engine::Part::Kind::kVideo) == static_cast<bool>(part.clip.video));
        expect(part.clip.options.fps >= 0 && part.clip.options.start >= 0 && part.clip.options.max_frames >= 0);
        if (part.kind != engine::Part::Kind::kText) ++pictures;
      }
    }
    expect(pictures <= kMaxImages);
    return {};
  }

  engine::ModelInfo info_;
};

// One answer, whole and of the form that its head promises.
class Answer : public net::Exchange {
 public:
  void respond(net::HttpResponse response) override {
    expect(!begun_ && !finished_);
    begun_ = finished_ = true;
    response_ = std::move(response);
  }
  void start_stream(int status, net::Headers headers) override {
    expect(!begun_ && status == 200);
    begun_ = true;
    response_ = {status, std::move(headers), {}};
  }
  void write(std::string bytes) override {
    expect(begun_ && !finished_ && !bytes.empty());
    response_.body += bytes;
  }
  void finish() override {
    expect(begun_ && !finished_);
    finished_ = true;
  }
  void abort() override { std::abort(); }
  void on_gone(std::function<void(net::Gone)>) override {}
  void end_after(std::chrono::milliseconds) override {}

  const net::HttpResponse& check() const {
    expect(begun_ && finished_ && response_.status >= 200 && response_.status < 600);
    const std::string_view type = response_.headers.get("Content-Type"), body = response_.body;
    if (type == "application/json") {
      const Json json = Json::parse(body, nullptr, false);
      expect(!json.is_discarded());
      if (response_.status >= 400) check_error(json);
    } else {
      expect(response_.status < 400);
      if (type == "application/x-ndjson") check_lines(body, "");
      if (type.starts_with("text/event-stream")) check_lines(body, "data: ");
    }
    return response_;
  }

 private:
  static void check_error(const Json& json) {
    const Json& error = json.at("error");
    expect(!(error.is_string() ? error : error.at("message")).get_ref<const std::string&>().empty());
  }
  // Those that begin so, without it.
  static void check_lines(std::string_view text, std::string_view begin) {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      expect(end != std::string_view::npos);
      const std::string_view line = text.substr(0, end);
      if (line.starts_with(begin) && line != "data: [DONE]") expect(Json::accept(line.substr(begin.size())));
      text.remove_prefix(end + 1);
    }
  }

  bool begun_ = false, finished_ = false;
  net::HttpResponse response_;
};

// Files of an hour ago are gone at the next one's.
class Site {
 public:
  Site() {
    // The parts of a file are synced, which costs nothing where nothing is written to a disk.
    ::setenv("TMPDIR", "/dev/shm", 0);
    const auto now = [this] { return server::FileStore::Time(std::chrono::hours(hour_)); };
    auto files = server::FileStore::open({.max_bytes = 1 << 16, .max_files = 8, .max_uploads = 8, .now = now});
    expect(files.has_value());
    files_ = *std::move(files);
    service_.emplace(engine_, server::ServiceOptions{.names = {"m"},
                                                     .max_images = kMaxImages,
                                                     .max_image_bytes = 4096,
                                                     .max_image_pixels = 1 << 12,
                                                     .picture_bytes = 1 << 20,
                                                     .max_tokens = kMaxTokens,
                                                     .default_tokens = kMaxTokens,
                                                     .files = files_});
    site_ = server::make_site(*service_, {});
  }

  net::HttpResponse ask(net::HttpRequest request) {
    std::optional<net::HttpResponse> response = site_.refuse(request);
    if (!response) {
      const auto answer = std::make_shared<Answer>();
      const net::HttpRequest head = request;
      site_.handle(std::move(request), answer);
      response = answer->check();
      site_.answering(head, response->status, response->headers);
    }
    expect(!net::head_of(response->status, response->headers).empty());
    return *std::move(response);
  }

  void forget_files() {
    hour_ = 100;
    files_->sweep();
    hour_ = 1;
  }

 private:
  std::atomic<int> hour_ = 1;
  TwoWords engine_;
  std::shared_ptr<server::FileStore> files_;
  std::optional<server::Service> service_;
  net::Site site_;
};

struct Place {
  std::string_view target, type = {};
};
constexpr Place kPlaces[] = {
    {"/v1/chat/completions"},
    {"/v1/estimate"},
    {"/v1/responses"},
    {"/api/chat"},
    {"/api/generate"},
    {"/api/show"},
    {"/v1beta/models/m:generateContent"},
    {"/v1beta/models/m:streamGenerateContent"},
    {"/v1beta/models/m:streamGenerateContent?alt=sse"},
    {"/v1beta/models/m:countTokens"},
    {"/upload/v1beta/files?uploadType=multipart", "multipart/related; boundary=b"},
    {"/upload/v1beta/files?uploadType=multipart"},  // the type is the first line of the body
};

std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

std::optional<net::HttpRequest> request_to(std::string_view method, std::string_view target) {
  auto read = net::parse_target(target);
  if (!read || method.empty()) return {};
  return net::HttpRequest{
      .method = std::string(method), .path = std::move(read->path), .query = std::move(read->query), .peer = "fuzz"};
}

// "POST /path?query", "Name: value" lines, an empty line and the body; "@" is where the last upload goes on.
std::optional<net::HttpRequest> read_request(std::string_view text, std::string_view upload) {
  const std::string_view first = take_line(text), method = first.substr(0, first.find(' '));
  std::string_view target = first.substr(std::min(first.size(), method.size() + 1));
  if (target == "@") target = upload;
  auto request = request_to(method, target);
  if (!request) return {};
  for (std::string_view line = take_line(text); !line.empty(); line = take_line(text)) {
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) return {};
    request->headers.add(std::string(line.substr(0, colon)), std::string(line.substr(colon + 2)));
  }
  request->body = text;
  return request;
}

void ask_all(Site& site, std::string_view text) {
  constexpr std::string_view kBetween = "\n====\n";
  std::string upload;
  for (int i = 0; i < 8 && !text.empty(); ++i) {
    const size_t end = std::min(text.find(kBetween), text.size());
    auto request = read_request(text.substr(0, end), upload);
    text.remove_prefix(std::min(text.size(), end + kBetween.size()));
    if (!request) continue;
    const net::HttpResponse response = site.ask(*std::move(request));
    const std::string_view url = response.headers.get("X-Goog-Upload-URL");
    if (!url.empty()) upload = url;
  }
}

}  // namespace
}  // namespace onsight

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onsight;
  static Site site;
  if (size < 1) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t place = static_cast<uint8_t>(data[0] - 'a');
  if (place < std::size(kPlaces)) {
    std::string_view type = kPlaces[place].type;
    if (type.empty() && kPlaces[place].target.starts_with("/upload")) type = take_line(rest);
    auto request = request_to("POST", kPlaces[place].target);
    expect(request.has_value());
    request->headers.add("Content-Type", std::string(type));
    request->body = rest;
    (void)site.ask(*std::move(request));
  } else {
    ask_all(site, rest);
  }
  site.forget_files();
  return 0;
}
