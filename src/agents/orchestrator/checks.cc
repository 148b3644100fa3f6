#include "agents/orchestrator/checks.h"

#include "agents/bus/mail.h"
#include "agents/workspace/folders.h"

namespace onsight::agents::orchestrator {
namespace {

constexpr std::string_view kPurpose = "check";
constexpr size_t kKept = 8 << 10;  // bytes of output

Path checks_of(const Project& project) { return project.state / "checks"; }

void keep_end(std::string& text) {
  if (text.size() > kKept) text = "...\n" + text.substr(text.size() - kKept);
}

std::string typed(const config::Command& command) {
  std::string out;
  for (const std::string& word : command) {
    const bool plain = !word.empty() && word.find_first_not_of(
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789-_./=:,+@%") == std::string::npos;
    out += out.empty() ? "" : " ";
    if (plain) {
      out += word;
      continue;
    }
    out += '\'';
    for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    out += '\'';
  }
  return out;
}

// First what the engine keeps of it: as long as the folder is there, end_checks() knows of that.
Status remove_scratch(runtime::Runtime& engine, const Path& folder) {
  TRY_STATUS(engine.forget(folder));
  return workspace::remove_tree(folder);
}

// A folder that goes when this does.
class Scratch {
 public:
  Scratch(runtime::Runtime& engine, Path folder) : engine_(engine), folder_(std::move(folder)) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { (void)remove_scratch(engine_, folder_); }
  const Path& folder() const { return folder_; }

 private:
  runtime::Runtime& engine_;
  Path folder_;
};

}  // namespace

Result<Checked> run_checks(Fleet& fleet, const CheckWish& wish) {
  if (wish.commands.empty()) return Checked{};
  TRY(runtime::Runtime * engine, fleet.runtime());
  const std::string id = state::new_id();
  const Scratch scratch(*engine, checks_of(fleet.project()) / id);
  TRY_STATUS(fleet.workspace().check_out(scratch.folder(), wish.commit, wish.uid, wish.uid));
  runtime::ContainerSpec spec;
  spec.image = wish.image;
  spec.environment = {{"HOME", "/agent/home"}, {"LANG", "C.UTF-8"}, {"CI", "true"}};
  spec.uid = spec.gid = wish.uid;
  spec.terminal = false;
  spec.mounts = {{scratch.folder(), "/agent", false}};
  spec.labels = {{std::string(runtime::kProjectLabel), fleet.project().id},
                 {std::string(runtime::kPurposeLabel), std::string(kPurpose)}};
  spec.limits = wish.limits;
  for (size_t i = 0; i < wish.commands.size(); ++i) {
    spec.name = fmt::format("onsight-{}-check-{}-{}", fleet.project().id, id, i);
    spec.command = wish.commands[i];
    std::string output;
    const auto keep = [&](std::string_view piece) {
      output += piece;
      if (output.size() > 4 * kKept) keep_end(output);
      return Status();
    };
    auto ended = engine->run(spec, keep, wish.limit);
    const bool late = !ended && ended.error().reason == "late";
    if (!ended && !late) return tl::unexpected<Error>(ended.error());
    if (!late && ended->exit_code == 0) continue;
    output += late ? fmt::format("\nit was ended after {} s", wish.limit.count() / 1000) : ended->err;
    keep_end(output);
    return Checked{.good = false, .command = typed(spec.command), .output = bus::safe_text(output)};
  }
  return Checked{};
}

Status end_checks(Fleet& fleet) {
  TRY(runtime::Runtime * engine, fleet.runtime());
  TRY(const auto left, engine->list({{std::string(runtime::kProjectLabel), fleet.project().id},
                                     {std::string(runtime::kPurposeLabel), std::string(kPurpose)}}));
  for (const runtime::ContainerInfo& one : left) {
    TRY_STATUS(engine->remove(one.id));
  }
  for (const Path& folder : children_of(checks_of(fleet.project()))) {
    TRY_STATUS(remove_scratch(*engine, folder));
  }
  return {};
}

}  // namespace onsight::agents::orchestrator
