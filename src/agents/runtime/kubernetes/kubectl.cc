#include "agents/runtime/kubernetes/kubectl.h"

namespace onsight::agents::runtime::kubernetes {
namespace {

constexpr uint64_t kMostAnswerBytes = 64 << 20;

std::string_view last_line_of(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text.substr(text.rfind('\n') + 1);
}

bool says(std::string_view text, std::string_view words) { return text.find(words) != std::string_view::npos; }

Result<Ended> called(const Program& program) {
  const auto begun = std::chrono::steady_clock::now();
  auto ended = onsight::run(program);
  if (!ended && std::chrono::steady_clock::now() - begun >= program.limit)
    return tl::unexpected(
        Error{ErrorCode::kBusy, fmt::format("kubectl: not done after {} s", program.limit.count() / 1000), {}, "late"});
  return ended;
}

}  // namespace

bool command_ended(std::string_view said) {
  return last_line_of(said).starts_with("command terminated with exit code");
}

Error error_of(std::string_view said) {
  const std::string_view line = last_line_of(said);
  if (line.empty()) return {ErrorCode::kIo, "kubectl: it was ended, and said nothing", {}, "unreachable"};
  const std::string sentence = fmt::format("kubectl: {}", line);
  if (says(said, "(NotFound)") || says(line, "not found")) return {ErrorCode::kBadInput, sentence, {}, "gone"};
  if (says(said, "(AlreadyExists)")) return {ErrorCode::kBadInput, sentence, {}, "name_taken"};
  if (says(said, "(Forbidden)")) return {ErrorCode::kBadInput, sentence, {}, "forbidden"};
  for (const char* words :
       {"Unable to connect to the server", "The connection to the server", "i/o timeout", "connection refused",
        "connection reset", "TLS handshake timeout", "no such host", "context deadline exceeded", "unexpected EOF",
        "error dialing backend", "client connection lost", "(ServiceUnavailable)", "(Timeout)", "(ServerTimeout)",
        "(TooManyRequests)", "etcdserver:"})
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
  const auto keep = [&](std::string_view bytes) {
    out += bytes;
    return Status();
  };
  auto ended = called({.command = command_of(arguments),
                       .input = input,
                       .output = keep,
                       .limit = limit,
                       .max_output_bytes = kMostAnswerBytes});
  // An API server that does not answer is one that is not there.
  if (!ended && ended.error().reason == "late")
    return tl::unexpected(Error{ErrorCode::kIo, ended.error().message, {}, "unreachable"});
  if (!ended) return tl::unexpected(std::move(ended).error());
  if (ended->code != 0) return tl::unexpected(error_of(ended->errors));
  return out;
}

Result<ExecResult> Kubectl::exec(const std::string& pod, const std::vector<std::string>& command,
                                 const std::function<Status(std::string_view)>& out, int input,
                                 std::chrono::milliseconds limit, uint64_t max_bytes) const {
  std::vector<std::string> arguments = {"exec", pod, "--container=agent"};
  if (input >= 0) arguments.emplace_back("--stdin");
  arguments.emplace_back("--");
  arguments.insert(arguments.end(), command.begin(), command.end());
  TRY(Ended ended, called({.command = command_of(arguments),
                           .input_file = input,
                           .output = out,
                           .limit = limit,
                           .max_output_bytes = max_bytes}));
  if (ended.code != 0 && !command_ended(ended.errors)) return tl::unexpected(error_of(ended.errors));
  if (ended.code != 0) ended.errors.erase(ended.errors.rfind("command terminated with exit code"));
  return ExecResult{.exit_code = ended.code, .out = {}, .err = std::move(ended.errors)};
}

}  // namespace onsight::agents::runtime::kubernetes
