// onsight serve: a model that answers programs over HTTP.
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/request_options.h"
#include "net/server.h"
#include "server/access.h"
#include "server/file_store.h"
#include "server/site.h"

namespace onsight::cli {
namespace {

constexpr uint64_t kMaxKeyBytes = 4096;

// "512M", "2G", or bytes.
Result<int64_t> read_size(const std::string& option, const std::string& text) {
  int64_t number = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && number < int64_t{1} << 50; ++i)
    number = number * 10 + (text[i] - '0');
  const std::string unit = text.substr(i);
  constexpr std::pair<std::string_view, int> kUnits[] = {{"", 0},   {"K", 10}, {"M", 20}, {"G", 30},
                                                         {"k", 10}, {"m", 20}, {"g", 30}};
  for (const auto& [name, shift] : kUnits)
    if (unit == name && i > 0 && number > 0 && number <= int64_t{1} << (60 - shift)) return number << shift;
  return make_error(ErrorCode::kUsage, "{}: expected a size as 64M or 2G, found '{}'", option, text);
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

class Serve : public Verb {
 public:
  void declare(Options& options) override {
    options.heading("What it serves");
    options_.declare_model(options);
    options.texts("--name", "NAME", names_, "also answer requests for a model of this name");
    options.heading("Where it listens, and to whom");
    options.text("--host", "ADDRESS", host_, "the address to bind to (default 127.0.0.1: this machine alone)");
    options.number("--port", "N", port_, {.min = 0, .max = 65535}, "0: any that is free (default 8080)");
    options.text("--api-key", "KEY", key_,
                 "ask for this key; better from the environment, as ONSIGHT_API_KEY, which nobody else sees");
    options.text("--api-key-file", "FILE", key_file_, "the same, from the first line of a file");
    options.text("--tls-cert", "FILE", tls_certificate_,
                 "speak HTTPS, with this certificate and those that lead to it (PEM)");
    options.text("--tls-key", "FILE", tls_key_, "the certificate's private key (PEM, without a passphrase)");
    options.texts("--allow-fetch", "HOST", fetch_,
                  "fetch pictures that requests name by http(s) URLs from this host (or several, with commas; "
                  "*.example.org: all below it), if it has a public address; without it nothing is fetched");
    options.texts("--cors", "ORIGIN", origins_, "let pages of this origin use the server; *: of all");
    options.heading("What requests may take");
    options.number("--max-active", "N", limits_.active, {.min = 1, .max = 10'000},
                   "so many answers are written at the same time (default 32)");
    options.number("--max-queued", "N", limits_.queued, {.min = 0, .max = 100'000},
                   "so many requests may wait; others are refused (default 256)");
    options.text("--memory-limit", "SIZE", memory_,
                 "keys, values and features of all requests together (default: half of what is free)");
    options.number("--max-tokens", "N", service_.max_tokens, {.min = 1, .max = 1'000'000},
                   "no answer is longer (default 4096; a request that does not say gets 1024)");
    options.number("--time-limit", "S", time_limit_, {.min = 0, .max = 86'400},
                   "end an answer after S seconds, its wait included; 0: never (default 600)");
    options.text("--max-body", "SIZE", max_body_, "of a request (default 64M)");
    options.text("--max-bodies", "SIZE", max_bodies_, "of all requests together, while they are read (default 512M)");
    options.number("--max-images", "N", service_.max_images, {.min = 0, .max = 10'000}, "of a request (default 16)");
    options.text("--picture-memory", "SIZE", picture_memory_,
                 "keep so much of decoded pictures for requests that bring them again (default 256M)");
    options.text("--pixel-memory", "SIZE", pixel_memory_,
                 "of the decoded pictures of all requests together, until they are cut into tiles (default 1G)");
    options.text("--files", "DIR", files_directory_,
                 "keep uploaded files here (default: a private directory, removed at the end)");
    options.text("--files-limit", "SIZE", files_limit_, "of all uploaded files together (default 2G)");
    options.number("--max-connections", "N", server_.max_connections, {.min = 1, .max = 100'000},
                   "at the same time (default 1000)");
    options.number("--header-seconds", "S", header_, {.min = 1, .max = 3600},
                   "for a client to send the head of a request (default 10)");
    options.number("--body-seconds", "S", body_, {.min = 1, .max = 3600}, "and its body (default 60)");
    options.number("--ping-seconds", "S", ping_, {.min = 1, .max = 86'400},
                   "send a comment on a stream of events after S seconds without an event (default 15)");
    options.number("--drain-seconds", "S", drain_, {.min = 0, .max = 86'400},
                   "let answers go on for so long when the server is stopped (default 30)");
    options_.declare_machine(options);
    options.flag("--no-draft", service_.draft,
                 "one token of an answer at a time: check no guesses from what was said (the same answers)",
                 /*value=*/false);
  }

  Status run(Context& context) override {
    TRY_STATUS(options_.check_values());
    TRY_STATUS(read_options());
    TRY(const Path folder, find_model(options_.model));
    engine::EngineOptions engine_options = options_.engine_options();
    engine_options.limits = limits_;
    TRY(const std::unique_ptr<engine::Engine> engine, context.services.load(folder, engine_options));
    service_.names.insert(service_.names.begin(), engine->info().name);
    TRY(service_.files, server::FileStore::open(files_));
    server::Service service(*engine, service_);
    TRY(const std::unique_ptr<net::Server> server, net::Server::listen(server_, server::make_site(service, access_)));
    return serve(*engine, *server);
  }

 private:
  Status serve(engine::Engine& engine, net::Server& server) {
    // Measures the machine, so that estimates may be asked for from any thread.
    engine::Request first;
    first.messages.push_back({.content = {{.text = "Hello"}}});
    (void)engine.estimate(first, 1);
    Status ran;
    std::jthread worker([&](const std::stop_token& stop) {
      ran = without_throwing([&]() -> Status {
        engine.run(stop);
        return {};
      });
      if (!ran) server.stop();
    });
    const std::string host =
        server_.host.find(':') == std::string::npos ? server_.host : fmt::format("[{}]", server_.host);
    Output error(STDERR_FILENO);
    (void)error.write(fmt::format("onsight: serving {} at {}://{}:{}\n", engine.info().name,
                                  server_.tls ? "https" : "http", host, server.port()));
    server.run();
    worker.request_stop();
    worker.join();
    return ran;
  }

  Status read_options() {
    server_.host = host_.value_or("127.0.0.1");
    server_.port = static_cast<uint16_t>(port_);
    server_.ping_time = std::chrono::seconds(ping_);
    server_.drain_time = std::chrono::seconds(drain_);
    server_.head_time = std::chrono::seconds(header_);
    server_.body_time = std::chrono::seconds(body_);
    server_.stop_on_signals = true;
    if (max_bodies_) {
      TRY(const int64_t bytes, read_size("--max-bodies", *max_bodies_));
      server_.all_body_bytes = static_cast<uint64_t>(bytes);
    }
    if (max_body_) {
      TRY(const int64_t bytes, read_size("--max-body", *max_body_));
      server_.reader.body_bytes = static_cast<uint64_t>(bytes);
    }
    if (picture_memory_) {
      TRY(service_.picture_bytes, read_size("--picture-memory", *picture_memory_));
    }
    if (pixel_memory_) {
      TRY(service_.pixel_bytes, read_size("--pixel-memory", *pixel_memory_));
    }
    if (files_directory_) files_.directory = *files_directory_;
    if (files_limit_) {
      TRY(files_.max_bytes, read_size("--files-limit", *files_limit_));
    }
    if (memory_) {
      TRY(limits_.memory_bytes, read_size("--memory-limit", *memory_));
    }
    // More would find no place, whatever others do.
    service_.max_answers = std::max(1, std::min(service_.max_answers, limits_.active + limits_.queued));
    service_.time_limit = std::chrono::seconds(time_limit_);
    service_.default_tokens = std::min(service_.default_tokens, service_.max_tokens);
    service_.version = ONSIGHT_VERSION;
    for (const std::string& name : names_)
      if (name.empty()) return make_error(ErrorCode::kUsage, "--name: expected a name, found nothing");
    service_.names = names_;
    access_.host = server_.host;
    for (const std::string& hosts : fetch_)
      for (const std::string& host : split(hosts)) service_.fetch.hosts.push_back(host);
    for (const std::string& origin : origins_)
      for (const std::string& one : split(origin)) access_.origins.push_back(one);
    TRY_STATUS(read_key());
    if (tls_certificate_.has_value() != tls_key_.has_value())
      return make_error(ErrorCode::kUsage, "{}: expected {} beside it", tls_key_ ? "--tls-key" : "--tls-cert",
                        tls_key_ ? "--tls-cert" : "--tls-key");
    if (tls_certificate_) {
      TRY(server_.tls, net::Tls::load(*tls_certificate_, *tls_key_));
    }
    if (access_.api_key.empty() && !server::is_loopback(server_.host))
      return make_error(ErrorCode::kUsage,
                        "--host {}: expected --api-key beside it, since others than this machine can connect",
                        server_.host);
    return {};
  }

  Status read_key() {
    if (key_ && key_file_)
      return make_error(ErrorCode::kUsage, "--api-key and --api-key-file exclude each other, expected one");
    if (key_) {
      access_.api_key = *key_;
    } else if (key_file_) {
      TRY(access_.api_key, read_file(*key_file_, kMaxKeyBytes));
      access_.api_key.resize(std::min(access_.api_key.find_first_of("\r\n"), access_.api_key.size()));
    } else if (const char* key = std::getenv("ONSIGHT_API_KEY")) {
      access_.api_key = key;
      if (access_.api_key.empty()) return {};
    }
    if ((key_ || key_file_) && access_.api_key.empty())
      return make_error(ErrorCode::kUsage, "{}: expected a key, found nothing", key_ ? "--api-key" : "--api-key-file");
    return {};
  }

  RequestOptions options_;
  net::ServerOptions server_;
  server::ServiceOptions service_;
  server::AccessOptions access_;
  server::FileStore::Options files_;
  engine::Limits limits_ = {.active = 32};
  std::vector<std::string> names_, origins_, fetch_;
  std::optional<std::string> host_, key_, key_file_, memory_, max_body_, max_bodies_, files_directory_, files_limit_,
      picture_memory_, pixel_memory_, tls_certificate_, tls_key_;
  int port_ = 8080, time_limit_ = 600, drain_ = 30, ping_ = 15, header_ = 10, body_ = 60;
};

}  // namespace

std::unique_ptr<Verb> make_serve() { return std::make_unique<Serve>(); }

}  // namespace onsight::cli
