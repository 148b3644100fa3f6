// onsight-agent: what runs in an agent's container beside the agent. One verb a line of kVerbs.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agents/bridge/bridge.h"
#include "base/exit_code.h"
#include "bus.h"
#include "collect.h"
#include "init.h"
#include "mcp.h"
#include "probe.h"
#include "repository.h"
#include "tasks.h"
#include "version.h"
#include "vision.h"

namespace onsight::guest {
namespace {

constexpr int kExitRefused = 5, kExitNoBroker = 6;
constexpr size_t kMaxTextBytes = size_t{4} << 20;

constexpr std::string_view kHelp =
    R"(onsight-agent VERB …: talks to the other agents and to the human from within a container

  send TO TEXT [--reply-to N] [--question] [--id ID] [--timeout SECONDS]
                        a message to an agent, a role or "human"; TEXT - is standard input. It asks until the
                        message is kept, and a message of the same ID is the same message
  inbox [--wait SECONDS] [--json]
                        the messages that have come, each once; waits so long for one
  status ACTIVITY [DETAIL]
                        says what it is doing: idle, thinking, waiting, blocked, completed, limit
  propose FILE          proposes tasks, of JSON or TOML ([[tasks]]); - is standard input
  done SUMMARY [--failed]
                        says that the task is done, or cannot be done
  look PICTURE QUESTION [--timeout SECONDS]
                        what the vision model of this machine says of a picture, where the role may ask it
  me                    who it is and what it may do, as JSON
  mcp                   the same as a server of the Model Context Protocol on standard input and output

  init [--port N] [--broker PATH] [--patience SECONDS] [--no-heartbeat] -- COMMAND…
                        the first process of the container: offers the broker at 127.0.0.1:8080, runs COMMAND and
                        ends with its exit code (128 and its number, if a signal ended it)
  bridge [--socket PATH]
                        offers the broker's socket here and carries its connections over standard input and output
  collect --branch NAME [--base COMMIT] [--tree FOLDER]
                        a git bundle of the clone's work on standard output
  check …               tries what the container must refuse; `check --help` has the list
  version

Exit codes: 0 done · 1 output cannot be written · 2 wrong arguments · 3 wrong input · 5 the broker refuses it ·
6 the broker does not answer · 126 and 127 of init: COMMAND cannot be run, is not there
The broker is at ONSIGHT_BROKER, which is /run/onsight/broker.sock where nothing is said. Where it comes from
outside, init waits ONSIGHT_BROKER_TIME seconds for it before it runs COMMAND.
)";

struct Arguments {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;  // of a flag: empty
  bool has(const std::string& name) const { return options.count(name) != 0; }
};

tl::unexpected<Error> usage(const std::string& what) { return make_error(ErrorCode::kUsage, "{}", what); }

// `known`: "reply-to=" takes a value, "question" does not. After -- all are words.
Result<Arguments> read_arguments(const std::vector<std::string>& given, const std::vector<std::string>& known,
                                 size_t least, size_t most, const std::string& expected) {
  Arguments out;
  bool words_only = false;
  for (size_t i = 0; i < given.size(); ++i) {
    const std::string& word = given[i];
    if (words_only || !word.starts_with("--")) {
      out.words.push_back(word);
      continue;
    }
    if (word == "--") {
      words_only = true;
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    bool found = false;
    for (const std::string& each : known) {
      const bool takes = each.ends_with('=');
      if (each != (takes ? name + "=" : name)) continue;
      found = true;
      if (takes && equals == std::string::npos && i + 1 == given.size())
        return usage("--" + name + ": expected a value");
      if (!takes && equals != std::string::npos) return usage("--" + name + ": takes no value");
      out.options[name] = !takes ? "" : equals != std::string::npos ? word.substr(equals + 1) : given[++i];
    }
    if (!found) return usage(word + ": there is no such option, expected " + expected);
  }
  if (out.words.size() < least || out.words.size() > most) return usage("expected " + expected);
  return out;
}

Result<int64_t> number_of(const Arguments& arguments, const std::string& name, int64_t otherwise, int64_t most) {
  if (!arguments.has(name)) return otherwise;
  const std::string& text = arguments.options.at(name);
  int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < 0 || out > most)
    return usage(fmt::format("--{}: expected 0 to {}, found '{}'", name, most, text));
  return out;
}

Result<std::string> read_input() {
  std::string out;
  char buffer[64 << 10];
  for (;;) {
    const ssize_t n = ::read(0, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return make_error(ErrorCode::kIo, "standard input: {}", std::strerror(errno));
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > kMaxTextBytes) return bad_input("standard input: expected at most {} bytes", kMaxTextBytes);
  }
}

// All of it, or an error: what has not been printed has not been read.
Status print_all(const std::string& text) {
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t n = ::write(1, text.data() + sent, text.size() - sent);
    if (n > 0) sent += static_cast<size_t>(n);
    if (n < 0 && errno != EINTR) return make_error(ErrorCode::kIo, "standard output: {}", std::strerror(errno));
  }
  return {};
}

