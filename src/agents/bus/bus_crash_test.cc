// A broker that is killed again and again, at any moment: no message is lost, and none is given twice to who has it.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "agents/bus/bus.h"
#include "agents/bus/mail.h"
#include "agents/state/test_support.h"

namespace onsight::agents::bus {
namespace {

using trial::TempFolder;

constexpr int kCrashAgents = 5;

std::string crash_agent(int i) { return fmt::format("agent{}", i); }

std::shared_ptr<const config::Config> crash_config() {
  auto out = std::make_shared<config::Config>();
  config::Role role;
  role.name = "coder";
  role.may_message = {"*"};
  out->roles["coder"] = role;
  return out;
}

bool write_line(int fd, const std::string& text) {
  const std::string line = text + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::send(fd, line.data() + done, line.size() - done, MSG_NOSIGNAL);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

std::optional<std::string> read_line(int fd) {
  std::string out;
  char c = 0;
  for (;;) {
    const ssize_t n = ::recv(fd, &c, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    if (c == '\n') return out;
    out += c;
  }
}

// Answers requests, one a line, until the other end goes.
void serve(const Path& file, int fd) {
  auto store = state::Store::open(file);
  if (!store) ::_exit(9);
  const auto config = crash_config();
  Bus bus(**store, [&] { return config; }, {.per_minute = 1'000'000, .burst = 1'000'000});
  while (const auto line = read_line(fd)) {
    const Json asked = Json::parse(*line);
    const net::HttpResponse response = bus.handle(
        asked.at("agent").get<std::string>(),
        {.method = asked.at("method"), .path = asked.at("path"), .body = asked.value("body", Json::object()).dump()});
    if (!write_line(fd, Json({{"status", response.status}, {"body", response.body}}).dump())) ::_exit(0);
  }
}

class Broker {
 public:
  explicit Broker(Path file) : file_(std::move(file)) { start(); }
  ~Broker() { stop(); }

  void start() {
    int ends[2];
    ONSIGHT_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    fd_ = ends[0];
    pid_ = ::fork();
    ONSIGHT_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::close(ends[0]);
      serve(file_, ends[1]);
      ::_exit(0);
    }
    ::close(ends[1]);
  }
  void stop() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(fd_);
  }

  // Asks until there is an answer; kills it meanwhile if `kill_after_us` is not negative, and asks the same again then.
  Json ask(const Json& request, int kill_after_us) {
    for (;;) {
      const bool sent = write_line(fd_, request.dump());
      if (sent && kill_after_us >= 0) {
        if (kill_after_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(kill_after_us));
        ::kill(pid_, SIGKILL);
        ++kills;
        kill_after_us = -1;
      }
      if (const auto line = sent ? read_line(fd_) : std::nullopt) {
        const Json answer = Json::parse(*line);
        return {{"status", answer.at("status")}, {"body", Json::parse(answer.at("body").get<std::string>())}};
      }
      stop();
      start();
    }
  }

  int kills = 0;

 private:
  const Path file_;
  pid_t pid_ = -1;
  int fd_ = -1;
};

TEST(BusCrash, NoMessageIsLostOrDoubled) {
  const TempFolder folder;
  const Path file = folder / "state.db";
  {
    auto store = state::Store::open(file);
    ASSERT_TRUE(store);
    for (int i = 0; i < kCrashAgents; ++i) ASSERT_TRUE(trial::add(**store, trial::created(crash_agent(i))));
  }
  std::mt19937 random(5);
  const auto up_to = [&](int n) { return std::uniform_int_distribution<int>(0, n)(random); };
  Broker broker(file);
  std::map<std::string, std::string> sent;  // text → recipient, acknowledged
  std::map<std::string, int> kept;          // text → how often it was kept by who got it
  std::set<int64_t> said_consumed;
  int sends = 0;
  const auto read_one = [&](int who, bool killing) {
    const auto time = [&] { return killing && up_to(2) == 0 ? up_to(1500) : -1; };
    const Json inbox = broker.ask({{"agent", crash_agent(who)}, {"method", "GET"}, {"path", "/onsight/inbox"}}, time());
    ASSERT_EQ(inbox.at("status"), 200);
    Json numbers = Json::array();
    for (const Json& message : inbox.at("body").at("messages")) {
      const int64_t number = message.at("number");
      ASSERT_FALSE(said_consumed.count(number)) << "given again after it was consumed";
      const std::string text = message.at("text");
      ASSERT_EQ(text.substr(text.find('>') + 1), crash_agent(who));
      ++kept[text];
      numbers.push_back(number);
    }
    if (numbers.empty()) return;
    const Json consumed = broker.ask({{"agent", crash_agent(who)},
                                      {"method", "POST"},
                                      {"path", "/onsight/inbox/consumed"},
                                      {"body", {{"numbers", numbers}}}},
                                     time());
    ASSERT_EQ(consumed.at("status"), 200);
    for (const Json& number : numbers) said_consumed.insert(number.get<int64_t>());
  };
  while (broker.kills < 220) {
    const int from = up_to(kCrashAgents - 1), to = (from + 1 + up_to(kCrashAgents - 2)) % kCrashAgents;
    const std::string text = fmt::format("{}>{}", sends, crash_agent(to));
    const Json answer = broker.ask({{"agent", crash_agent(from)},
                                    {"method", "POST"},
                                    {"path", "/onsight/messages"},
                                    {"body", {{"id", std::to_string(sends)}, {"to", crash_agent(to)}, {"text", text}}}},
                                   up_to(2) == 0 ? up_to(1500) : -1);
    ASSERT_TRUE(answer.at("status") == 201 || answer.at("status") == 200) << answer;
    sent[text] = crash_agent(to);
    ++sends;
    if (up_to(2) == 0) read_one(up_to(kCrashAgents - 1), true);
    if (HasFatalFailure()) return;
  }
  for (int i = 0; i < kCrashAgents; ++i) read_one(i, false);
  broker.stop();
  broker.start();
  EXPECT_EQ(kept.size(), sent.size());
  for (const auto& [text, recipient] : sent) EXPECT_EQ(kept[text], 1) << text;
  auto store = state::Store::open(file);
  ASSERT_TRUE(store);
  const Status verified = (*store)->verify();
  EXPECT_TRUE(verified) << verified.error().message;
  const auto all = list_messages(**store, "", 0, 100'000);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), static_cast<size_t>(sends));
  for (const state::MessageRow& message : *all) EXPECT_EQ(receipt_of(message), "consumed");
  RecordProperty("kills", broker.kills);
  RecordProperty("messages", sends);
}

}  // namespace
}  // namespace onsight::agents::bus
