#include "cli/program.h"

int main(int argc, char** argv) {
  return onsight::cli::run_program(argc, argv, {onsight::engine::Engine::load, onsight::engine::Engine::inspect});
}
