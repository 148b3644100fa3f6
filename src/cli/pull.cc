// onsight pull: a model of the hub comes to this machine.
#include "hub/pull.h"

#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/program.h"
#include "cli/stats.h"
#include "engine/memory.h"
#include "models/model.h"

namespace onsight::cli {
namespace {

// Of what is free: others want some, too.
constexpr double kShare = 0.8;

// How the model runs in the memory that there is, in a sentence or two.
std::string advice(const hub::Repository& repository, const Path& folder) {
  const auto bytes = [&](engine::Quantisation format) -> int64_t {
    const auto info = engine::Engine::inspect(folder, {.text = format, .vision = format});
    return info ? info->memory_bytes : 0;
  };
  const int64_t plain = bytes(engine::Quantisation::kAuto), small = bytes(engine::Quantisation::kQ4);
  if (plain == 0) return {};
  const int64_t free = engine::available_memory_bytes();
  const auto fits = [&](int64_t needed) { return static_cast<double>(needed) <= kShare * static_cast<double>(free); };
  const std::string needs =
      fmt::format("It takes up to {} of memory, and {} are free", readable_bytes(plain), readable_bytes(free));
  const std::string id = repository.revision == "main" ? repository.id() : repository.id() + "@" + repository.revision;
  if (fits(plain)) {
    const auto info = engine::Engine::inspect(folder);
    if (!info || info->text_quantisation.empty())
      return fmt::format("{}.\n  onsight ask --model {} --image photo.jpg\n", needs, id);
    return fmt::format(
        "{}. It runs in {} by itself; packed once, it is ready at once:\n"
        "  onsight ask --model {} --image photo.jpg\n"
        "  onsight convert {} {}.onsight --quant {}\n",
        needs, info->text_quantisation, id, id, repository.name, info->text_quantisation);
  }
  return fmt::format("{}. In 4 bits it takes {}{}:\n  onsight convert {} {}-q4.onsight --quant q4\n", needs,
                     readable_bytes(small), fits(small) ? "" : ", which is still much for this machine", id,
                     repository.name);
}

class Pull : public Verb {
 public:
  void declare(Options& options) override {
    options.argument("OWNER/NAME[@REVISION]", name_, "a model of the hub; REVISION is a branch, a tag or a commit");
    options.number("--connections", "N", connections_, {.min = 1, .max = 16}, "files that come at once (default 4)");
  }

  Status run(Context& context) override {
    if (!name_) return make_error(ErrorCode::kUsage, "expected OWNER/NAME, a model of the hub");
    TRY(const hub::Repository repository, hub::Repository::parse(*name_));
    TRY(const hub::Settings settings, hub::Settings::from_environment());
    interrupted() = false;
    CatchInterrupts catching(Interrupts::kFlagOnce);
    ProgressBar bar;
    const Stopwatch since;
    hub::PullOptions options = {.connections = connections_};
    options.accept = [&](const Json& config) -> Status {
      TRY_STATUS(models::find_model(config, repository.id() + "/config.json"));
      return {};
    };
    options.progress = [&](std::string_view what, int64_t done, int64_t total) {
      bar.show(fmt::format("{} MB", what), done / 1'000'000, total / 1'000'000);
    };
    options.stop = [] { return interrupted().load(); };
    TRY(const hub::Pulled pulled, hub::pull(settings, repository, options));
    bar.clear();
    TRY_STATUS(context.out.write(pulled.folder.string() + "\n"));
    Output error(STDERR_FILENO);
    if (!error.is_terminal()) return {};
    if (pulled.fetched_bytes > 0)
      TRY_STATUS(error.write(fmt::format("{} in {:.1f} s.\n", readable_bytes(pulled.fetched_bytes), since.ms() / 1e3)));
    return error.write(advice(repository, pulled.folder));
  }

 private:
  std::optional<std::string> name_;
  int connections_ = 4;
};

}  // namespace

std::unique_ptr<Verb> make_pull() { return std::make_unique<Pull>(); }

}  // namespace onsight::cli
