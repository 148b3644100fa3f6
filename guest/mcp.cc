#include "mcp.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <vector>

#include "version.h"
#include "vision.h"

namespace onsight::guest {
namespace {

constexpr size_t kMaxLineBytes = size_t{1} << 20;
constexpr size_t kMaxBatch = 50;
constexpr int kParseError = -32700, kInvalidRequest = -32600, kNoMethod = -32601, kInvalidParams = -32602;
constexpr std::string_view kVersions[] = {"2025-06-18", "2025-03-26", "2024-11-05"};  // the first is what we would have

constexpr std::string_view kInstructions =
    "You work in a container, beside other agents. send_message and read_inbox talk to them and to the human; "
    "set_status "
    "says what you are doing; finish says that your task is done. Commit your work with git before you finish.";

constexpr std::string_view kTools = R"([
{"name": "send_message", "description": "Sends a message to another agent, to a role, or to \"human\". It is kept until they have read it.",
 "inputSchema": {"type": "object", "additionalProperties": false, "required": ["to", "text"], "properties": {
  "to": {"type": "string", "description": "The agent's name, or \"human\""},
  "text": {"type": "string", "description": "At most 64 KB"},
  "reply_to": {"type": "integer", "description": "The number of the message that this one answers"},
  "question": {"type": "boolean", "description": "Whether an answer is wanted"},
  "id": {"type": "string", "description": "Of a call that was not answered: with its id the message is not sent twice"}}}},
{"name": "read_inbox", "description": "The messages that have come for you, each once.",
 "inputSchema": {"type": "object", "additionalProperties": false, "properties": {
  "wait_seconds": {"type": "number", "minimum": 0, "maximum": 50, "description": "So long it waits for one if there is none"}}}},
{"name": "set_status", "description": "Says what you are doing, for those who watch.",
 "inputSchema": {"type": "object", "additionalProperties": false, "required": ["activity"], "properties": {
  "activity": {"type": "string", "enum": ["idle", "thinking", "waiting", "blocked", "completed", "limit"]},
  "detail": {"type": "string", "description": "One sentence"}}}},
{"name": "propose_tasks", "description": "Proposes tasks for other agents; what the plan allows is done. Only for planners.",
 "inputSchema": {"type": "object", "additionalProperties": false, "required": ["tasks"], "properties": {
  "tasks": {"type": "array", "minItems": 1, "items": {"type": "object"}}}}},
{"name": "look_at_picture", "description": "Asks the vision model of this machine about a picture, a screenshot for one. Not every role may.",
 "inputSchema": {"type": "object", "additionalProperties": false, "required": ["path", "question"], "properties": {
  "path": {"type": "string", "description": "The picture's file"},
  "question": {"type": "string", "description": "One question, such as: What does the dialog say?"}}}},
{"name": "finish", "description": "Says that your task is done, or that it cannot be done. Commit first.",
 "inputSchema": {"type": "object", "additionalProperties": false, "required": ["summary"], "properties": {
  "summary": {"type": "string", "description": "What was done, for the human"},
  "result": {"type": "string", "enum": ["done", "failed"]}}}}
])";

const Json& tools() {
  static const Json kParsed = Json::parse(kTools, nullptr, false);
  return kParsed;
}

Json reply_to(const Json& id, std::string_view member, Json value) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {std::string(member), std::move(value)}};
}

Json failure(const Json& id, int code, const std::string& message) {
  return reply_to(id, "error", {{"code", code}, {"message", message}});
}

// What a tool says; of a mistake, so that the model sees it and can do better.
Json content(const std::string& text, bool is_error) {
  Json out = {{"content", Json::array({{{"type", "text"}, {"text", text}}})}};
  if (is_error) out["isError"] = true;
  return out;
}

