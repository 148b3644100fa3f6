// onsight agents init, doctor, supervise: a repository that has agents, and the machine that they run on.
#include <unistd.h>

#include "base/file.h"
#include "cli/agents/agents.h"

namespace onsight::cli {
namespace {

class AgentsInit : public Verb {
 public:
  void declare(Options& options) override {
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    TRY(const agents::Project project,
        agents::Project::find(project_ ? Path(*project_) : std::filesystem::current_path()));
    const Path file = project.config();
    std::error_code failed;
    if (std::filesystem::exists(std::filesystem::symlink_status(file, failed)))
      return bad_input("{}: it is there already, and stays as it is", file.string());
    std::filesystem::create_directories(file.parent_path(), failed);
    if (failed)
      return make_error(ErrorCode::kIo, "{}: cannot be made: {}", file.parent_path().string(), failed.message());
    TRY_STATUS(write_file_atomically(file, agents::config::starting_config()));
    return context.out.write(fmt::format("{}\n", file.string()));
  }

 private:
  std::optional<std::string> project_;
};

class AgentsDoctor : public Verb {
 public:
  void declare(Options& options) override {
    options.text("--image", "TAG", image_, "that it is tried with; otherwise the first that there is of a role's");
    options.flag("--json", json_, "print one JSON object a line");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context& context) override {
    TRY(auto fleet, open_fleet(project_));
    TRY(agents::runtime::Runtime * engine, fleet->runtime());
    std::string image = image_.value_or("");
    if (image.empty()) {
      TRY(image, some_image(*fleet, *engine));
    }
    TRY(const auto checks, fleet->doctor(image, true));
    std::string out;
    size_t widest = 0;
    const agents::runtime::Check* missing = nullptr;
    for (const auto& check : checks) widest = std::max(widest, check.name.size());
    if (!json_) out = fmt::format("{} {} at {}\n", engine->engine(), engine->version(), engine->socket().string());
    for (const auto& check : checks) {
      if (check.required && !check.enforced && !missing) missing = &check;
      if (json_) {
        const nlohmann::ordered_json object = {
            {"name", check.name}, {"enforced", check.enforced}, {"required", check.required}, {"detail", check.detail}};
        out += object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
      } else {
        out += fmt::format("  {:<8}  {:<{}}  {}\n",
                           check.enforced   ? "enforced"
                           : check.required ? "MISSING"
                                            : "no",
                           check.name, widest, printable(check.detail));
      }
    }
    TRY_STATUS(context.out.write(out));
    if (!missing) return {};
    return bad_input("{} is not enforced: no agent is started on this machine", missing->name);
  }

 private:
  static Result<std::string> some_image(agents::Fleet& fleet, agents::runtime::Runtime& engine) {
    for (const auto& [name, role] : fleet.config().roles) {
      TRY(const auto harness, agents::harness::find(role.harness, fleet.project().root));
      const std::string tag = agents::harness::image_tag(harness);
      TRY(const auto id, engine.image_id(tag));
      if (id) return tag;
    }
    return bad_input("there is no image yet to try it with: onsight agents image build --harness generic");
  }

  std::optional<std::string> image_, project_;
  bool json_ = false;
};

class AgentsSupervise : public Verb {
 public:
  void declare(Options& options) override {
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
  }

  Status run(Context&) override {
    TRY(const agents::Project project,
        agents::Project::find(project_ ? Path(*project_) : std::filesystem::current_path()));
    return agents::supervisor::run(project);
  }

 private:
  std::optional<std::string> project_;
};

}  // namespace

std::unique_ptr<Verb> make_agents_init() { return std::make_unique<AgentsInit>(); }
std::unique_ptr<Verb> make_agents_doctor() { return std::make_unique<AgentsDoctor>(); }
std::unique_ptr<Verb> make_agents_supervise() { return std::make_unique<AgentsSupervise>(); }

}  // namespace onsight::cli
