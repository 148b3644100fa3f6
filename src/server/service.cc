#include "server/service.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <mutex>
#include <optional>
#include <random>

#include "media/image.h"
#include "net/base64.h"

namespace onsight::server {
namespace {

using Clock = std::chrono::steady_clock;

// The answers of one request. Events from the engine wait until every one has been taken in, so that a refusal of the
// last is not told behind the first words of another.
class Batch : public std::enable_shared_from_this<Batch> {
 public:
  Batch(std::shared_ptr<Writer> writer, size_t answers, Metrics& metrics)
      : writer_(std::move(writer)), replies_(answers), missing_(answers), times_(answers), metrics_(metrics) {}

  std::shared_ptr<const std::atomic<bool>> cancelled() const { return {shared_from_this(), &cancelled_}; }

  void cancel(net::Gone why) {
    auto none = kNobody;
    why_.compare_exchange_strong(none, static_cast<int>(why));
    cancelled_ = true;
  }

  void open() {
    const std::scoped_lock lock(mutex_);
    state_ = State::kOpen;
    writer_->begin();
    const auto events = std::move(waiting_);
    waiting_.clear();
    for (const auto& event : events)
      if (state_ == State::kOpen) event();
  }
  void drop() {
    cancel(net::Gone::kClient);
    const std::scoped_lock lock(mutex_);
    end();
  }

  engine::Callbacks callbacks(int choice, bool tokens) {
    auto self = shared_from_this();
    engine::Callbacks out;
    out.on_text = [self, choice](std::string_view piece) {
      self->measure(choice);
      self->event([self, choice, piece = std::string(piece)] { self->writer_->text(choice, piece); });
    };
    if (tokens)
      out.on_token = [self, choice](const engine::TokenProbability& token,
                                    std::span<const engine::TokenProbability> top) {
        self->event([self, choice, token, top = std::vector(top.begin(), top.end())] {
          self->writer_->token(choice, token, top);
        });
      };
    return out;
  }

  void done(int choice, Result<engine::Reply> reply, const std::function<Failure(const Error&)>& failure_of) {
    auto self = shared_from_this();
    if (!reply) {
      cancelled_ = true;  // the others are of no use without it
      event([self, failure = failure_of(reply.error())] { self->fail(failure); });
      return;
    }
    event([self, choice, reply = *std::move(reply)]() mutable { self->take(choice, std::move(reply)); });
  }

 private:
  enum class State { kWaiting, kOpen, kEnded };
  static constexpr int kNobody = -1;

  void event(std::function<void()> action) {
    const std::scoped_lock lock(mutex_);
    if (state_ == State::kOpen)
      action();
    else if (state_ == State::kWaiting)
      waiting_.push_back(std::move(action));
  }

  void measure(int choice) {
    const auto now = Clock::now();
    auto& last = times_[static_cast<size_t>(choice)];
    const double seconds = std::chrono::duration<double>(now - (last ? *last : begun_)).count();
    (last ? metrics_.token_gap : metrics_.first_token).add(seconds);
    last = now;
  }

  void take(int choice, engine::Reply reply) {
    if (reply.finish_reason == engine::FinishReason::kCancelled) {
      const int why = why_;
      if (why != static_cast<int>(net::Gone::kTimeLimit) && why != static_cast<int>(net::Gone::kStopping) &&
          why != kNobody)
        return end();
      if (reply.completion_tokens == 0)
        return fail(why == static_cast<int>(net::Gone::kTimeLimit)
                        ? Failure(504, "the answer: expected its first token within the server's time limit")
                        : Failure(503, "the server is stopping"));
      reply.finish_reason = engine::FinishReason::kLength;
    }
    writer_->done(choice, reply);
    replies_[static_cast<size_t>(choice)] = std::move(reply);
    if (--missing_ > 0) return;
    writer_->all_done(replies_);
    if (state_ == State::kOpen) end();
  }

  void fail(const Failure& failure) {
    if (state_ == State::kEnded) return;
    writer_->failed(failure);
    end();
  }
  void end() {
    state_ = State::kEnded;
    waiting_.clear();
  }