// As the schema has it: every name known, the required ones there, each of its type.
Status check_arguments(const Json& schema, const Json& arguments) {
  if (!arguments.is_object()) return bad_input("arguments: expected an object");
  const Json& properties = schema["properties"];
  for (const auto& [name, value] : arguments.items()) {
    const auto known = properties.find(name);
    if (known == properties.end()) return bad_input("{}: there is no such argument", printable(name, false));
    const std::string type = string_of(*known, "type");
    const bool fits = type == "string"    ? value.is_string()
                      : type == "integer" ? value.is_number_integer() && value > 0
                      : type == "number"  ? value.is_number() && value >= 0
                      : type == "boolean" ? value.is_boolean()
                                          : value.is_array();
    if (!fits) return bad_input("{}: expected {} {}", name, type == "integer" || type == "array" ? "an" : "a", type);
    const auto choices = known->find("enum");
    if (choices != known->end() && std::find(choices->begin(), choices->end(), value) == choices->end())
      return bad_input("{}: expected one of {}", name, to_text(*choices));
  }
  if (const auto required = schema.find("required"); required != schema.end())
    for (const Json& name : *required)
      if (!arguments.contains(name.get_ref<const std::string&>()))
        return bad_input("{}: missing", name.get_ref<const std::string&>());
  return {};
}

constexpr std::chrono::seconds kAnswerTime{20}, kPictureTime{300};

Clock::time_point soon(std::chrono::seconds time = kAnswerTime) { return Clock::now() + time; }

}  // namespace

Result<McpServer::Outcome> McpServer::call(const std::string& tool, const Json& arguments,
                                           const std::function<bool()>& hurry) {
  if (tool == "send_message") {
    Outgoing message = {string_of(arguments, "to"), string_of(arguments, "text"), string_of(arguments, "id")};
    if (message.id.empty()) message.id = new_message_id();
    if (arguments.contains("reply_to")) message.reply_to = arguments["reply_to"].get<int64_t>();
    message.question = arguments.value("question", false);
    const std::string id = message.id;
    const auto number = bus_.send(std::move(message), soon());
    if (!number && number.error().reason == kNoBroker)
      return bad_input("{}: call again with id \"{}\", which sends it once", number.error().message, id);
    TRY(const int64_t sent, number);
    return Outcome{content(fmt::format("Sent as #{}", sent), false)};
  }
  if (tool == "read_inbox") {
    const double wait = std::clamp(arguments.value("wait_seconds", 0.0), 0.0, 50.0);
    TRY(std::vector<Incoming> messages, bus_.inbox(std::chrono::milliseconds(std::lround(wait * 1000)), hurry));
    if (messages.empty()) return Outcome{content("No messages", false)};
    const std::string text = to_read(messages);
    return Outcome{content(text, false), [this, messages = std::move(messages)] {
                     if (!bus_.consumed(messages, soon())) return;  // then they come once more
                   }};
  }
  if (tool == "set_status") {
    TRY_STATUS(bus_.set_status(string_of(arguments, "activity"), string_of(arguments, "detail"), soon()));
    return Outcome{content("Noted", false)};
  }
  if (tool == "propose_tasks") {
    for (const Json& task : arguments["tasks"])
      if (!task.is_object()) return bad_input("tasks: expected objects");
    TRY(const Json answer, bus_.propose(arguments["tasks"], soon()));
    return Outcome{content("Proposed: " + to_text(answer), false)};
  }
  if (tool == "look_at_picture") {
    TRY(const std::string said,
        ask_vision(bus_.broker(), string_of(arguments, "path"), string_of(arguments, "question"), soon(kPictureTime)));
    return Outcome{content(said, false)};
  }
  TRY_STATUS(bus_.finish(string_of(arguments, "summary"), string_of(arguments, "result") == "failed", soon()));
  return Outcome{content("Noted: you are done", false)};
}

