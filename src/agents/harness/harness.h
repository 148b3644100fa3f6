// Harness: what there is to know of one kind of agent: how it is installed, started, gone on with and told something.
// One TOML file each, of src/agents/harness/, embedded; a file of the same name in $XDG_CONFIG_HOME/onsight/harness/ or
// .onsight/harness/ of the project comes before it. Adding a kind is one file and no code.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/config/config.h"
#include "base/file.h"
#include "base/result.h"

namespace onsight::agents::harness {

// In commands and values "{task}", "{model}", "{name}", "{role}", "{home}" and "{placeholder}" stand for what they say;
// each is one argument whatever it holds, never a line of a shell. An argument that is only "{model}" goes, with the
// one before it, where no model is named.
struct Harness {
  std::string name;     // of the file: "claude"
  std::string about;    // one line
  std::string version;  // of the package, pinned
  struct Install {
    // "@google/gemini-cli", of `version`, or with what is to stand after the name:
    // "@openai/codex@{version}-linux-{cpu}"; {cpu} is "x64" or "arm64", {machine} "x86_64" or "aarch64". Empty:
    // nothing. Scripts of packages are not run.
    std::string npm;
    std::string node;                   // "22.23.3": also needs that node, from npm
    std::vector<std::string> packages;  // of Debian, beside the base's
    std::map<std::string, std::string>
        links;  // program in PATH → file below node_modules, beside the package's own programs
  } install;
  std::vector<std::string> command;  // starts it on a task
  std::vector<std::string> resume;   // goes on with its last session; empty: `command` again
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> files;  // in HOME, before the first start: "settings.json": text
  std::vector<std::string> providers;        // that it speaks to: its own, and what base_urls and keys name
  std::map<std::string, config::Provider> own_providers;
  std::map<std::string, std::string> base_urls;  // environment variable → provider
  std::map<std::string, std::string> keys;       // environment variable that takes the placeholder → provider
  // How a message reaches it: "terminal" (typed, then Enter), "hook" (it asks by itself), "none" (it reads its inbox).
  std::string messages = "terminal";
  // Patterns in the last lines of its screen that tell what it does (RE2-like subset: std::regex ECMAScript).
  std::string thinking, waiting, blocked;
};

// Every harness that there is for a project, the project's own first.
Result<Harness> find(std::string_view name, const Path& project_root);
std::vector<std::string> names(const Path& project_root);
Result<Harness> parse(std::string_view text, std::string_view name, std::string_view where);
// Where the embedded files' providers send the key of this name: "api.anthropic.com". What a project says does not
// count.
std::vector<std::string> hosts_of_key(std::string_view key);

struct Values {
  std::string task, model, name, role, home, placeholder;
};
std::vector<std::string> fill(const std::vector<std::string>& command, const Values& values);
std::string fill(std::string_view text, const Values& values);

// The tag of the image that a harness runs in: "onsight-agents/claude:2.1.330-VERSION", VERSION of the recipe's digest.
std::string image_tag(const Harness& harness);

}  // namespace onsight::agents::harness
