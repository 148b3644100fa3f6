// Requests that wait for other hosts, without a socket of their own.
#include "server/site.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

namespace onsight::server {
namespace {

// Says one word at once.
class OneWord : public engine::Engine {
 public:
  const engine::ModelInfo& info() const override { return info_; }
  Status submit(const engine::Request&, engine::Callbacks,
                std::function<void(Result<engine::Reply>)> on_done) override {
    on_done(engine::Reply{.text = "Seen."});
    return {};
  }
  engine::Activity activity() const override { return {}; }
  Result<engine::Estimate> estimate(const engine::Request&, int) override { return engine::Estimate(); }
  void run(const std::stop_token&) override {}
  Result<engine::Reply> generate(const engine::Request&, const engine::Callbacks&) override { return engine::Reply(); }
  Status trace(const engine::Request&, std::string_view, const engine::TraceSink&) override { return {}; }
  engine::RequestWork work(int64_t, int64_t) const override { return {}; }

 private:
  engine::ModelInfo info_;
};

class Answer : public net::Exchange {
 public:
  void respond(net::HttpResponse response) override {
    const std::scoped_lock lock(mutex_);
    response_ = std::move(response);
    changed_.notify_all();
  }
  void start_stream(int, net::Headers) override {}
  void write(std::string) override {}
  void finish() override {}
  void abort() override {}
  void on_gone(std::function<void(net::Gone)> callback) override { callbacks_.push_back(std::move(callback)); }
  void end_after(std::chrono::milliseconds) override {}

  void leave() {
    for (const auto& callback : callbacks_) callback(net::Gone::kClient);
  }
  int status() {
    const std::scoped_lock lock(mutex_);
    return response_ ? response_->status : 0;
  }
  net::HttpResponse wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return response_.has_value(); });
    return *response_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<net::HttpResponse> response_;
  std::vector<std::function<void(net::Gone)>> callbacks_;
};

// A host of pictures: /late sends one after a while, /never none.
class Fetching : public ::testing::Test {
 protected:
  Fetching() {
    net::Site pictures;
    pictures.handle = [this](const net::HttpRequest& request, std::shared_ptr<net::Exchange> exchange) {
      const std::string_view gif(
          "GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;", 43);
      if (request.path == "/late") {
        std::this_thread::sleep_for(std::chrono::milliseconds(150));
        exchange->respond({.body = std::string(gif)});
      } else {
        unanswered_.push_back(std::move(exchange));
      }
    };
    host_ = std::move(*net::Server::listen({.handler_threads = 1}, pictures));
    thread_ = std::jthread([this] { host_->run(); });
  }
  ~Fetching() override { host_->stop(); }

  void open(std::chrono::milliseconds time) {
    const std::string host = fmt::format("127.0.0.1:{}", host_->port());
    service_.emplace(engine_,
                     ServiceOptions{.names = {"m"}, .fetch = {.hosts = {host}, .time = time, .public_only = false}});
    site_ = make_site(*service_, {});
  }
  std::shared_ptr<Answer> ask(std::string_view path, int pictures) {
    const std::string url = fmt::format("http://127.0.0.1:{}{}", host_->port(), path);
    Json content = Json::array({{{"type", "text"}, {"text", "What?"}}});
    for (int i = 0; i < pictures; ++i) content.push_back({{"type", "image_url"}, {"image_url", {{"url", url}}}});
    const Json body = {{"model", "m"}, {"messages", Json::array({{{"role", "user"}, {"content", content}}})}};
    auto answer = std::make_shared<Answer>();
    site_.handle({.method = "POST", .path = "/v1/chat/completions", .body = body.dump()}, answer);
    return answer;
  }

  OneWord engine_;
  std::optional<Service> service_;
  net::Site site_;
  std::vector<std::shared_ptr<net::Exchange>> unanswered_;
  std::unique_ptr<net::Server> host_;
  std::jthread thread_;
};

TEST_F(Fetching, NobodyElseWaitsForASlowHost) {
  open(std::chrono::minutes(10));
  std::vector<std::shared_ptr<Answer>> slow;
  for (int i = 0; i < 72; ++i) slow.push_back(ask("/never", 2));
  EXPECT_EQ(ask("", 0)->status(), 200);
  const net::HttpResponse busy = ask("/never", 1)->wait();
  EXPECT_EQ(busy.status, 429);
  EXPECT_EQ(busy.headers.get("Retry-After"), "1");
  for (const auto& answer : slow) EXPECT_EQ(answer->status(), 0);
  // Who has left holds up nobody behind him.
  for (const auto& answer : slow) answer->leave();
  for (const auto& answer : slow) EXPECT_EQ(answer->wait().status, 503);
  EXPECT_EQ(ask("/late", 1)->wait().status, 200);
}

TEST_F(Fetching, OneRequestHasOneDeadline) {
  open(std::chrono::milliseconds(1000));
  const net::HttpResponse late = ask("/late", 10)->wait();
  EXPECT_EQ(late.status, 400);
  EXPECT_NE(late.body.find("messages[0].content["), std::string::npos) << late.body;
}

}  // namespace
}  // namespace onsight::server
