// Service: a model that answers the requests of many clients, within limits. What the dialects share.
//
//   Service service(*engine, {.names = {"onsight-nano"}});
//   TRY(Picture picture, service.picture_of_url("data:image/png;base64,…", "messages[0].content[1]"));
//   return service.answer(call.exchange, {request}, std::make_unique<MyWriter>(…));
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "net/fetch.h"
#include "net/http.h"
#include "server/failure.h"
#include "server/fields.h"
#include "server/metrics.h"
#include "server/picture_cache.h"

namespace onsight::server {

class FileStore;

struct ServiceOptions {
  std::vector<std::string> names;           // under which the model is asked for; the first is its own
  std::string version;                      // of the program
  int max_images = 16;                      // of a request
  int max_answers = 8;                      // to a request
  int64_t max_image_bytes = 20 << 20;       // of a file
  int64_t max_image_pixels = 100'000'000;   // once decoded
  int64_t picture_bytes = 256 << 20;        // of decoded pictures, kept for requests that bring them again
  int64_t pixel_bytes = 1 << 30;            // of decoded pictures that requests hold until they are tiles
  int max_tokens = 4096;                    // of an answer; a request that asks for more gets these
  int default_tokens = 1024;                // of one that does not say
  bool draft = true;                        // engine::Request::draft
  net::FetchPolicy fetch = {};              // of pictures that a request names by http(s) URLs
  std::chrono::milliseconds time_limit{0};  // for a request, its wait included; 0: none
  // That clients upload; null: none are taken.
  std::shared_ptr<FileStore> files;
};

using Video = std::shared_ptr<const media::Video>;

// What a dialect makes of the answers to one request: n of them, told apart by `choice`. Calls come one at a time, from
// the engine's thread and others; they must not wait. Behind failed() there are no more.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void begin() {}  // all have been taken in
  virtual void token(int choice, const engine::TokenProbability& token, std::span<const engine::TokenProbability> top) {
    (void)choice, (void)token, (void)top;
  }
  virtual void text(int choice, std::string_view piece) { (void)choice, (void)piece; }
  // finish_reason is kStop or kLength; the latter too where time or the server ended an answer.
  virtual void done(int choice, const engine::Reply& reply) { (void)choice, (void)reply; }
  virtual void all_done(std::span<const engine::Reply> replies) = 0;
  virtual void failed(const Failure& failure) = 0;
};

class Service {
 public:
  Service(engine::Engine& engine, ServiceOptions options);

  const ServiceOptions& options() const { return options_; }
  const engine::ModelInfo& info() const { return engine_.info(); }
  const std::string& name() const { return options_.names.front(); }
  bool serves(std::string_view model) const;
  int64_t started() const { return started_; }  // seconds since 1970
  Metrics& metrics() { return metrics_; }
  engine::Activity activity() const { return engine_.activity(); }
  PictureCache::Counts pictures() const { return pictures_.counts(); }

  // `where` is the place in the request, for errors.
  Result<Picture> picture(std::string_view bytes, std::string_view where) const;
  Result<Picture> picture_of_base64(std::string_view text, std::string_view where) const;
  // Of http(s) URLs fetched by the deadline, for which the caller's thread waits; without one nothing is.
  Result<Picture> picture_of_url(std::string_view url, std::string_view where,
                                 const net::FetchDeadline& deadline = {}) const;
  // The same of videos. `bytes` and files are not read before an answer needs their frames.
  Result<Video> video(std::string bytes, std::string_view where) const;
  Result<Video> video_of_url(std::string_view url, std::string_view where, const net::FetchDeadline& deadline) const;
  Result<Video> video_of_pictures(std::vector<std::string> pictures, double fps, std::string_view where) const;
  Result<Video> video_of_file(const Path& file, std::string_view where) const;
  // Videos count as pictures. Looks at all parts, so it is called where one has come that counts; `where` is its place.
  Status check_pictures(const std::vector<engine::Message>& messages, std::string_view where) const;

  // Whether reading this may take a fetch.
  bool may_fetch(const Json& body) const;

  // What an answer may take, of what a request asks for; 0: nothing is asked for.
  int tokens(int64_t asked) const;

  // Asks for an answer to each of `requests`; all end when the client goes away or time is up. What can be refused is
  // refused here, and then the writer is not called.
  Outcome answer(const std::shared_ptr<net::Exchange>& exchange, const std::string& client,
                 std::vector<engine::Request> requests, std::shared_ptr<Writer> writer);
  tl::expected<engine::Estimate, Failure> estimate(const engine::Request& request, int answers);

 private:
  Failure failure_of(const Error& error) const;
  // The bytes that a data: URL holds, or, where that is allowed, a server has.
  Result<std::string> bytes_of_url(std::string_view url, std::string_view what, std::string_view where,
                                   const net::FetchDeadline& deadline) const;

  engine::Engine& engine_;
  ServiceOptions options_;
  int64_t started_;
  Metrics metrics_;
  mutable PictureCache pictures_;
  // Bytes of the pictures that requests hold.
  std::shared_ptr<std::atomic<int64_t>> pixels_ = std::make_shared<std::atomic<int64_t>>(0);
};

// A schema that allows every JSON object, and one of a request; `where` is for errors. Errors name the place of each
// value of a schema, and a longer one would have places as long, and as many; compile_schema checks that itself.
Status check_schema_size(const Json& schema, std::string_view where);
Result<std::shared_ptr<const text::JsonSchema>> compile_schema(const Json& schema, std::string_view where);
Result<std::shared_ptr<const text::JsonSchema>> any_object_schema();

// Seconds since 1970, letters and digits that no one has had, and a number for a request that names no seed.
int64_t now_seconds();
std::string fresh_id(std::string_view prefix);
uint64_t fresh_seed();

}  // namespace onsight::server