  std::mutex mutex_;
  State state_ = State::kWaiting;
  std::vector<std::function<void()>> waiting_;
  std::shared_ptr<Writer> writer_;
  std::vector<engine::Reply> replies_;
  size_t missing_;
  std::vector<std::optional<Clock::time_point>> times_;
  const Clock::time_point begun_ = Clock::now();
  Metrics& metrics_;
  std::atomic<bool> cancelled_{false};
  std::atomic<int> why_{kNobody};
};

bool names_url(const Json& json) {
  if (json.is_string()) return net::is_web_url(json.get_ref<const std::string&>());
  return json.is_structured() && std::any_of(json.begin(), json.end(), names_url);
}

}  // namespace

Service::Service(engine::Engine& engine, ServiceOptions options)
    : engine_(engine), options_(std::move(options)), started_(now_seconds()), pictures_(options_.picture_bytes) {}

bool Service::serves(std::string_view model) const {
  return std::find(options_.names.begin(), options_.names.end(), model) != options_.names.end();
}

Result<Picture> Service::picture(std::string_view bytes, std::string_view where) const {
  if (static_cast<int64_t>(bytes.size()) > options_.max_image_bytes)
    return bad_field(std::string(where), "image_file_too_large", "expected a picture of at most {} bytes, found {}",
                     options_.max_image_bytes, bytes.size());
  const auto decode = [&] { return media::decode_image(bytes, where, {.max_pixels = options_.max_image_pixels}); };
  TRY(Picture picture, of_field(pictures_.get(bytes, decode), where, "image_parse_error"));
  const auto size = static_cast<int64_t>(picture->rgb.size());
  if (pixels_->fetch_add(size) + size > options_.pixel_bytes) {
    pixels_->fetch_sub(size);
    return make_error(
        ErrorCode::kBusy,
        "{}: {}x{} pixels, for which the pictures of this request and of those beside it leave no room in "
        "{} MiB, expected fewer or smaller ones, or the same later",
        where, picture->width, picture->height, options_.pixel_bytes >> 20);
  }
  const media::Image* image = picture.get();
  return Picture(image,
                 [held = std::move(picture), pixels = pixels_, size](const media::Image*) { pixels->fetch_sub(size); });
}

Result<Picture> Service::picture_of_base64(std::string_view text, std::string_view where) const {
  TRY(const std::string bytes, of_field(net::base64_decode(text, where), where, "invalid_base64_image"));
  return picture(bytes, where);
}

Result<std::string> Service::bytes_of_url(std::string_view url, std::string_view what, std::string_view where,
                                          const net::FetchDeadline& deadline) const {
  if (net::is_data_url(url)) {
    TRY(net::DataUrl data, net::parse_data_url(url, where));
    return std::move(data.bytes);
  }
  if (!net::is_web_url(url)) return bad_input("{}: expected a data: URL", where);
  if (options_.fetch.hosts.empty())
    return bad_input("{}: expected the {} itself, as a data: URL (this server fetches nothing)", where, what);
  return net::fetch(std::string(url), options_.fetch, where, deadline);
}

Result<Picture> Service::picture_of_url(std::string_view url, std::string_view where,
                                        const net::FetchDeadline& deadline) const {
  TRY(const std::string bytes, of_field(bytes_of_url(url, "picture", where, deadline), where,
                                        net::is_data_url(url) ? "invalid_base64_image" : "invalid_image_url"));
  return picture(bytes, where);
}

Result<Video> Service::video(std::string bytes, std::string_view where) const {
  return media::Video::open(std::move(bytes), std::string(where), {.max_pixels = options_.max_image_pixels});
}

Result<Video> Service::video_of_url(std::string_view url, std::string_view where,
                                    const net::FetchDeadline& deadline) const {
  TRY(std::string bytes, of_field(bytes_of_url(url, "video", where, deadline), where, "invalid_value"));
  return of_field(video(std::move(bytes), where), where, "invalid_value");
}

Result<Video> Service::video_of_pictures(std::vector<std::string> pictures, double fps, std::string_view where) const {
  return of_field(media::Video::of_pictures(std::move(pictures), fps, std::string(where),
                                            {.max_pixels = options_.max_image_pixels}),
                  where, "invalid_value");
}

Result<Video> Service::video_of_file(const Path& file, std::string_view where) const {
  return media::Video::open(file, {.max_pixels = options_.max_image_pixels}, std::string(where));
}

Status Service::check_pictures(const std::vector<engine::Message>& messages, std::string_view where) const {
  int images = 0;
  for (const engine::Message& message : messages)
    images +=
        static_cast<int>(std::count_if(message.content.begin(), message.content.end(), [](const engine::Part& part) {
          return part.kind != engine::Part::Kind::kText;
        }));
  if (images > options_.max_images)
    return bad_field(std::string(where), "array_above_max_length",
                     "expected at most {} pictures in a request, found {}", options_.max_images, images);
  return {};
}

bool Service::may_fetch(const Json& body) const { return !options_.fetch.hosts.empty() && names_url(body); }

int Service::tokens(int64_t asked) const {
  return static_cast<int>(std::min<int64_t>(asked > 0 ? asked : options_.default_tokens, options_.max_tokens));
}

Failure Service::failure_of(const Error& error) const {
  Failure failure(error);
  if (error.code == ErrorCode::kBusy)
    failure.retry_after_s = std::max(1, static_cast<int>(std::ceil(engine_.activity().wait_ms / 1000)));
  return failure;
}

Outcome Service::answer(const std::shared_ptr<net::Exchange>& exchange, const std::string& client,
                        std::vector<engine::Request> requests, std::shared_ptr<Writer> writer) {
  const auto batch = std::make_shared<Batch>(std::move(writer), requests.size(), metrics_);
  // Weak: the engine keeps the batch for as long as it works on it.
  exchange->on_gone([weak = std::weak_ptr(batch)](net::Gone why) {
    if (const auto found = weak.lock()) found->cancel(why);
  });
  if (options_.time_limit.count() > 0) exchange->end_after(options_.time_limit);
  for (size_t i = 0; i < requests.size(); ++i) {
    engine::Request& request = requests[i];
    const int choice = static_cast<int>(i);
    request.client = client;
    request.draft = options_.draft;
    request.cancelled = batch->cancelled();
    const Status taken = engine_.submit(
        request, batch->callbacks(choice, request.logprobs >= 0), [this, batch, choice](Result<engine::Reply> reply) {
          batch->done(choice, std::move(reply), [this](const Error& e) { return failure_of(e); });
        });
    if (!taken) {
      batch->drop();
      return tl::unexpected<Failure>(failure_of(taken.error()));
    }
  }
  batch->open();
  return {};
}

tl::expected<engine::Estimate, Failure> Service::estimate(const engine::Request& request, int answers) {
  auto estimate = engine_.estimate(request, answers);
  if (!estimate) return tl::unexpected<Failure>(failure_of(estimate.error()));
  return *estimate;
}

Status check_schema_size(const Json& schema, std::string_view where) {
  constexpr size_t kMaxBytes = 256 << 10;
  const size_t bytes = to_text(schema).size();
  if (bytes <= kMaxBytes) return {};
  return bad_input("{}: expected a schema of at most {} bytes, found {}", where, kMaxBytes, bytes);
}

Result<std::shared_ptr<const text::JsonSchema>> compile_schema(const Json& schema, std::string_view where) {
  TRY_STATUS(check_schema_size(schema, where));
  TRY(text::JsonSchema compiled, of_field(text::JsonSchema::compile(to_text(schema), where), where, "invalid_value"));
  return std::make_shared<const text::JsonSchema>(std::move(compiled));
}

Result<std::shared_ptr<const text::JsonSchema>> any_object_schema() {
  static const auto kSchema = compile_schema({{"type", "object"}}, "any object");
  return kSchema;
}

int64_t now_seconds() { return static_cast<int64_t>(std::time(nullptr)); }

std::string fresh_id(std::string_view prefix) {
  constexpr std::string_view kDigits = "abcdefghijklmnopqrstuvwxyz0123456789";
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id(prefix);
  for (int i = 0; i < 24; ++i) id += kDigits[random() % kDigits.size()];
  return id;
}

uint64_t fresh_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace onsight::server
