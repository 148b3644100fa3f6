// onsight agents manifest: an agent as a cluster would be asked for it.
#include <fmt/ranges.h>
#include <unistd.h>

#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

class AgentsManifest : public Verb {
 public:
  void declare(Options& options) override {
    options.argument("NAME", name_, "of an agent");
    options.text("--role", "ROLE", role_, "of agents.toml, in place of an agent");
    options.flag("--seccomp", seccomp_, "print the profile of system calls, for seccomp_profile");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    if (name_.has_value() + role_.has_value() + seccomp_ != 1)
      return make_error(ErrorCode::kUsage, "expected the NAME of an agent, --role ROLE or --seccomp, one of them");
    if (seccomp_) return context.out.write(agents::runtime::seccomp_profile() + "\n");
    TRY(auto fleet, open_fleet(project_));
    agents::state::AgentRow row;
    if (name_) {
      TRY(row, fleet->agent(*name_));
      ++row.generation;
    } else {
      TRY(row, agent_of_role(*fleet, *role_));
    }
    TRY(const auto spec, agents::container_spec(fleet->project(), fleet->config(), row));
    TRY(const Json list, agents::runtime::kubernetes::manifests(spec, fleet->config().kubernetes));
    return context.out.write(list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }

 private:
  static Result<agents::state::AgentRow> agent_of_role(agents::Fleet& fleet, const std::string& name) {
    const agents::config::Role* role = fleet.config().role(name);
    if (!role) {
      std::vector<std::string> names;
      for (const auto& [known, ignored] : fleet.config().roles) names.push_back(known);
      return make_error(ErrorCode::kUsage, "unknown role '{}' (agents.toml has {})", name, fmt::join(names, ", "));
    }
    TRY(const auto harness, agents::harness::find(role->harness, fleet.project().root));
    constexpr int kUidOfRoots = 10'000;
    agents::state::AgentRow row;
    row.name = row.role = name;
    row.harness = role->harness;
    row.model = role->model;
    row.image = agents::harness::image_tag(harness);
    row.placeholder = "onsight-" + name;
    row.uid = ::geteuid() != 0 ? static_cast<int>(::geteuid()) : kUidOfRoots;
    row.generation = 1;
    return row;
  }

  std::optional<std::string> name_, role_, project_;
  bool seccomp_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_agents_manifest() { return std::make_unique<AgentsManifest>(); }

}  // namespace onsight::cli
