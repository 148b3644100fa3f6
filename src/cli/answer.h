// One run of the engine with a person in front of it: progress, text as it comes, Ctrl-C.
#pragma once

#include "cli/interrupt.h"
#include "cli/program.h"

namespace onsight::cli {

struct Answer {
  engine::Reply reply;
  int64_t tiles = 0;  // that the engine read for it
};

struct AnswerOptions {
  bool print = true;  // stream the text to standard output
  Interrupts interrupts = Interrupts::kFlagOnce;
};

// An answer that Ctrl-C stopped comes back with FinishReason::kCancelled and what there is of its text.
Result<Answer> generate(Context& context, engine::Engine& engine, engine::Request request,
                        const AnswerOptions& options);

}  // namespace onsight::cli
