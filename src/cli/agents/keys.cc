// onsight agents key, unlock, broker: the keys of model providers, and the process that uses them.
#include <unistd.h>

#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

using agents::vault::Secret;
using agents::vault::Vault;

agents::vault::KeySource key_source() { return {.passphrase = agents::vault::passphrase_from_user}; }

class AgentsKey : public Verb {
 public:
  void declare(Options& options) override {
    options.choice("--lock", "HOW", {"passphrase", "keyring"}, lock_,
                   "of a new file of keys: what it is encrypted with (passphrase)");
    options.texts(
        "--host", "HOST", hosts_,
        "that the key may be sent to, such as api.example.org or 127.0.0.1:8080; otherwise the provider's own");
    options.arguments("set|bind|list|rm [NAME]", words_,
                      "what to do, and the key's name, as in a provider's key = \"NAME\"");
  }

  Status run(Context& context) override {
    const std::string what = words_.empty() ? "" : words_[0];
    TRY(const Path path, agents::vault::default_path());
    if (what == "list" && words_.size() == 1) return list(path, context.out);
    if (words_.size() != 2 || (what != "set" && what != "bind" && what != "rm"))
      return make_error(ErrorCode::kUsage, "expected set NAME, bind NAME, list, or rm NAME");
    TRY_STATUS(agents::vault::check_key_name(words_[1]));
    if (what == "rm") {
      TRY(Vault vault, Vault::open(path, key_source()));
      return vault.remove(words_[1]);
    }
    for (const std::string& host : hosts_) TRY_STATUS(agents::vault::check_key_host(host));
    return what == "bind" ? bind(path, words_[1]) : set(path, words_[1]);
  }

 private:
  static Result<Secret> value_of(const std::string& name) {
    if (::isatty(STDIN_FILENO)) return agents::vault::secret_from_terminal(name + ": ");
    return agents::vault::passphrase_from_descriptor(STDIN_FILENO, "standard input");
  }

  static tl::unexpected<Error> no_host(const std::string& name) {
    return make_error(ErrorCode::kUsage, "{}: expected --host HOST, where this key may be sent", name);
  }

  Status bind(const Path& path, const std::string& name) {
    const std::vector<std::string> hosts = hosts_.empty() ? agents::harness::hosts_of_key(name) : hosts_;
    if (hosts.empty()) return no_host(name);
    TRY(Vault vault, Vault::open(path, key_source()));
    return vault.bind(name, hosts);
  }

  // Without --host those that it is bound to stay; of a new key the provider's own are taken.
  Status set(const Path& path, const std::string& name) {
    std::optional<Vault> vault;
    std::vector<std::string> hosts = hosts_;
    bool bound = !hosts.empty();
    if (std::filesystem::exists(path)) {
      TRY(vault, Vault::open(path, key_source()));
      TRY(const auto rows, vault->list());
      for (const agents::vault::KeyRow& row : rows) bound = bound || (row.name == name && !row.hosts.empty());
    }
    if (!bound) hosts = agents::harness::hosts_of_key(name);
    if (!bound && hosts.empty()) return no_host(name);
    TRY(const Secret value, value_of(name));
    if (value.empty()) return make_error(ErrorCode::kUsage, "{}: expected the key on standard input", name);
    const auto lock = lock_ == 0 ? agents::vault::Lock::kPassphrase : agents::vault::Lock::kKeyring;
    if (!vault) {
      TRY(vault, Vault::create(path, lock, key_source()));
    }
    return vault->set(name, value, hosts);
  }

  static Status list(const Path& path, Output& out) {
    if (!std::filesystem::exists(path)) return {};
    TRY(const Vault vault, Vault::open(path, key_source()));
    TRY(const auto rows, vault.list());
    std::string text;
    for (const agents::vault::KeyRow& row : rows)
      text += fmt::format("{}: {}\n", row.name,
                          row.hosts.empty() ? "bound to no host, onsight agents key bind " + row.name
                                            : fmt::format("{}", fmt::join(row.hosts, ", ")));
    return out.write(text);
  }

  int lock_ = 0;
  std::vector<std::string> words_, hosts_;
};

class AgentsUnlock : public Verb {
 public:
  void declare(Options& options) override {
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context&) override {
    TRY(auto fleet, open_fleet(project_));
    TRY(const Path path, agents::vault::default_path());
    if (!std::filesystem::exists(path)) return bad_input("there are no keys yet: onsight agents key set NAME");
    TRY_STATUS(agents::supervisor::wake(fleet->project(), agents::supervisor::Duty::kBroker));
    TRY(const Secret passphrase, agents::vault::passphrase_from_user(false));
    return agents::unlock_broker(fleet->project(), passphrase);
  }

 private:
  std::optional<std::string> project_;
};

class AgentsBroker : public Verb {
 public:
  void declare(Options& options) override {
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
    options.text("--authorities", "FILE", authorities_,
                 "certificates (PEM) by which upstreams may prove who they are too");
  }

  Status run(Context&) override {
    TRY(const agents::Project project,
        agents::Project::find(project_ ? Path(*project_) : std::filesystem::current_path()));
    return agents::run_broker(project, {.authorities = authorities_.value_or("")});
  }

 private:
  std::optional<std::string> project_, authorities_;
};

}  // namespace

std::unique_ptr<Verb> make_agents_key() { return std::make_unique<AgentsKey>(); }
std::unique_ptr<Verb> make_agents_unlock() { return std::make_unique<AgentsUnlock>(); }
std::unique_ptr<Verb> make_agents_broker() { return std::make_unique<AgentsBroker>(); }

}  // namespace onsight::cli
