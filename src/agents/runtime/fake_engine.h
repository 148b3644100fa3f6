// FakeEngine: for tests; a container engine that says what it is told to, or what a real one said once.
//
//   FakeEngine engine(path);
//   engine.on("POST", "/containers/create", FakeEngine::json(201, R"({"Id":"0123456789ab"})"));
//   auto runtime = connect({.socket = path});
#pragma once

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "net/raw_server.h"

namespace onsight::agents::runtime {

inline constexpr std::string_view kDockerVersion =
    R"({"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Components":[{"Name":"Engine"}]})";
inline constexpr std::string_view kPodmanVersion =
    R"({"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]})";

class FakeEngine {
 public:
  // What is said to a request, as bytes; an empty one closes the connection.
  using Answer = std::function<std::string(const std::string& request)>;

  explicit FakeEngine(const std::string& path, std::string_view version = kDockerVersion)
      : server_(path, [this](int connection) { answer(connection); }) {
    on("GET", "/version", json(200, version));
  }

  static std::string json(int status, std::string_view body) {
    return fmt::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", status,
                       body.size(), body);
  }
  static std::string upgraded(std::string_view bytes) {
    return fmt::format("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{}", bytes);
  }
  static std::string frame(char source, std::string_view bytes) {
    std::string head{source, 0, 0, 0, 0, 0, static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size())};
    return head + std::string(bytes);
  }

  // `place`: in the request's target, which the one that was added last decides.
  void on(std::string_view method, std::string_view place, std::string says) {
    on(method, place, [says = std::move(says)](const std::string&) { return says; });
  }
  void on(std::string_view method, std::string_view place, Answer answer) {
    const std::lock_guard lock(mutex_);
    rules_.insert(rules_.begin(), {std::string(method) + " ", std::string(place), std::move(answer)});
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // The last whose first line has this in it; empty without one.
  std::string request(std::string_view place) {
    const std::lock_guard lock(mutex_);
    for (auto at = requests_.rbegin(); at != requests_.rend(); ++at)
      if (at->substr(0, at->find('\r')).find(place) != std::string::npos) return *at;
    return {};
  }

 private:
  struct Rule {
    std::string method, place;
    Answer answer;
  };

  void answer(int connection) {
    const std::string request = net::RawServer::hear(connection);
    Answer chosen;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      const std::string line = request.substr(0, request.find('\r'));
      for (const Rule& rule : rules_)
        if (!chosen && line.starts_with(rule.method) && line.find(rule.place) != std::string::npos)
          chosen = rule.answer;
    }
    net::RawServer::say(connection, chosen ? chosen(request) : json(404, R"({"message":"page not found"})"));
  }

  std::mutex mutex_;
  std::vector<Rule> rules_;
  std::vector<std::string> requests_;
  net::RawServer server_;  // last: it ends before what it uses
};

// What tests/agents/record.py heard: an answer for each request, in order; one that is asked for again and again stays.
class ReplayedEngine {
 public:
  ReplayedEngine(const std::string& path, Json connections)
      : connections_(std::move(connections)),
        used_(connections_.size(), false),
        server_(path, [this](int connection) { answer(connection); }) {}

  std::vector<std::string> unknown() {
    const std::lock_guard lock(mutex_);
    return unknown_;
  }

 private:
  static std::string bytes_of(const std::string& latin) {
    std::string out;
    for (size_t i = 0; i < latin.size(); ++i) {
      const auto byte = static_cast<unsigned char>(latin[i]);
      if (byte < 0x80) {
        out += latin[i];
      } else {
        out += static_cast<char>((byte & 3) << 6 | (static_cast<unsigned char>(latin[i + 1]) & 0x3f));
        ++i;
      }
    }
    return out;
  }

  void answer(int connection) {
    const std::string request = net::RawServer::hear(connection);
    const std::string line = request.substr(0, request.find(" HTTP/"));
    Json events;
    {
      const std::lock_guard lock(mutex_);
      size_t chosen = connections_.size();
      for (size_t i = 0; i < connections_.size(); ++i) {
        if (connections_[i]["request"] != line) continue;
        chosen = i;
        if (!used_[i]) break;
      }
      if (chosen == connections_.size()) {
        unknown_.push_back(line);
        return;
      }
      used_[chosen] = true;
      events = connections_[chosen]["events"];
    }
    size_t heard = 0;
    for (const Json& event : events) {
      if (event.is_string()) {
        net::RawServer::say(connection, bytes_of(event.get<std::string>()));
        continue;
      }
      if (event.is_null()) return;
      // So many bytes came from the client before the engine went on.
      for (char bytes[4096]; heard < event.get<size_t>();) {
        const ssize_t got = ::recv(connection, bytes, sizeof(bytes), 0);
        if (got <= 0) return;
        heard += static_cast<size_t>(got);
      }
    }
    // What the engine did not end stays open until the client leaves.
    if (!events.empty() && events.back().is_null()) return;
    for (char bytes[4096]; ::recv(connection, bytes, sizeof(bytes), 0) > 0;) continue;
  }

  std::mutex mutex_;
  const Json connections_;
  std::vector<bool> used_;
  std::vector<std::string> unknown_;
  net::RawServer server_;
};

}  // namespace onsight::agents::runtime
