// The program `onsight`: a table of verbs, one file each.
//
//   int main(int argc, char** argv) {
//     return onsight::cli::run_program(argc, argv, {engine::Engine::load, engine::Engine::inspect});
//   }
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/exit_code.h"
#include "base/result.h"
#include "cli/options.h"
#include "cli/output.h"
#include "engine/engine.h"

namespace onsight::cli {

// What the verbs need of the engine; a test hands in a scripted one.
struct Services {
  std::function<Result<std::unique_ptr<engine::Engine>>(const Path&, const engine::EngineOptions&)> load;
  std::function<Result<engine::ModelInfo>(const Path&)> inspect;
};

struct Context {
  const Services& services;
  Output& out;  // standard output
};

class Verb {
 public:
  virtual ~Verb() = default;
  virtual void declare(Options& options) = 0;
  virtual Status run(Context& context) = 0;
};

struct VerbRow {
  std::string_view name;
  std::string_view arguments;  // as in the usage line
  std::string_view help;       // one line
  std::string_view details;    // paragraphs and examples after the options
  std::unique_ptr<Verb> (*make)();
  std::span<const VerbRow> (*group)() = nullptr;  // of a verb that is followed by another one: in place of `make`
};
std::span<const VerbRow> verbs();
// All that can be run, those of groups by both their words.
std::vector<const VerbRow*> all_verbs();

std::string help_of_program();
std::string help_of_verb(const VerbRow& row, const Options& options);
std::string help_of_group(const VerbRow& row);

// The same tables as a manual page (roff), and as the completions of a shell: bash, zsh or fish.
std::string manual_page();
Result<std::string> completions(std::string_view shell);

// Prints "onsight: <sentence>" as one line on standard error.
void print_error(std::string_view sentence);

// Runs `action`; what libraries throw comes back as an Error (not enough memory, mostly).
Status without_throwing(const std::function<Status()>& action);

int run_program(int argc, char** argv, const Services& services);

std::unique_ptr<Verb> make_ask();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_chat();
std::unique_ptr<Verb> make_convert();
std::unique_ptr<Verb> make_describe();
std::unique_ptr<Verb> make_export();
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_list();
std::unique_ptr<Verb> make_pull();
std::unique_ptr<Verb> make_read();
std::unique_ptr<Verb> make_remove();
std::unique_ptr<Verb> make_serve();
std::unique_ptr<Verb> make_tokenize();
std::unique_ptr<Verb> make_trace();
std::unique_ptr<Verb> make_watch();

}  // namespace onsight::cli
