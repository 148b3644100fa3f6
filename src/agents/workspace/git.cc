#include "agents/workspace/git.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

extern char** environ;

namespace onsight::agents::workspace {
namespace {

// Whatever a repository's own files say: the command line has the last word.
constexpr const char* kSilent[] = {
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.attributesFile=/dev/null", "core.excludesFile=/dev/null",
    "core.sshCommand=false", "core.gitProxy=", "core.askPass=false", "core.editor=false", "core.pager=cat",
    "credential.helper=", "protocol.allow=never", "submodule.recurse=false", "fetch.recurseSubmodules=false",
    "gc.auto=0", "maintenance.auto=false", "fetch.fsckObjects=true", "transfer.fsckObjects=true",
    "receive.fsckObjects=true", "core.protectHFS=true", "core.protectNTFS=true", "core.quotePath=true",
    "commit.gpgSign=false", "tag.gpgSign=false", "color.ui=false", "log.showSignature=false",
    // Tables of packs are mapped piece by piece, so that a limit of addresses can hold.
    "core.packedGitWindowSize=64m", "core.packedGitLimit=1g"};

std::vector<std::string> kept_variables(bool as_user) {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    const std::string_view name = variable.substr(0, variable.find('='));
    const bool plain = name == "PATH" || name == "TMPDIR" || name == "TZ";
    const bool own =
        as_user && !name.starts_with("GIT_") && !name.starts_with("LC_") && name != "LANGUAGE" && name != "LANG";
    if (plain || own) kept.emplace_back(variable);
  }
  kept.emplace_back("LC_ALL=C");
  kept.emplace_back("GIT_TERMINAL_PROMPT=0");
  kept.emplace_back("GIT_OPTIONAL_LOCKS=0");
  kept.emplace_back("GIT_NO_REPLACE_OBJECTS=1");
  kept.emplace_back("GIT_GRAFT_FILE=/dev/null");
  return kept;
}

struct UserAnswer {
  Ended ended;
  std::string text;
};

// As the user would run it, with what is configured: only for commands that look at configuration and run nothing.
Result<UserAnswer> ask_as_user(const Path& folder, const std::vector<std::string>& arguments,
                               const std::vector<std::string>& variables = {}) {
  std::vector<std::string> command = {"git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = kept_variables(true);
  environment.insert(environment.end(), variables.begin(), variables.end());
  UserAnswer answer;
  const auto keep = [&](std::string_view part) {
    answer.text += part;
    return Status();
  };
  TRY(answer.ended, onsight::run({.command = command,
                                  .environment = environment,
                                  .folder = folder,
                                  .output = keep,
                                  .limit = std::chrono::seconds(60),
                                  .max_output_bytes = 64 << 20}));
  return answer;
}

std::string without_line_end(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Result<Path> path_of(const Path& folder, const std::string& which) {
  TRY(UserAnswer answer, ask_as_user(folder, {"rev-parse", "--path-format=absolute", which}));
  const std::string& said = answer.ended.errors;
  if (answer.ended.code == 0) return Path(without_line_end(std::move(answer.text)));
  if (said.find("dubious ownership") != std::string::npos)
    return bad_input("{}: its repository belongs to another user, whose settings git does not trust (safe.directory)",
                     printable(folder.string()));
  if (said.find("not a git repository") != std::string::npos)
    return bad_input("{}: expected a folder in a git repository; git init makes one", printable(folder.string()));
  if (said.find("work tree") != std::string::npos)
    return bad_input("{}: expected a repository with a working tree, found a bare one", printable(folder.string()));
  return bad_input("{}: {}", printable(folder.string()), complaint(answer.ended, "rev-parse"));
}

}  // namespace

Result<Ended> Git::run(const std::vector<std::string>& arguments, const Input& input, const Sink& output) const {
  std::vector<std::string> command = {"git"};
  for (const char* setting : kSilent) command.insert(command.end(), {"-c", setting});
  for (const std::string& setting : settings) command.insert(command.end(), {"-c", setting});
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = kept_variables(false);
  // A home that is not there: neither attributes nor ignored files nor anything else of the user's.
  environment.emplace_back("HOME=/nonexistent");
  environment.emplace_back("GIT_CONFIG_NOSYSTEM=1");
  environment.emplace_back("GIT_CONFIG_GLOBAL=/dev/null");
  environment.emplace_back("GIT_ATTR_NOSYSTEM=1");
  environment.emplace_back("GIT_EDITOR=false");
  environment.emplace_back("GIT_PAGER=cat");
  if (!git_dir.empty()) environment.push_back("GIT_DIR=" + git_dir.string());
  if (!work_tree.empty()) environment.push_back("GIT_WORK_TREE=" + work_tree.string());
  if (!index.empty()) environment.push_back("GIT_INDEX_FILE=" + index.string());
  if (!objects.empty()) environment.push_back("GIT_OBJECT_DIRECTORY=" + objects.string());
  environment.insert(environment.end(), variables.begin(), variables.end());
  return onsight::run({.command = command,
                       .environment = environment,
                       .folder = work_tree.empty() ? Path("/") : work_tree,
                       .input = input.text,
                       .input_file = input.file,
                       .output = output,
                       .limit = limit,
                       .max_output_bytes = max_output_bytes,
                       // An object can be a thousand times as large as in its pack: then git ends and not the machine.
                       .max_memory_bytes = uint64_t{8} << 30});
}

Result<std::string> Git::text(const std::vector<std::string>& arguments, std::string_view input) const {
  std::string out;
  const auto keep = [&](std::string_view part) {
    out += part;
    return Status();
  };
  TRY(const Ended ended, run(arguments, {.text = input}, keep));
  if (ended.code != 0) return bad_input("{}", complaint(ended, arguments[0]));
  return out;
}

Result<std::string> Git::line(const std::vector<std::string>& arguments, std::string_view input) const {
  TRY(std::string out, text(arguments, input));
  return without_line_end(std::move(out));
}

Status Git::done(const std::vector<std::string>& arguments, std::string_view input) const {
  TRY(const Ended ended, run(arguments, {.text = input}));
  if (ended.code != 0) return bad_input("{}", complaint(ended, arguments[0]));
  return {};
}

Result<bool> Git::asks(const std::vector<std::string>& arguments) const {
  TRY(const Ended ended, run(arguments));
  if (ended.code > 1) return bad_input("{}", complaint(ended, arguments[0]));
  return ended.code == 0;
}

std::string printable(std::string_view bytes) {
  constexpr size_t kLongest = 120;
  std::string out;
  for (const char c : bytes.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  // C1 controls, which some terminals obey, are two bytes in UTF-8.
  for (size_t i = 0; i + 1 < out.size(); ++i)
    if (static_cast<unsigned char>(out[i]) == 0xc2 && static_cast<unsigned char>(out[i + 1]) < 0xa0)
      out[i] = out[i + 1] = '?';
  if (bytes.size() > kLongest) out += "…";
  return out;
}

std::string complaint(const Ended& ended, std::string_view command) {
  std::string_view rest = ended.errors, fatal, error;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    if (one.starts_with("fatal: ")) fatal = one.substr(7);
    if (one.starts_with("error: ")) error = one.substr(7);
  }
  if (fatal.empty()) std::swap(fatal, error);
  if (fatal.empty()) fatal = std::string_view(ended.errors).substr(0, ended.errors.find('\n'));
  for (std::string_view* one : {&fatal, &error})
    while (!one->empty() && one->back() == '.') one->remove_suffix(1);
  if (fatal.empty()) return fmt::format("git {} ended with code {}", command, ended.code);
  // What gives up says little; what it met before says why.
  if (!error.empty()) return fmt::format("git {}: {} ({})", command, printable(fatal), printable(error));
  return fmt::format("git {}: {}", command, printable(fatal));
}

std::string some_of(const std::vector<std::string>& paths) {
  constexpr size_t kShown = 3;
  std::string out;
  for (size_t i = 0; i < std::min(paths.size(), kShown); ++i) out += (i > 0 ? ", " : "") + printable(paths[i]);
  if (paths.size() > kShown) out += fmt::format(" and {} more", paths.size() - kShown);
  return out;
}

Result<UserRepository> find_repository(const Path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error))
    return bad_input("{}: expected a folder in a git repository", printable(folder.string()));
  UserRepository repository;
  TRY(const Path root, path_of(folder, "--show-toplevel"));
  repository.root = std::filesystem::canonical(root, error);
  if (error) return bad_input("{}: {}", printable(root.string()), error.message());
  TRY(repository.git_dir, path_of(folder, "--git-dir"));
  TRY(repository.common, path_of(folder, "--git-common-dir"));
  TRY(repository.format, repository.git().line({"rev-parse", "--show-object-format"}));
  TRY(const UserSettings settings, UserSettings::read(repository));
  const auto promises = [](const Setting& one) {
    return one.key == "extensions.partialclone" || (one.key.starts_with("remote.") && one.key.ends_with(".promisor"));
  };
  if (std::any_of(settings.all().begin(), settings.all().end(), promises))
    return bad_input("{}: a partial clone, which lacks objects; git fetch --refetch --no-filter brings them",
                     printable(repository.root.string()));
  return repository;
}