std::string broker_socket() {
  const char* path = std::getenv("ONSIGHT_BROKER");
  return path && *path ? path : std::string(kBrokerSocket);
}

Bus the_bus() { return Bus(Broker(broker_socket())); }

Clock::time_point within(int64_t seconds) {
  return seconds == 0 ? Clock::now() + std::chrono::hours(24 * 365) : Clock::now() + std::chrono::seconds(seconds);
}

constexpr int64_t kDay = 86'400, kPictureSeconds = 600;

Result<int> do_send(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {"reply-to=", "question", "id=", "timeout="}, 2, 2,
                                                "send TO TEXT [--reply-to N] [--question] [--id ID]"));
  TRY(const int64_t timeout, number_of(arguments, "timeout", 0, kDay));
  Outgoing message = {arguments.words[0], arguments.words[1]};
  if (message.text == "-") {
    TRY(message.text, read_input());
  }
  if (arguments.has("id")) message.id = arguments.options.at("id");
  if (arguments.has("reply-to")) {
    TRY(message.reply_to, number_of(arguments, "reply-to", 0, INT64_MAX));
  }
  message.question = arguments.has("question");
  TRY(const int64_t number, the_bus().send(std::move(message), within(timeout)));
  TRY_STATUS(print_all(fmt::format("sent as #{}\n", number)));
  return 0;
}

Result<int> do_inbox(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {"wait=", "json"}, 0, 0, "inbox [--wait SECONDS] [--json]"));
  TRY(const int64_t wait, number_of(arguments, "wait", 0, kDay));
  const Bus bus = the_bus();
  TRY(const std::vector<Incoming> messages, bus.inbox(std::chrono::seconds(wait)));
  if (arguments.has("json")) {
    Json list = Json::array();
    for (const Incoming& message : messages) list.push_back(message.whole);
    TRY_STATUS(print_all(to_text({{"messages", list}}) + "\n"));
  } else if (messages.empty()) {
    std::fputs("onsight-agent: no messages\n", stderr);
  } else {
    TRY_STATUS(print_all(to_read(messages)));
  }
  if (!messages.empty()) TRY_STATUS(bus.consumed(messages, within(60)));
  return 0;
}

Result<int> do_status(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {}, 1, 2, "status ACTIVITY [DETAIL]"));
  // Agents' hooks call it at every step: it does not hold them up.
  TRY_STATUS(the_bus().set_status(arguments.words[0], arguments.words.size() > 1 ? arguments.words[1] : "", within(3)));
  return 0;
}

Result<int> do_propose(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {"timeout="}, 1, 1, "propose FILE"));
  TRY(const int64_t timeout, number_of(arguments, "timeout", 0, kDay));
  const std::string& path = arguments.words[0];
  std::string text;
  if (path == "-") {
    TRY(text, read_input());
  } else {
    auto found = read_plain(path, kMaxTextBytes);
    if (!found) return bad_input("{}: expected a file of at most {} bytes", path, kMaxTextBytes);
    text = std::move(*found);
  }
  TRY(const Json tasks, tasks_of(text, path == "-" ? "standard input" : path));
  TRY(const Json answer, the_bus().propose(tasks, within(timeout)));
  TRY_STATUS(print_all(to_text(answer, 2) + "\n"));
  return 0;
}

Result<int> do_done(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {"failed", "timeout="}, 1, 1, "done SUMMARY [--failed]"));
  TRY(const int64_t timeout, number_of(arguments, "timeout", 0, kDay));
  TRY_STATUS(the_bus().finish(arguments.words[0], arguments.has("failed"), within(timeout)));
  return 0;
}

Result<int> do_look(const std::vector<std::string>& given) {
  TRY(const Arguments arguments,
      read_arguments(given, {"timeout="}, 2, 2, "look PICTURE QUESTION [--timeout SECONDS]"));
  TRY(const int64_t timeout, number_of(arguments, "timeout", kPictureSeconds, kDay));
  TRY(const std::string said,
      ask_vision(Broker(broker_socket()), arguments.words[0], arguments.words[1], within(timeout)));
  TRY_STATUS(print_all(printable(said, true) + "\n"));
  return 0;
}

Result<int> do_me(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {}, 0, 0, "me"));
  TRY(const Json answer, the_bus().me(within(15)));
  TRY_STATUS(print_all(to_text(answer, 2) + "\n"));
  return 0;
}

Result<int> do_mcp(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {}, 0, 0, "mcp"));
  return run_mcp(the_bus());
}

