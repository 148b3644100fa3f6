// A broker with scripted hosts around it: names resolve to public addresses, and those lead to loopback.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <set>

#include "agents/broker/broker.h"
#include "agents/broker/fake_store_for_test.h"
#include "agents/broker/scripted_host_for_test.h"

namespace onsight::agents::broker {

constexpr std::string_view kRealKey = "sk-ant-real-0123456789abcdef", kOtherKey = "sk-oai-real-fedcba9876543210";
constexpr std::string_view kPlaceholder = "sk-placeholder-of-reviewer",
                           kSiblingPlaceholder = "sk-placeholder-of-writer";

struct EchoBus : BusHandler {
  net::HttpResponse handle(const Caller& caller, const net::HttpRequest& request) override {
    ++asked;
    if (request.query_value("wait") == "yes")
      while (!caller.over()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return {200,
            {{"Content-Type", "application/json"}},
            Json({{"agent", caller.agent}, {"path", request.path}, {"body", request.body}}).dump()};
  }
  void wake() override { ++woken; }
  std::atomic<int> asked{0}, woken{0};
};

class BrokerTest : public testing::Test {
 protected:
  BrokerTest() {
    std::string name = std::filesystem::temp_directory_path() / "onsight-broker-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    std::filesystem::create_directories(folder_ / "run");
    project_.root = folder_;
    project_.id = "0123456789ab";
    project_.state = folder_;
    project_.run = folder_ / "run";
    config::Role role;
    role.name = "coder";
    role.providers = {"anthropic"};
    config_.roles["coder"] = role;
    state::AgentRow row;
    row.name = "reviewer";
    row.role = "coder";
    row.phase = state::Phase::kRunning;
    row.placeholder = kPlaceholder;
    store_.put(row);
    row.name = "writer";
    row.placeholder = kSiblingPlaceholder;
    store_.put(row);
  }
  ~BrokerTest() override {
    broker_.reset();
    std::filesystem::remove_all(folder_);
  }

  config::Role& role() { return config_.roles["coder"]; }
  void allow(std::string method, std::string host, std::string path, int port = 0) {
    config::AllowRule rule;
    rule.method = std::move(method);
    rule.host = std::move(host);
    rule.path = std::move(path);
    rule.port = port;
    role().allow.push_back(rule);
  }
  config::Provider& provider(const std::string& name, const std::string& url, const std::string& protocol,
                             const std::string& header) {
    config::Provider out;
    out.name = name;
    out.url = url;
    out.protocol = protocol;
    out.key = name;
    out.header = header;
    out.prices = {{"", 3'000'000, 15'000'000, 300'000}};
    out.max_output_tokens = 1000;
    role().providers.push_back(name);
    return config_.providers[name] = out;
  }
  // From here on this name has this address, and connections to it go to that port of loopback.
  void host(const std::string& name, const std::string& address, int port = 0) {
    const std::lock_guard lock(mutex_);
    names_[name].push_back(address);
    if (port) ports_[address] = port;
  }

  BrokerOptions options() {
    BrokerOptions out;
    out.project = project_;
    out.store = &store_;
    out.config = config_;
    out.bus = &bus_;
    out.limits = limits_;
    out.key = [this](std::string_view name, std::string_view to) -> Result<vault::Secret> {
      if (name == "missing") return bad_input("there is none");
      if (!bound_to_.empty() && to != bound_to_)
        return tl::unexpected<Error>(Error{ErrorCode::kBadInput, "it is bound elsewhere", {}, "key_host"});
      return vault::Secret(name == "openai" ? kOtherKey : kRealKey);
    };
    out.resolver = [this](const std::string& name, int port) -> Result<std::vector<Address>> {
      const std::lock_guard lock(mutex_);
      ++resolved_[name];
      std::vector<Address> found;
      for (const std::string& text : names_[name]) {
        Authority at;
        at.host = text;
        at.port = port;
        at.v6 = text.find(':') != std::string::npos;
        found.push_back(literal_address(at).value());
      }
      return found;
    };
    out.dial = [this](const Address& address, const Waiting& waiting, Time until) -> Result<Descriptor> {
      Address to = address;
      {
        const std::lock_guard lock(mutex_);
        dialled_.push_back(address.text());
        if (const auto at = ports_.find(address.text()); at != ports_.end()) {
          Authority local;
          local.host = "127.0.0.1";
          local.port = at->second;
          to = literal_address(local).value();
        }
      }
      return dial(to, waiting, until);
    };
    const Path pem = folder_ / "authority.pem";
    EXPECT_TRUE(write_file_atomically(pem, authority_.pem()));
    out.authorities = pem;
    return out;
  }
  void start() {
    auto made = Broker::start(options());
    ASSERT_TRUE(made) << made.error().message;
    broker_ = *std::move(made);
  }
  Path socket(const std::string& agent = "reviewer") const { return project_.sockets(agent) / "broker.sock"; }
  AgentClient::Reply ask(const std::string& text, const std::string& agent = "reviewer") {
    AgentClient client(socket(agent));
    EXPECT_TRUE(client.connected());
    return client.ask(text);
  }
  static std::string get(const std::string& url, const std::string& host, const std::string& more = "") {
    return "GET " + url + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n";
  }
  static std::string post(const std::string& path, const std::string& body, const std::string& more) {
    return "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n" + more +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  static std::string with_key(std::string_view key = kPlaceholder) { return "x-api-key: " + std::string(key) + "\r\n"; }
  // The reason of the last refusal that is an event.
  std::string refused(const std::string& agent = "reviewer") {
    const auto events = store_.all("egress.refused", agent);
    return events.empty() ? "" : events.back().body.at("reason").get<std::string>();
  }
  std::vector<std::string> dialled() {
    const std::lock_guard lock(mutex_);
    return dialled_;
  }
  int resolved(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return resolved_[name];
  }

  Path folder_;
  Project project_;
  FakeStore store_;
  EchoBus bus_;
  config::Config config_;
  BrokerLimits limits_;
  std::string bound_to_;  // where keys may go; empty: anywhere
  TestAuthority authority_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::string>> names_;
  std::map<std::string, int> ports_, resolved_;
  std::vector<std::string> dialled_;
  std::unique_ptr<Broker> broker_;
};

}  // namespace onsight::agents::broker
