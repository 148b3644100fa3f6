#include "cli/stats.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/output.h"

namespace onsight::cli {

std::string readable_bytes(int64_t bytes) {
  double value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value / 1e6);
  return fmt::format("{:.1f} kB", value / 1e3);
}

std::string readable_count(int64_t count) {
  std::string out, digits = std::to_string(count);
  for (size_t i = 0; i < digits.size(); ++i) {
    size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') out += ',';
    out += digits[i];
  }
  return out;
}

void print_stats(const engine::Reply& reply, const engine::ModelInfo& model, int64_t tiles) {
  const engine::Timings& ms = reply.timings_ms;
  std::string prompt = readable_count(reply.prompt_tokens) + " tokens";
  if (tiles > 0)
    prompt += fmt::format(", {} of them image ({} tile{})", readable_count(tiles * model.tokens_per_tile), tiles,
                          tiles == 1 ? "" : "s");
  if (reply.reused_tokens > 0) prompt += fmt::format(", {} reused", readable_count(reply.reused_tokens));
  if (reply.cached_tiles > 0)
    prompt += fmt::format(", {} tile{} from the cache", reply.cached_tiles, reply.cached_tiles == 1 ? "" : "s");
  // The first token comes out of the prefill, so `decode` is the time of the others.
  double rate = reply.completion_tokens > 1 && ms.decode > 0 ? (reply.completion_tokens - 1) * 1e3 / ms.decode : 0;
  std::string text = fmt::format("prompt       {}\n", prompt);
  text += fmt::format("answer       {} tokens ({})\n", readable_count(reply.completion_tokens),
                      engine::to_string(reply.finish_reason));
  if (reply.drafted_tokens > 0)
    text += fmt::format("drafted      {} tokens, {} of them right\n", readable_count(reply.drafted_tokens),
                        readable_count(reply.accepted_tokens));
  text += fmt::format("first token  {:.3f} s (picture {:.3f}, prompt {:.3f}), after loading for {:.3f} s\n",
                      ms.first_token / 1e3, ms.vision / 1e3, ms.prefill / 1e3, ms.load / 1e3);
  if (rate > 0) text += fmt::format("speed        {:.1f} tokens/s\n", rate);
  if (ms.mask > 0 && ms.decode > 0)
    text += fmt::format("schema       {:.1f} ms, {:.1f} % of the time after the prompt\n", ms.mask,
                        100 * ms.mask / ms.decode);
  text += fmt::format("peak memory  {}\n", readable_bytes(engine::peak_memory_bytes()));
  Output error(STDERR_FILENO);
  (void)error.write(text);
}

}  // namespace onsight::cli
