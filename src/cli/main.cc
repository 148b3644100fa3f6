#include "cli/program.h"

int main(int argc, char** argv) {
  using onsight::engine::Engine;
  return onsight::cli::run_program(argc, argv,
                                   {Engine::load, [](const onsight::Path& folder) { return Engine::inspect(folder); }});
}
