// onsight agents diff, merge, sync: what agents wrote, and what they are given.
#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

class WorkVerb : public Verb {
 public:
  void declare(Options& options) override {
    options.argument("NAME", name_, "of the agent");
    declare_more(options);
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    TRY(const std::string name, expected_name(name_, "the NAME of an agent"));
    TRY(auto fleet, open_fleet(project_));
    return act(*fleet, name, context.out);
  }

 protected:
  virtual void declare_more(Options&) {}
  virtual Status act(agents::Fleet& fleet, const std::string& name, Output& out) = 0;

 private:
  std::optional<std::string> name_, project_;
};

class AgentsDiff : public WorkVerb {
  void declare_more(Options& options) override { options.flag("--stat", stat_, "print files and counts of lines"); }

  Status act(agents::Fleet& fleet, const std::string& name, Output& out) override {
    TRY(const std::string text, fleet.diff(name, stat_, out.is_terminal()));
    return out.write(text);
  }

  bool stat_ = false;
};

class AgentsMerge : public WorkVerb {
  Status act(agents::Fleet& fleet, const std::string& name, Output& out) override {
    TRY(const agents::workspace::Merged merged, fleet.merge(name));
    if (merged.nothing) return out.write(fmt::format("{}: nothing new\n", name));
    if (!merged.conflicts.empty())
      return bad_input("{}: both changed {}: nothing was merged; onsight agents sync {} gives it your commits", name,
                       fmt::join(merged.conflicts, ", "), name);
    return out.write(fmt::format("{}: merged as {}\n", name, merged.commit.substr(0, 12)));
  }
};

class AgentsSync : public WorkVerb {
  Status act(agents::Fleet& fleet, const std::string& name, Output& out) override {
    TRY(const std::string commit, fleet.sync(name));
    return out.write(fmt::format("{}: has {} now, below origin/\n", name, commit.substr(0, 12)));
  }
};

}  // namespace

std::unique_ptr<Verb> make_agents_diff() { return std::make_unique<AgentsDiff>(); }
std::unique_ptr<Verb> make_agents_merge() { return std::make_unique<AgentsMerge>(); }
std::unique_ptr<Verb> make_agents_sync() { return std::make_unique<AgentsSync>(); }

}  // namespace onsight::cli
