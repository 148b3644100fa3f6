// Mcp: the bus as a server of the Model Context Protocol (2024-11-05 to 2025-06-18), one line of JSON-RPC 2.0 a
// message.
//
//   McpServer server(bus);
//   std::optional<McpReply> reply = server.take(R"({"jsonrpc":"2.0","id":1,"method":"tools/list"})", {});
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "bus.h"

namespace onsight::guest {

struct McpReply {
  std::string line;
  std::function<void()> written = {};  // to be called when the line has been written
};

class McpServer {
 public:
  explicit McpServer(Bus bus) : bus_(std::move(bus)) {}
  // What a line is answered with; nullopt: nothing. `hurry` says that the client has written more and waits.
  std::optional<McpReply> take(std::string_view line, const std::function<bool()>& hurry);

 private:
  struct Outcome {
    Json result;
    std::function<void()> written = {};
  };
  std::optional<McpReply> one(const Json& request, const std::function<bool()>& hurry);
  Result<Outcome> call(const std::string& tool, const Json& arguments, const std::function<bool()>& hurry);
  Bus bus_;
};

// Serves standard input until it ends. The exit code.
Result<int> run_mcp(const Bus& bus);

}  // namespace onsight::guest
