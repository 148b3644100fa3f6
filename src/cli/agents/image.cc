// onsight agents image: the images that agents run in.

#include "cli/agents/agents.h"
#include "cli/interrupt.h"

namespace onsight::cli {
namespace {

class AgentsImage : public Verb {
 public:
  void declare(Options& options) override {
    options.text("--harness", "NAME", harness_,
                 "whose image: claude, gemini, codex, opencode, generic or one of your own");
    options.flag("--fresh", fresh_, "of `build`: also where there is one, with what Debian has by now");
    options.text("--engine", "NAME", engine_, "docker, podman or auto (auto); agents.toml of a repository says it too");
    options.text("--project", "FOLDER", project_, "the repository; otherwise the one around this folder");
    options.arguments("build|list|rm", words_, "what to do");
  }

  Status run(Context& context) override {
    const std::string what = words_.size() == 1 ? words_[0] : "";
    if (what != "build" && what != "list" && what != "rm")
      return make_error(ErrorCode::kUsage, "expected build, list or rm");
    Path root;
    agents::runtime::ConnectOptions engine = {.engine = engine_.value_or("auto")};
    TRY_STATUS(look_at_project(root, engine));
    if (engine.engine == "kubernetes")
      return make_error(ErrorCode::kUsage,
                        "a cluster's images are made with docker or podman of this machine (--engine docker), and then "
                        "pushed to its registry");
    TRY(auto runtime, agents::runtime::connect(engine));
    if (what == "list") return list(*runtime, root, context.out);
    if (!harness_) {
      return make_error(ErrorCode::kUsage, "expected --harness: one of {}",
                        fmt::join(agents::harness::names(root), ", "));
    }
    TRY(const auto harness, agents::harness::find(*harness_, root));
    const std::string tag = agents::harness::image_tag(harness);
    if (what == "rm") return runtime->remove_image(tag);
    {
      const CatchInterrupts keep(Interrupts::kFlag);
      interrupted() = false;
      ProgressBar bar;
      agents::image::Options build;
      build.fresh = fresh_;
      build.stop = [] { return interrupted().load(); };
      build.progress = [&](const agents::image::Step& step) {
        bar.say(step.detail.empty() ? step.what
                                    : fmt::format("{}: {}", step.what, shortened(printable(step.detail), 50)));
      };
      TRY_STATUS(agents::image::build(harness, *runtime, build));
    }
    return context.out.write(tag + "\n");
  }

 private:
  // Without a repository around, the engine that answers, and our own harnesses.
  Status look_at_project(Path& root, agents::runtime::ConnectOptions& engine) const {
    auto project = agents::Project::find(project_ ? Path(*project_) : std::filesystem::current_path());
    if (!project) return project_ ? Status(tl::unexpected<Error>(project.error())) : Status();
    root = project->root;
    if (!std::filesystem::exists(project->config())) return {};
    TRY(const auto config, agents::config::load(project->config()));
    if (!engine_) engine = {.engine = config.engine, .socket = config.socket};
    return {};
  }

  static Status list(agents::runtime::Runtime& runtime, const Path& root, Output& out) {
    std::string text;
    for (const std::string& name : agents::harness::names(root)) {
      const auto harness = agents::harness::find(name, root);
      if (!harness) continue;
      const std::string tag = agents::harness::image_tag(*harness);
      TRY(const auto id, runtime.image_id(tag));
      text += fmt::format("{:<10}  {:<9}  {}\n", name, id ? "there" : "not made", tag);
    }
    return out.write(text);
  }

  std::optional<std::string> harness_, engine_, project_;
  bool fresh_ = false;
  std::vector<std::string> words_;
};

}  // namespace

std::unique_ptr<Verb> make_agents_image() { return std::make_unique<AgentsImage>(); }

}  // namespace onsight::cli