std::optional<McpReply> McpServer::one(const Json& request, const std::function<bool()>& hurry) {
  const auto reply = [](const Json& value) { return McpReply{to_text(value)}; };
  Json id;
  if (request.is_object() && request.contains("id")) id = request["id"];
  const bool has_id = id.is_string() || id.is_number_integer();
  if (!request.is_object() || string_of(request, "jsonrpc") != "2.0" || (!id.is_null() && !has_id))
    return reply(failure(has_id ? id : Json(), kInvalidRequest, "expected a request of JSON-RPC 2.0"));
  const std::string method = string_of(request, "method");
  if (method.empty()) {
    if (request.contains("result") || request.contains("error")) return std::nullopt;  // we asked nothing
    return reply(failure(id, kInvalidRequest, "method: expected a name"));
  }
  if (!has_id) return std::nullopt;  // a notification
  const auto given = request.find("params");
  const Json params = given == request.end() || given->is_null() ? Json::object() : *given;
  if (!params.is_object()) return reply(failure(id, kInvalidParams, "params: expected an object"));

  if (method == "initialize") {
    const std::string wanted = string_of(params, "protocolVersion");
    const bool known = std::find(std::begin(kVersions), std::end(kVersions), wanted) != std::end(kVersions);
    return reply(reply_to(id, "result",
                          {{"protocolVersion", known ? wanted : std::string(kVersions[0])},
                           {"capabilities", {{"tools", Json::object()}}},
                           {"serverInfo", {{"name", "onsight-agent"}, {"version", std::string(kVersion)}}},
                           {"instructions", std::string(kInstructions)}}));
  }
  if (method == "ping") return reply(reply_to(id, "result", Json::object()));
  if (method == "tools/list") return reply(reply_to(id, "result", {{"tools", tools()}}));
  if (method != "tools/call") return reply(failure(id, kNoMethod, "there is no such method"));

  const std::string name = string_of(params, "name");
  const auto tool =
      std::find_if(tools().begin(), tools().end(), [&](const Json& each) { return each["name"] == name; });
  if (tool == tools().end()) return reply(failure(id, kInvalidParams, "name: there is no such tool"));
  const auto found = params.find("arguments");
  const Json arguments = found == params.end() || found->is_null() ? Json::object() : *found;
  Result<Outcome> outcome = [&]() -> Result<Outcome> {
    TRY_STATUS(check_arguments((*tool)["inputSchema"], arguments));
    return call(name, arguments, hurry);
  }();
  if (!outcome) return reply(reply_to(id, "result", content(outcome.error().message, true)));
  return McpReply{to_text(reply_to(id, "result", std::move(outcome->result))), std::move(outcome->written)};
}

std::optional<McpReply> McpServer::take(std::string_view line, const std::function<bool()>& hurry) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return std::nullopt;
  const auto request = parse_outside(line, "request");
  if (!request) return McpReply{to_text(failure(Json(), kParseError, request.error().message))};
  if (!request->is_array()) return one(*request, hurry);
  // A batch, of the protocol of 2025-03-26.
  if (request->empty() || request->size() > kMaxBatch)
    return McpReply{to_text(failure(Json(), kInvalidRequest, fmt::format("expected 1 to {} requests", kMaxBatch)))};
  std::string text;
  std::vector<std::function<void()>> written;
  for (const Json& each : *request) {
    std::optional<McpReply> reply = one(each, hurry);
    if (!reply) continue;
    text += (text.empty() ? "" : ",") + reply->line;
    if (reply->written) written.push_back(std::move(reply->written));
  }
  if (text.empty()) return std::nullopt;
  return McpReply{"[" + text + "]", [written = std::move(written)] {
                    for (const auto& each : written) each();
                  }};
}

Result<int> run_mcp(const Bus& bus) {
  McpServer server(bus);
  std::string rest;
  bool too_long = false, ended = false;
  const auto write_line = [](const std::string& line) {
    const std::string text = line + "\n";
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t n = ::write(1, text.data() + sent, text.size() - sent);
      if (n > 0) sent += static_cast<size_t>(n);
      if (n < 0 && errno != EINTR) return false;
    }
    return true;
  };
  while (!ended) {
    char buffer[64 << 10];
    const ssize_t n = ::read(0, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    ended = n <= 0;
    if (n > 0) rest.append(buffer, static_cast<size_t>(n));
    size_t begin = 0;
    for (size_t end = 0; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string_view line = std::string_view(rest).substr(begin, end - begin);
      const bool more = rest.find('\n', end + 1) != std::string::npos;
      const auto hurry = [&] {
        pollfd input = {.fd = 0, .events = POLLIN, .revents = 0};
        return more || ::poll(&input, 1, 0) > 0;
      };
      std::optional<McpReply> reply;
      if (too_long || line.size() > kMaxLineBytes)
        reply = McpReply{
            to_text(failure(Json(), kParseError, fmt::format("a line is longer than {} bytes", kMaxLineBytes)))};
      else
        reply = server.take(line, hurry);
      too_long = false;
      if (!reply) continue;
      if (!write_line(reply->line)) return 0;  // nobody listens any more
      if (reply->written) reply->written();
    }
    rest.erase(0, begin);
    if (rest.size() > kMaxLineBytes) {
      rest.clear();
      too_long = true;
    }
  }
  return 0;
}

}  // namespace onsight::guest
