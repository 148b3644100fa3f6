#include "cli/answer.h"

namespace onsight::cli {
namespace {

std::string_view label(engine::Stage stage) {
  switch (stage) {
    case engine::Stage::kFrames:
      return "taking frames";
    case engine::Stage::kVision:
      return "reading the picture";
    default:
      return "reading the question";
  }
}

}  // namespace

Result<Answer> generate(Context& context, engine::Engine& engine, engine::Request request,
                        const AnswerOptions& options) {
  Answer answer;
  ProgressBar bar;
  AnswerPrinter printer(context.out);
  interrupted() = false;
  CatchInterrupts catching(options.interrupts);
  request.cancelled = interrupted_flag();
  engine::Callbacks callbacks;
  callbacks.on_progress = [&](engine::Stage stage, int64_t done, int64_t total) {
    if (stage == engine::Stage::kVision) answer.tiles = total;
    bar.show(label(stage), done, total);
  };
  callbacks.on_text = [&](std::string_view piece) {
    bar.clear();
    // An answer that nobody can read any more is stopped as Ctrl-C would.
    if (options.print && !printer.print(piece)) interrupted() = true;
  };
  auto reply = engine.generate(request, callbacks);
  bar.clear();
  if (options.print && (reply || printer.started())) {
    TRY_STATUS(printer.finish());
  }
  if (!reply) return tl::unexpected<Error>(std::move(reply).error());
  answer.reply = *std::move(reply);
  return answer;
}

}  // namespace onsight::cli
