#include "cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/stats.h"

namespace onsight::cli {
namespace {

using Object = nlohmann::ordered_json;

// 0 where there is nothing to divide by: a figure that was not measured.
double ratio(double a, double b) { return b > 0 ? a / b : 0; }

// What the median of a stage comes to. Operations and bytes a second.
struct Speeds {
  double vision = 0, prefill = 0, decode = 0;
};
Speeds speeds_of(const Figures& f) {
  return {ratio(f.work.tile_ops * static_cast<double>(f.tiles), f.vision_ms.median / 1e3),
          ratio(f.work.prompt_ops, f.prefill_ms.median / 1e3), f.work.token_bytes * f.decode_tokens_per_s.median};
}

std::string readable_ms(double ms) {
  if (ms >= 10'000) return fmt::format("{:.2f} s", ms / 1e3);
  return fmt::format("{:.{}f} ms", ms, ms >= 100 ? 0 : ms >= 10 ? 1 : 2);
}

std::string readable_speed(double per_s, std::string_view unit) {
  return per_s > 0 ? fmt::format("{:.1f} {}", per_s / 1e9, unit) : "";
}

std::string percent(double part, double whole, std::string_view of) {
  return part > 0 && whole > 0 ? fmt::format("{:.0f} % of {}", 100 * part / whole, of) : "";
}

std::string joined(const std::string& a, const std::string& b) { return a.empty() || b.empty() ? a + b : a + ", " + b; }

// One row; the widths count characters, of which "–" is one.
std::string row(std::string_view stage, std::string_view median, std::string_view spread, std::string_view speed,
                std::string_view reached) {
  std::string line = fmt::format("{:<22}{:>12}  {:>19}  {:>12}  {}", stage, median, spread, speed, reached);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string time_row(std::string_view stage, const Spread& ms, const std::string& speed = "",
                     const std::string& reached = "") {
  if (ms.runs.empty()) return "";
  return row(stage, readable_ms(ms.median), readable_ms(ms.min) + " – " + readable_ms(ms.max), speed, reached);
}

std::string head(const BenchReport& report) {
  const engine::ModelInfo& model =
      report.sweep == Sweep::kNone || report.points.empty() ? report.figures.model : report.points[0].figures.model;
  std::string out = fmt::format("model      {} ({}), {} parameters, {}\n", printable(model.name), model.weight_types,
                                readable_count(model.parameters), readable_bytes(model.file_bytes));
  out += fmt::format("machine    {}, {} core{}, {} of memory, kernels {}\n", printable(report.machine.cpu),
                     report.machine.cores, report.machine.cores == 1 ? "" : "s",
                     readable_bytes(report.machine.memory_bytes), report.machine.isa);
  const compute::Ceilings& c = report.ceilings;
  out += fmt::format("ceilings   {} thread{}: f32 {:.0f} GOP/s, int8 {:.0f} GOP/s", c.threads,
                     c.threads == 1 ? "" : "s", c.f32_ops_per_s / 1e9, c.int8_ops_per_s / 1e9);
  if (c.bf16_ops_per_s > 0) out += fmt::format(", bf16 {:.0f} GOP/s", c.bf16_ops_per_s / 1e9);
  if (c.read_bytes_per_s > 0) out += fmt::format(", reading {:.1f} GB/s", c.read_bytes_per_s / 1e9);
  return out + "\n";
}

struct PartOfRequest {
  engine::StepTime::Part part;
  std::string_view name;
};
constexpr PartOfRequest kParts[] = {{engine::StepTime::Part::kTile, "tile"},
                                    {engine::StepTime::Part::kPrompt, "prompt"},
                                    {engine::StepTime::Part::kToken, "token"}};

// What a step comes to: operations, and of a token bytes, a second; and that as a part of a ceiling.
struct StepSpeed {
  double per_s = 0, ceiling = 0;
  std::string_view unit, of;
};
StepSpeed speed_of(const engine::StepTime& step, const BenchReport& report) {
  if (step.part == engine::StepTime::Part::kToken)
    return {ratio(step.bytes, step.ms / 1e3), report.ceilings.read_bytes_per_s, "GB/s", "reading"};
  return {ratio(step.ops, step.ms / 1e3), report.ceilings.int8_ops_per_s, "GOP/s", "int8"};
}

// Where the time goes.
std::string table_of_steps(const BenchReport& report) {
  std::string out;
  for (const PartOfRequest& part : kParts) {
    double all = 0;
    for (const engine::StepTime& step : report.figures.steps)
      if (step.part == part.part) all += step.ms;
    if (all <= 0) continue;
    out += fmt::format("\n{:<44}{:>6}{:>7}{:>12}{:>8}{:>14}  {}\n", fmt::format("steps of a {}", part.name), "rows",
                       "steps", "time", "share", "speed", "reached");
    for (const engine::StepTime& step : report.figures.steps) {
      if (step.part != part.part) continue;
      const double rows = ratio(static_cast<double>(step.rows), static_cast<double>(step.steps));
      std::string line =
          fmt::format("{:<44}{:>6}{:>7}{:>12}{:>8}", step.what, rows > 0 ? fmt::format("{:.0f}", rows) : "", step.steps,
                      readable_ms(step.ms), fmt::format("{:.0f} %", 100 * step.ms / all));
      const StepSpeed speed = speed_of(step, report);
      if (rows > 0)
        line += fmt::format("{:>14}  {}", readable_speed(speed.per_s, speed.unit),
                            percent(speed.per_s, speed.ceiling, speed.of));
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
  }
  return out;
}

std::string table_of_request(const BenchReport& report) {
  const Figures& f = report.figures;
  const compute::Ceilings& c = report.ceilings;
  const Speeds speed = speeds_of(f);
  const auto of_arithmetic = [&](double ops_per_s) {
    return joined(percent(ops_per_s, c.f32_ops_per_s, "f32"), percent(ops_per_s, c.int8_ops_per_s, "int8"));
  };
  std::string out = head(report);
  out += fmt::format("picture    {}, {} x {}, {} tile{}\n", printable(report.picture), report.picture_width,
                     report.picture_height, f.tiles, f.tiles == 1 ? "" : "s");
  out += fmt::format("prompt     {} tokens, answer {} tokens, {} run{}\n\n", readable_count(f.prompt_tokens),
                     readable_count(f.completion_tokens), report.runs, report.runs == 1 ? "" : "s");
  out += row("stage", "median", "least – most", "speed", "reached");
  out += time_row("load", f.load_ms);
  out += time_row("preprocess", f.preprocess_ms);
  out += time_row("vision", f.vision_ms, readable_speed(speed.vision, "GOP/s"), of_arithmetic(speed.vision));
  out += time_row("vision, a tile", f.tile_ms);
  out += time_row("prefill", f.prefill_ms, readable_speed(speed.prefill, "GOP/s"), of_arithmetic(speed.prefill));
  out += time_row("first token", f.first_token_ms);
  const Spread& rate = f.decode_tokens_per_s;
  if (rate.median > 0)
    out += row("decode", fmt::format("{:.1f} tok/s", rate.median), fmt::format("{:.1f} – {:.1f}", rate.min, rate.max),
               readable_speed(speed.decode, "GB/s"), percent(f.decode_of_read.median, 1, "reading"));
  std::string reused = fmt::format("{} of {} tokens reused", readable_count(f.second_reused_tokens),
                                   readable_count(f.second_prompt_tokens));
  out += time_row("second question", f.second_first_token_ms, "", reused);
  out += fmt::format(
      "\nwork       a tile {:.2f} GOP ({:.2f} linear, {:.2f} attention), the prompt {:.2f} GOP ({:.2f} + {:.2f}),\n",
      f.work.tile_ops / 1e9, f.work.tile_linear_ops / 1e9, f.work.tile_attention_ops / 1e9, f.work.prompt_ops / 1e9,
      f.work.prompt_linear_ops / 1e9, f.work.prompt_attention_ops / 1e9);
  out += fmt::format("           a token of the answer {:.2f} GOP and {}\n", f.work.token_ops / 1e9,
                     readable_bytes(static_cast<int64_t>(f.work.token_bytes)));
  out += fmt::format("memory     {} at most\n", readable_bytes(f.peak_memory_bytes));
  if (!c.read_refused.empty()) out += fmt::format("           {}\n", c.read_refused);
  return out + table_of_steps(report);
}

double x_of(const BenchReport& report, const SweepPoint& point) {
  if (report.sweep == Sweep::kTiles) return static_cast<double>(point.figures.tiles);
  return report.sweep == Sweep::kTokens ? point.figures.prompt_tokens : point.threads;
}

// What grows with x: the tower's time with tiles, the decoder's with tokens.
const Spread& time_of(const BenchReport& report, const SweepPoint& point) {
  const Figures& f = point.figures;
  if (report.sweep == Sweep::kTiles) return f.vision_ms;
  return report.sweep == Sweep::kTokens ? f.prefill_ms : f.first_token_ms;
}

Series series_of(const BenchReport& report, const std::string& label,
                 const std::function<Spread(const SweepPoint&)>& value, double scale) {
  Series series{label, {}};
  for (const SweepPoint& point : report.points) {
    const Spread s = value(point);
    series.points.push_back({x_of(report, point), s.median * scale, s.min * scale, s.max * scale});
  }
  return series;
}

Series memory_of(const BenchReport& report) {
  return series_of(
      report, "peak memory",
      [](const SweepPoint& p) { return spread_of({static_cast<double>(p.figures.peak_memory_bytes)}); }, 1e-6);
}

std::string table_of_sweep(const BenchReport& report) {
  std::string out = head(report);
  out += fmt::format("sweep      {}, {} run{} a point, medians\n\n", to_string(report.sweep), report.runs,
                     report.runs == 1 ? "" : "s");
  out += fmt::format("{:>8}{:>8}{:>8}{:>13}{:>13}{:>13}{:>14}{:>12}\n", "threads", "tiles", "tokens", "vision",
                     "prefill", "first token", "decode", "memory");
  for (const SweepPoint& point : report.points) {
    const Figures& f = point.figures;
    out += fmt::format(
        "{:>8}{:>8}{:>8}{:>13}{:>13}{:>13}{:>14}{:>12}\n", point.threads, f.tiles, f.prompt_tokens,
        readable_ms(f.vision_ms.median), readable_ms(f.prefill_ms.median), readable_ms(f.first_token_ms.median),
        f.decode_tokens_per_s.median > 0 ? fmt::format("{:.1f} tok/s", f.decode_tokens_per_s.median) : "",
        readable_bytes(f.peak_memory_bytes));
  }
  if (report.sweep == Sweep::kThreads || report.points.size() < 3) return out;
  const Line time = fit_line(series_of(
                                 report, "", [&](const SweepPoint& p) { return time_of(report, p); }, 1)
                                 .points);
  const Line memory = fit_line(memory_of(report).points);
  const std::string one = report.sweep == Sweep::kTiles ? "tile" : "token";
  return out + fmt::format("\na {0} more: {1} (straight line, r² {2:.4f}) and {3:.3f} MB (r² {4:.4f})\n", one,
                           readable_ms(time.slope), time.r2, memory.slope, memory.r2);
}

Object json_of(const Spread& s) {
  if (s.runs.empty()) return nullptr;
  return {{"median", s.median}, {"min", s.min}, {"max", s.max}, {"runs", s.runs}};
}

Object json_of(const std::vector<engine::StepTime>& steps) {
  Object list = Object::array();
  for (const engine::StepTime& step : steps) {
    const auto part =
        std::find_if(std::begin(kParts), std::end(kParts), [&](const PartOfRequest& p) { return p.part == step.part; });
    list.push_back({{"of", std::string(part->name)},
                    {"what", step.what},
                    {"rows", step.rows > 0 ? Object(step.rows) : Object(nullptr)},
                    {"steps", step.steps},
                    {"ms", step.ms},
                    {"ops", step.ops},
                    {"bytes", step.bytes}});
  }
  return list;
}

Object json_of(const Figures& f, const compute::Ceilings& c) {
  const Speeds speed = speeds_of(f);
  const engine::RequestWork& w = f.work;
  const auto fraction = [](double part, double whole) -> Object {
    return part > 0 && whole > 0 ? Object(part / whole) : Object(nullptr);
  };
  return {{"tiles", f.tiles},
          {"prompt_tokens", f.prompt_tokens},
          {"completion_tokens", f.completion_tokens},
          {"stages",
           {{"load_ms", json_of(f.load_ms)},
            {"preprocess_ms", json_of(f.preprocess_ms)},
            {"vision_ms", json_of(f.vision_ms)},
            {"vision_tile_ms", json_of(f.tile_ms)},
            {"prefill_ms", json_of(f.prefill_ms)},
            {"first_token_ms", json_of(f.first_token_ms)},
            {"decode_tokens_per_s", json_of(f.decode_tokens_per_s)}}},
          {"second_question",
           {{"first_token_ms", json_of(f.second_first_token_ms)},
            {"prompt_tokens", f.second_prompt_tokens},
            {"reused_tokens", f.second_reused_tokens}}},
          {"work",
           {{"tile_ops", w.tile_ops},
            {"tile_linear_ops", w.tile_linear_ops},
            {"tile_attention_ops", w.tile_attention_ops},
            {"prompt_ops", w.prompt_ops},
            {"prompt_linear_ops", w.prompt_linear_ops},
            {"prompt_attention_ops", w.prompt_attention_ops},
            {"answer_token_ops", w.token_ops},
            {"answer_token_bytes", w.token_bytes}}},
          {"speeds",
           {{"vision_ops_per_s", speed.vision},
            {"prefill_ops_per_s", speed.prefill},
            {"decode_bytes_per_s", speed.decode}}},
          {"reached",
           {{"vision_of_f32", fraction(speed.vision, c.f32_ops_per_s)},
            {"vision_of_int8", fraction(speed.vision, c.int8_ops_per_s)},
            {"prefill_of_f32", fraction(speed.prefill, c.f32_ops_per_s)},
            {"prefill_of_int8", fraction(speed.prefill, c.int8_ops_per_s)},
            {"decode_of_read", fraction(f.decode_of_read.median, 1)}}},
          {"read_bytes_per_s", json_of(f.read_bytes_per_s)},
          {"steps", json_of(f.steps)},
          {"peak_memory_bytes", f.peak_memory_bytes}};
}

Object json_of(const Line& line) { return {{"slope", line.slope}, {"intercept", line.intercept}, {"r2", line.r2}}; }

std::vector<Bar> bars_of(const Figures& f) {
  std::vector<Bar> bars;
  const auto add = [&](const char* label, const Spread& s) {
    if (!s.runs.empty()) bars.push_back({label, s.median, s.min, s.max});
  };
  add("load", f.load_ms);
  add("preprocess", f.preprocess_ms);
  add("vision", f.vision_ms);
  add("prefill", f.prefill_ms);
  add("first token", f.first_token_ms);
  add("second question", f.second_first_token_ms);
  if (const Spread& rate = f.decode_tokens_per_s; rate.min > 0)
    bars.push_back({"one more token", 1e3 / rate.median, 1e3 / rate.max, 1e3 / rate.min});
  return bars;
}

}  // namespace

std::string_view to_string(Sweep sweep) {
  switch (sweep) {
    case Sweep::kTiles:
      return "tiles";
    case Sweep::kTokens:
      return "tokens";
    case Sweep::kThreads:
      return "threads";
    case Sweep::kNone:
      break;
  }
  return "";
}

std::string to_table(const BenchReport& report) {
  return report.sweep == Sweep::kNone ? table_of_request(report) : table_of_sweep(report);
}

std::string to_json(const BenchReport& report) {
  const bool sweep = report.sweep != Sweep::kNone;
  const engine::ModelInfo& model =
      sweep && !report.points.empty() ? report.points[0].figures.model : report.figures.model;
  const compute::Ceilings& c = report.ceilings;
  const auto measured = [](double value) { return value > 0 ? Object(value) : Object(nullptr); };
  Object object = {
      {"onsight", ONSIGHT_VERSION},
      {"machine",
       {{"cpu", report.machine.cpu},
        {"cores", report.machine.cores},
        {"memory_bytes", report.machine.memory_bytes},
        {"isa", report.machine.isa}}},
      {"ceilings",
       {{"threads", c.threads},
        {"f32_ops_per_s", c.f32_ops_per_s},
        {"int8_ops_per_s", c.int8_ops_per_s},
        {"bf16_ops_per_s", measured(c.bf16_ops_per_s)},
        {"read_bytes_per_s", measured(c.read_bytes_per_s)},
        {"f32_instruction", c.f32_instruction},
        {"int8_instruction", c.int8_instruction},
        {"bf16_instruction", c.bf16_instruction}}},
      {"model",
       {{"name", model.name},
        {"parameters", model.parameters},
        {"weight_types", model.weight_types},
        {"file_bytes", model.file_bytes},
        {"vision_shape", model.vision_shape},
        {"text_shape", model.text_shape}}},
      {"threads", report.threads},
      {"runs", report.runs},
  };
  if (!report.picture.empty())
    object["picture"] = {{"file", report.picture}, {"width", report.picture_width}, {"height", report.picture_height}};
  if (!sweep) {
    object.update(json_of(report.figures, c));
  } else {
    Object points = Object::array();
    for (const SweepPoint& point : report.points) {
      Object one = {{"threads", point.threads}};
      one.update(json_of(point.figures, point.threads == c.threads ? c : compute::Ceilings{}));
      points.push_back(std::move(one));
    }
    object["sweep"] = {{"over", std::string(to_string(report.sweep))}, {"points", std::move(points)}};
    if (report.sweep != Sweep::kThreads) {
      const auto time = [&](const SweepPoint& p) { return time_of(report, p); };
      object["sweep"]["time_ms_fit"] = json_of(fit_line(series_of(report, "", time, 1).points));
      object["sweep"]["memory_mb_fit"] = json_of(fit_line(memory_of(report).points));
    }
  }
  return object.dump(1, ' ', false, Object::error_handler_t::replace) + "\n";
}

std::string to_svg(const BenchReport& report) {
  const bool sweep = report.sweep != Sweep::kNone;
  const engine::ModelInfo& model =
      sweep && !report.points.empty() ? report.points[0].figures.model : report.figures.model;
  const std::string where = fmt::format("{} ({}) on {}", model.name, model.weight_types, report.machine.cpu);
  if (!sweep)
    return bar_plot(fmt::format("{}, {} thread{}, {} tile{}", where, report.threads, report.threads == 1 ? "" : "s",
                                report.figures.tiles, report.figures.tiles == 1 ? "" : "s"),
                    "milliseconds (median, least to most)", bars_of(report.figures));
  const auto seconds = [&](const char* label, Spread Figures::*member) {
    return series_of(
        report, label, [member](const SweepPoint& p) { return p.figures.*member; }, 1e-3);
  };
  const Series rate = series_of(
      report, "decode", [](const SweepPoint& p) { return p.figures.decode_tokens_per_s; }, 1);
  switch (report.sweep) {
    case Sweep::kTiles:
      return line_plot(where,
                       {{"tiles",
                         "seconds",
                         {seconds("vision", &Figures::vision_ms), seconds("first token", &Figures::first_token_ms)}},
                        {"tiles", "MB", {memory_of(report)}}});
    case Sweep::kTokens:
      return line_plot(where, {{"tokens of the prompt", "seconds", {seconds("prefill", &Figures::prefill_ms)}},
                               {"tokens before the answer", "tokens/s", {rate}, false},
                               {"tokens of the prompt", "MB", {memory_of(report)}}});
    default:
      return line_plot(where, {{"threads",
                                "seconds",
                                {seconds("first token", &Figures::first_token_ms),
                                 seconds("vision", &Figures::vision_ms), seconds("prefill", &Figures::prefill_ms)},
                                false},
                               {"threads", "tokens/s", {rate}, false},
                               {"threads", "MB", {memory_of(report)}, false}});
  }
}

}  // namespace onsight::cli
