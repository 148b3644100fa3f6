// onsight rm: a model that was pulled leaves this machine.
#include <unistd.h>

#include "cli/program.h"
#include "cli/stats.h"
#include "hub/cache.h"

namespace onsight::cli {
namespace {

class Remove : public Verb {
 public:
  void declare(Options& options) override {
    options.argument("OWNER/NAME[@REVISION]", name_, "a model that `onsight list` names so");
  }

  Status run(Context&) override {
    if (!name_) return make_error(ErrorCode::kUsage, "expected OWNER/NAME, a model that was pulled");
    TRY(const hub::Repository repository, hub::Repository::parse(*name_));
    TRY(Path cache, hub::cache_folder());
    TRY(const int64_t freed, hub::Cache(std::move(cache)).remove(repository));
    Output error(STDERR_FILENO);
    if (error.is_terminal()) return error.write(fmt::format("{} are free again\n", readable_bytes(freed)));
    return {};
  }

 private:
  std::optional<std::string> name_;
};

}  // namespace

std::unique_ptr<Verb> make_remove() { return std::make_unique<Remove>(); }

}  // namespace onsight::cli
