// onsight export: a model becomes a folder for other programs.
#include "export/export.h"

#include <unistd.h>

#include <algorithm>
#include <deque>

#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/program.h"
#include "cli/stats.h"

namespace onsight::cli {
namespace {

using exports::Target;

class Export : public Verb {
 public:
  void declare(Options& options) override {
    std::vector<std::string> names;
    std::string kinds;
    for (const Target* target : exports::targets()) {
      names.emplace_back(target->name);
      kinds += fmt::format("{}{}: {}", kinds.empty() ? "" : "; ", target->name, target->help);
    }
    options.argument("SRC", source_,
                     "a checkpoint folder, a file that `onsight convert --quant none` wrote, a GGUF file with its "
                     "mmproj beside it, TEXT.gguf,MMPROJ.gguf, or the name of an installed model");
    options.argument("DIR", folder_, "the folder to write: empty, not there, or of an earlier export");
    options.choice("--to", "KIND", names, target_, kinds);
    for (const Target* target : exports::targets())
      for (const exports::Choice& choice : target->choices) add(*target, choice);
    for (Option& option : options_)
      options.choice(std::string(option.rows.front().choice->option), std::string(option.rows.front().choice->value),
                     option.values, option.place, option.help);
  }

  Status run(Context&) override {
    if (!source_ || !folder_) return make_error(ErrorCode::kUsage, "expected SRC, a model, and DIR, a folder to write");
    if (target_ < 0) return make_error(ErrorCode::kUsage, "--to: expected one of {}", kinds());
    exports::Request request{.target = exports::targets()[static_cast<size_t>(target_)],
                             .program = "onsight " ONSIGHT_VERSION};
    for (const Option& option : options_) {
      if (option.place >= 0) TRY_STATUS(choose(option, request));
    }
    TRY(const Path source, find_model(source_));
    interrupted() = false;
    CatchInterrupts catching(Interrupts::kFlagOnce);  // so that nothing half-written is left
    ProgressBar bar;
    const Stopwatch since;
    request.progress = [&](std::string_view what, int64_t done, int64_t total) {
      bar.show(what, done >> 20, total >> 20);
      return !interrupted();
    };
    TRY_STATUS(exports::export_model(source, *folder_, request));
    bar.clear();
    Output error(STDERR_FILENO);
    if (error.is_terminal())
      (void)error.write(
          fmt::format("{}: {}, in {:.1f} s\n", printable(*folder_), request.target->help, since.ms() / 1e3));
    return {};
  }

 private:
  // Targets may have options of one name; each takes values of its own.
  struct Option {
    struct Row {
      const Target* target;
      const exports::Choice* choice;
    };
    std::vector<Row> rows;
    std::vector<std::string> values;  // of all rows
    std::string help;
    int place = -1;  // among the values; -1: not given
  };

  void add(const Target& target, const exports::Choice& choice) {
    const auto is_same = [&](const Option& option) { return option.rows.front().choice->option == choice.option; };
    auto found = std::find_if(options_.begin(), options_.end(), is_same);
    if (found == options_.end()) found = options_.emplace(options_.end());
    found->rows.push_back({&target, &choice});
    for (const std::string& value : choice.values)
      if (std::find(found->values.begin(), found->values.end(), value) == found->values.end())
        found->values.push_back(value);
    found->help += fmt::format("{}{}: {}: {} (default: {})", found->help.empty() ? "" : "; ", target.name, choice.help,
                               fmt::join(choice.values, ", "), choice.values.front());
  }

  static Status choose(const Option& option, exports::Request& request) {
    const std::string& value = option.values[static_cast<size_t>(option.place)];
    std::string others;
    for (const auto& [target, choice] : option.rows) {
      others += fmt::format("{}{}", others.empty() ? "" : " or ", target->name);
      if (target != request.target) continue;
      if (std::find(choice->values.begin(), choice->values.end(), value) == choice->values.end())
        return make_error(ErrorCode::kUsage, "{}: expected one of {} with --to {}, found '{}'", choice->option,
                          fmt::join(choice->values, ", "), target->name, value);
      request.chosen.emplace(choice->option, value);
      return {};
    }
    return make_error(ErrorCode::kUsage, "{}: expected with --to {}, found --to {}", option.rows.front().choice->option,
                      others, request.target->name);
  }

  static std::string kinds() {
    std::string out;
    for (const Target* target : exports::targets()) out += (out.empty() ? "" : ", ") + std::string(target->name);
    return out;
  }

  std::optional<std::string> source_, folder_;
  int target_ = -1;
  std::deque<Option> options_;  // the parser keeps addresses
};

}  // namespace

std::unique_ptr<Verb> make_export() { return std::make_unique<Export>(); }

}  // namespace onsight::cli