Result<UserSettings> UserSettings::read(const UserRepository& repository) {
  TRY(const UserAnswer answer, ask_as_user(repository.root, {"config", "--list", "-z", "--show-origin", "--includes"}));
  if (answer.ended.code != 0)
    return bad_input("{}: {}", printable(repository.root.string()), complaint(answer.ended, "config"));
  UserSettings settings;
  std::string_view rest = answer.text;
  const auto next = [&] {
    const std::string_view field = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
    return field;
  };
  while (!rest.empty()) {
    const std::string_view origin = next(), entry = next();
    const size_t end = std::min(entry.find('\n'), entry.size());
    Setting setting{.origin = origin.starts_with("file:") ? std::string(origin.substr(5)) : "",
                    .key = std::string(entry.substr(0, end)),
                    .value = end < entry.size() ? std::string(entry.substr(end + 1)) : "true"};
    if (origin.starts_with("command line:")) continue;  // ours
    settings.all_.push_back(std::move(setting));
  }
  return settings;
}

std::string_view UserSettings::get(std::string_view key) const {
  const auto found = std::find_if(all_.rbegin(), all_.rend(), [&](const Setting& one) { return one.key == key; });
  return found == all_.rend() ? std::string_view() : std::string_view(found->value);
}

Result<Identity> identity_of(const UserRepository& repository) {
  std::vector<std::string> variables;  // these are not of the repository but of who commits
  for (const char* name : {"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"})
    if (const char* value = std::getenv(name)) variables.push_back(fmt::format("{}={}", name, value));
  TRY(const UserAnswer answer,
      ask_as_user(repository.root, {"-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"}, variables));
  const size_t open = answer.text.rfind('<'), close = answer.text.rfind('>');
  if (answer.ended.code != 0 || open == std::string::npos || close == std::string::npos || close < open || open == 0)
    return bad_input("{}: git does not know whose commit it would be: set user.name and user.email with git config",
                     printable(repository.root.string()));
  return Identity{.name = answer.text.substr(0, open - 1), .email = answer.text.substr(open + 1, close - open - 1)};
}

}  // namespace onsight::agents::workspace
