// What `onsight bench` measures: whole requests, each with a model loaded anew, so that nothing is found in a cache.
//
//   BenchRequest bench;  bench.folder = folder;  bench.messages = [&](const std::string& prompt) { ... };
//   TRY(Figures figures, measure(context.services, bench, bar));
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/program.h"

namespace onsight::cli {

struct Spread {
  double median = 0, min = 0, max = 0;
  std::vector<double> runs;  // in the order of the runs
};
Spread spread_of(std::vector<double> runs);

struct BenchRequest {
  Path folder;
  engine::EngineOptions engine;
  engine::Request request;  // all but the messages
  // The messages of a question; reads and decodes the picture each time.
  std::function<Result<std::vector<engine::Message>>(const std::string& prompt)> messages;
  std::string prompt;
  std::string second_prompt;  // asked after it, of the same picture; empty: not
  bool reading = false;       // measure the speed of memory after each run
  int runs = 1;
};

struct Figures {
  engine::ModelInfo model;
  engine::RequestWork work;
  int64_t tiles = 0;
  int prompt_tokens = 0, completion_tokens = 0;
  int second_prompt_tokens = 0, second_reused_tokens = 0;
  int64_t peak_memory_bytes = 0;
  // Milliseconds. preprocess and first_token begin with the picture's file; tile is vision for one tile.
  Spread load_ms, preprocess_ms, vision_ms, tile_ms, prefill_ms, first_token_ms, second_first_token_ms;
  Spread decode_tokens_per_s;           // 0: the answer was too short to tell
  Spread read_bytes_per_s;              // right after each run; empty if it could not be measured
  Spread decode_of_read;                // of each run, the bytes that decoding read a second by that
  std::vector<engine::StepTime> steps;  // of a tile, the prompt and a token, the mean of the runs
};

// `done` is called before each run with how many there have been.
Result<Figures> measure(const Services& services, const BenchRequest& bench, const std::function<void(int done)>& done);

}  // namespace onsight::cli
