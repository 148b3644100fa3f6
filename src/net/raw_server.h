// RawServer: for tests; a unix socket whose connections are answered with bytes as they are.
//
//   RawServer server(path, [](int connection) { say(connection, "HTTP/1.1 200 OK\r\n\r\n"); });
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace onsight::net {

class RawServer {
 public:
  // `answer` runs on a thread a connection, which is closed behind it.
  RawServer(std::string path, std::function<void(int connection)> answer)
      : path_(std::move(path)), answer_(std::move(answer)) {
    std::filesystem::remove(path_);
    socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), std::min(path_.size(), sizeof(address.sun_path) - 1));
    ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    ::listen(socket_, 64);
    accepting_ = std::thread([this] {
      for (;;) {
        const int connection = ::accept(socket_, nullptr, nullptr);
        if (connection < 0) return;
        answering_.emplace_back([this, connection] {
          answer_(connection);
          ::shutdown(connection, SHUT_RDWR);
          ::close(connection);
        });
      }
    });
  }
  ~RawServer() {
    ::shutdown(socket_, SHUT_RDWR);
    accepting_.join();
    for (std::thread& one : answering_) one.join();
    ::close(socket_);
    std::filesystem::remove(path_);
  }
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;
  const std::string& path() const { return path_; }

  static void say(int connection, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // A request with its body, if that has a length; empty: the client has gone.
  static std::string hear(int connection) {
    std::string heard;
    size_t wanted = std::string::npos;
    for (char bytes[4096]; heard.size() < wanted;) {
      const ssize_t got = ::recv(connection, bytes, sizeof(bytes), 0);
      if (got <= 0) return {};
      heard.append(bytes, static_cast<size_t>(got));
      const size_t end = heard.find("\r\n\r\n");
      if (end == std::string::npos || wanted != std::string::npos) continue;
      const size_t length = heard.find("Content-Length: ");
      wanted = end + 4;
      if (length < end) wanted += std::stoul(heard.substr(length + 16));
    }
    return heard;
  }

 private:
  std::string path_;
  std::function<void(int)> answer_;
  int socket_ = -1;
  std::thread accepting_;
  std::vector<std::thread> answering_;
};

}  // namespace onsight::net
