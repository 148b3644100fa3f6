#include "hub/repository.h"

#include <algorithm>
#include <cstdlib>

namespace onsight::hub {
namespace {

constexpr size_t kLongestName = 96, kLongestRevision = 128;

bool is_word(std::string_view text, std::string_view others) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.find(c) != std::string_view::npos;
  });
}

// As the hub allows them, so that "--" in a folder's name stands between owner and name.
bool is_name(std::string_view text) {
  return text.size() <= kLongestName && is_word(text, "-_.") && text.find("--") == std::string_view::npos &&
         text.find("..") == std::string_view::npos && text.front() != '.' && text.front() != '-' &&
         text.back() != '.' && text.back() != '-';
}

bool is_revision(std::string_view text) {
  return text.size() <= kLongestRevision && is_word(text, "-_./") && text.find("..") == std::string_view::npos &&
         text.find("//") == std::string_view::npos && text.front() != '/' && text.front() != '-' &&
         text.front() != '.' && text.back() != '/' && text.find("/.") == std::string_view::npos;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_on(std::string value) {
  std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::tolower(c); });
  return value == "1" || value == "true" || value == "yes" || value == "on";
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

// A path, in which a first ~ is the user's folder: scripts and service files set it without a shell.
Path path_in(const char* name) {
  const std::string value = variable(name), user = variable("HOME");
  if (!user.empty() && (value == "~" || value.starts_with("~/"))) return user + value.substr(1);
  return value;
}

Result<Path> home() {
  if (const Path set = path_in("HF_HOME"); !set.empty()) return set;
  if (const Path set = path_in("XDG_CACHE_HOME"); !set.empty()) return set / "huggingface";
  if (const std::string set = variable("HOME"); !set.empty()) return Path(set) / ".cache/huggingface";
  return bad_input("the cache of models: expected HF_HOME or HOME to be set");
}

}  // namespace

Result<Repository> Repository::parse(std::string_view text) {
  const size_t at = text.find('@'), slash = text.find('/');
  Repository out;
  if (slash != std::string_view::npos && slash < at) {
    out.owner = text.substr(0, slash);
    out.name = text.substr(slash + 1, at == std::string_view::npos ? at : at - slash - 1);
  }
  if (at != std::string_view::npos) out.revision = text.substr(at + 1);
  if (!is_name(out.owner) || !is_name(out.name))
    return make_error(ErrorCode::kUsage, "'{}': expected OWNER/NAME, as the hub has it, or OWNER/NAME@REVISION", text);
  if (!is_revision(out.revision))
    return make_error(ErrorCode::kUsage, "'{}': expected a branch, a tag or a commit after @", text);
  return out;
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<Path> cache_folder() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const Path set = path_in(name); !set.empty()) return set;
  TRY(const Path folder, home());
  return folder / "hub";
}

Result<Settings> Settings::from_environment() {
  Settings out;
  out.endpoint = variable("HF_ENDPOINT");
  if (out.endpoint.empty()) out.endpoint = "https://huggingface.co";
  while (out.endpoint.ends_with('/')) out.endpoint.pop_back();
  if (!out.endpoint.starts_with("https://") && !out.endpoint.starts_with("http://"))
    return make_error(ErrorCode::kUsage, "HF_ENDPOINT: expected an http or https URL, found '{}'", out.endpoint);
  const std::string offline = variable("HF_HUB_OFFLINE");
  out.offline = is_on(offline.empty() ? variable("TRANSFORMERS_OFFLINE") : offline);
  TRY(out.cache, cache_folder());
  out.token = trimmed(variable("HF_TOKEN"));
  if (out.token.empty()) {
    Path file = path_in("HF_TOKEN_PATH");
    if (file.empty())
      if (const auto folder = home()) file = *folder / "token";
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored)) {
      TRY(const std::string text, read_file(file, 4096));
      out.token = trimmed(text);
    }
  }
  // It becomes a line of a request.
  if (std::any_of(out.token.begin(), out.token.end(), [](char c) { return c <= ' ' || c > '~'; }))
    return make_error(ErrorCode::kUsage, "HF_TOKEN: expected letters and digits");
  return out;
}

}  // namespace onsight::hub
