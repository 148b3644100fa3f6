#include "agents/runtime/kubernetes/kubectl.h"

#include "base/subprocess.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr uint64_t kMostAnswerBytes = 64 << 20;

std::string_view last_line_of(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text.substr(text.rfind('\n') + 1);
}

bool says(std::string_view text, std::string_view words) { return text.find(words) != std::string_view::npos; }

// kubectl adds a line of its own when the command ended with another code than 0, which tells that from its failures.
bool command_ended(std::string_view said) {
  return last_line_of(said).starts_with("command terminated with exit code");
}

}  // namespace

Error error_of(std::string_view said) {
  const std::string_view line = last_line_of(said);
  const std::string sentence = fmt::format("kubectl: {}", line.empty() ? "it failed and said nothing" : line);
  if (says(said, "(NotFound)") || says(line, "not found")) return {ErrorCode::kBadInput, sentence, {}, "gone"};
  if (says(said, "(AlreadyExists)")) return {ErrorCode::kBadInput, sentence, {}, "name_taken"};
  for (const char* words : {"Unable to connect to the server", "The connection to the server", "i/o timeout",
                            "connection refused", "TLS handshake timeout", "(ServiceUnavailable)", "(Timeout)"})
    if (says(said, words)) return {ErrorCode::kIo, sentence, {}, "unreachable"};
  return {ErrorCode::kBadInput, sentence, {}, {}};
}

std::vector<std::string> Kubectl::command_of(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {options_.program};
  if (!options_.context.empty()) command.push_back("--context=" + options_.context);
  command.push_back("--namespace=" + options_.name_space);
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Result<std::string> Kubectl::ask(const std::vector<std::string>& arguments, std::string_view input,
                                 std::chrono::milliseconds limit) const {
  std::string out;
  TRY(const Ended ended, onsight::run({.command = command_of(arguments),
                                       .input = input,
                                       .output =
                                           [&](std::string_view bytes) {
                                             out += bytes;
                                             return Status();
                                           },
                                       .limit = limit,
                                       .max_output_bytes = kMostAnswerBytes}));
  if (ended.code != 0) return tl::unexpected(error_of(ended.errors));
  return out;
}

Result<ExecResult> Kubectl::exec(const std::string& pod, const std::vector<std::string>& command,
                                 const std::function<Status(std::string_view)>& out, std::string_view input,
                                 std::chrono::milliseconds limit, uint64_t max_bytes) const {
  std::vector<std::string> arguments = {"exec", pod, "--container=agent"};
  if (!input.empty()) arguments.emplace_back("--stdin");
  arguments.emplace_back("--");
  arguments.insert(arguments.end(), command.begin(), command.end());
  TRY(Ended ended, onsight::run({.command = command_of(arguments),
                                 .input = input,
                                 .output = out,
                                 .limit = limit,
                                 .max_output_bytes = max_bytes}));
  if (ended.code != 0 && !command_ended(ended.errors)) return tl::unexpected(error_of(ended.errors));
  if (ended.code != 0) ended.errors.erase(ended.errors.rfind("command terminated with exit code"));
  return ExecResult{.exit_code = ended.code, .out = {}, .err = std::move(ended.errors)};
}

}  // namespace onsight::agents::runtime::kubernetes