Result<int> do_init(const std::vector<std::string>& given) {
  std::vector<std::string> options = given;
  InitOptions init;
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] != "--") continue;
    options.resize(i);
    init.command.assign(given.begin() + static_cast<std::ptrdiff_t>(i) + 1, given.end());
    break;
  }
  TRY(const Arguments arguments, read_arguments(options, {"port=", "broker=", "patience=", "no-heartbeat"}, 0, 0,
                                                "init [--port N] [--broker PATH] -- COMMAND…"));
  if (init.command.empty() || init.command[0].empty()) return usage("init: expected -- and a command");
  TRY(const int64_t port, number_of(arguments, "port", init.forwarder.port, 65535));
  TRY(const int64_t patience, number_of(arguments, "patience", 15, kDay));
  init.forwarder.port = static_cast<int>(port);
  init.forwarder.patience = std::chrono::seconds(patience);
  init.forwarder.broker = arguments.has("broker") ? arguments.options.at("broker") : broker_socket();
  if (arguments.has("no-heartbeat")) init.heartbeat = {};
  if (const char* seconds = std::getenv("ONSIGHT_BROKER_TIME")) {
    init.broker_time = std::chrono::seconds(std::clamp(std::atoi(seconds), 0, 3600));
    ::unsetenv("ONSIGHT_BROKER_TIME");
  }
  return run_init(init);
}

Result<int> do_bridge(const std::vector<std::string>& given) {
  TRY(const Arguments arguments, read_arguments(given, {"socket="}, 0, 0, "bridge [--socket PATH]"));
  const std::string socket = arguments.has("socket") ? arguments.options.at("socket") : broker_socket();
  TRY_STATUS(agents::bridge::run_bridge({.in = 0, .out = 1, .listen = socket}));
  return 0;
}

Result<int> do_collect(const std::vector<std::string>& given) {
  TRY(const Arguments arguments,
      read_arguments(given, {"branch=", "base=", "tree="}, 0, 0, "collect --branch NAME [--base COMMIT]"));
  CollectOptions options;
  const auto take = [&](const std::string& name, std::string& into) {
    if (arguments.has(name)) into = arguments.options.at(name);
  };
  take("branch", options.branch);
  take("base", options.base);
  take("tree", options.tree);
  TRY_STATUS(collect(options));
  return 0;
}

Result<int> do_check(const std::vector<std::string>& given) {
  if (given.size() == 1 && given[0] == "--help") {
    TRY_STATUS(print_all(std::string(probe_help())));
    return 0;
  }
  return probe(given);
}

struct Verb {
  std::string_view name;
  Result<int> (*run)(const std::vector<std::string>&);
};
constexpr Verb kVerbs[] = {{"send", do_send}, {"inbox", do_inbox},   {"status", do_status},   {"propose", do_propose},
                           {"done", do_done}, {"look", do_look},     {"me", do_me},           {"mcp", do_mcp},
                           {"init", do_init}, {"bridge", do_bridge}, {"collect", do_collect}, {"check", do_check}};

Result<int> run_verb(const std::string& name, const std::vector<std::string>& arguments) {
  for (const Verb& verb : kVerbs)
    if (verb.name == name) return verb.run(arguments);
  return usage(fmt::format("'{}': there is no such verb, `onsight-agent --help` has the list", printable(name, false)));
}

int main_of(const std::vector<std::string>& words) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::string verb = words.empty() ? "" : words[0];
  std::vector<std::string> arguments(words.begin() + (words.empty() ? 0 : 1), words.end());
  const bool asks = verb == "--help" || verb == "-h" || verb == "help" || verb.empty() ||
                    (verb != "check" && arguments.size() == 1 && arguments[0] == "--help");
  Result<int> code = 0;
  if (asks) {
    if (Status printed = print_all(std::string(kHelp)); !printed) code = tl::unexpected<Error>(printed.error());
    if (code && verb.empty()) code = kExitUsage;
  } else if (verb == "version" || verb == "--version") {
    if (Status printed = print_all(fmt::format("{}\n", kVersion)); !printed)
      code = tl::unexpected<Error>(printed.error());
  } else {
    code = run_verb(verb, arguments);
  }
  if (code) return *code;
  std::fprintf(stderr, "onsight-agent: %s\n", code.error().message.c_str());
  if (code.error().reason == kRefused) return kExitRefused;
  if (code.error().reason == kNoBroker) return kExitNoBroker;
  return exit_code(code.error().code);
}

}  // namespace
}  // namespace onsight::guest

int main(int argc, char** argv) {
  try {
    return onsight::guest::main_of(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::bad_alloc&) {
    std::fputs("onsight-agent: out of memory\n", stderr);
    return onsight::kExitMemory;
  }
}
