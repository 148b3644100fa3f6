#include "cli/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace onsight::cli {
namespace {

constexpr const char* kInk = "#222222";
constexpr const char* kGrid = "#e4e4e4";
constexpr std::array kColours = {"#1f5fa8", "#c4501b", "#2d8659", "#7a4fa3"};

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

enum class Anchor { kStart, kMiddle, kEnd };

class Svg {
 public:
  Svg(double width, double height) {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" "
        "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"{2}\">\n"
        "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#ffffff\"/>\n",
        width, height, kInk);
  }
  void line(double x1, double y1, double x2, double y2, const char* colour, double width = 1, const char* dash = "") {
    out_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"{}\"{}/>\n", x1, y1,
        x2, y2, colour, width, *dash ? fmt::format(" stroke-dasharray=\"{}\"", dash) : "");
  }
  void box(double x, double y, double width, double height, const char* colour) {
    out_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y,
                        width, height, colour);
  }
  void dot(double x, double y, const char* colour) {
    out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", x, y, colour);
  }
  void path(const std::vector<std::pair<double, double>>& points, const char* colour) {
    out_ += "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" + std::string(colour) + "\" points=\"";
    for (const auto& [x, y] : points) out_ += fmt::format("{:.1f},{:.1f} ", x, y);
    out_ += "\"/>\n";
  }
  void text(double x, double y, const std::string& content, Anchor anchor = Anchor::kStart, const char* more = "") {
    constexpr std::array kNames = {"start", "middle", "end"};
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                        kNames[static_cast<size_t>(anchor)], more, escaped(content));
  }
  std::string finish() { return out_ + "</svg>\n"; }

 private:
  std::string out_;
};

// A step of 1, 2 or 5 times a power of ten that divides [0, max] into at most `parts`.
double tick_step(double max, int parts) {
  if (!(max > 0) || !std::isfinite(max)) return 1;
  const double power = std::pow(10, std::floor(std::log10(max / parts)));
  for (double factor : {1.0, 2.0, 5.0})
    if (max / (factor * power) <= parts) return factor * power;
  return 10 * power;
}

struct Axis {
  double from, to;  // on the picture
  double max, step;
  double at(double value) const { return from + (to - from) * value / max; }
};

Axis make_axis(double max, double from, double to, int parts) {
  const double step = tick_step(max, parts);
  return {from, to, std::max(step, std::ceil(max / step - 1e-9) * step), step};
}

int ticks_of(const Axis& axis) { return static_cast<int>(std::lround(axis.max / axis.step)); }

std::string number(double value) { return fmt::format("{:.6g}", value); }

void draw_panel(Svg& svg, const Panel& panel, double left, double right, double top, double bottom) {
  double max_x = 0, max_y = 0;
  for (const Series& series : panel.series) {
    for (const PlotPoint& p : series.points) {
      max_x = std::max(max_x, p.x);
      max_y = std::max({max_y, p.y, p.max});
    }
  }
  const Axis x = make_axis(max_x, left, right, 8), y = make_axis(max_y * 1.02, bottom, top, 6);
  for (int i = 0; i <= ticks_of(y); ++i) {
    const double value = i * y.step;
    svg.line(left, y.at(value), right, y.at(value), i == 0 ? kInk : kGrid);
    svg.text(left - 8, y.at(value) + 4, number(value), Anchor::kEnd);
  }
  for (int i = 0; i <= ticks_of(x); ++i) {
    const double value = i * x.step;
    svg.line(x.at(value), bottom, x.at(value), bottom + 5, kInk);
    svg.text(x.at(value), bottom + 20, number(value), Anchor::kMiddle);
  }
  svg.line(left, top, left, bottom, kInk);
  svg.text((left + right) / 2, bottom + 42, panel.x_label, Anchor::kMiddle);
  svg.text(left - 40, top - 14, panel.y_label, Anchor::kStart, " font-weight=\"bold\"");

  double legend = top + 12;
  const bool fitted = panel.fit && !panel.series.empty() && panel.series[0].points.size() > 2;
  if (fitted) {
    const Line line = fit_line(panel.series[0].points);
    const auto clamped = [&](double value) {
      return y.at(std::clamp(line.intercept + line.slope * value, 0.0, y.max));
    };
    svg.line(x.at(0), clamped(0), x.at(max_x), clamped(max_x), "#888888", 1.5, "5 4");
  }
  for (size_t i = 0; i < panel.series.size(); ++i) {
    const char* colour = kColours[i % kColours.size()];
    std::vector<std::pair<double, double>> path;
    for (const PlotPoint& p : panel.series[i].points) {
      path.emplace_back(x.at(p.x), y.at(p.y));
      if (p.max > p.min) svg.line(x.at(p.x), y.at(p.min), x.at(p.x), y.at(p.max), colour, 1.5);
      svg.dot(x.at(p.x), y.at(p.y), colour);
    }
    svg.path(path, colour);
    svg.box(left + 12, legend - 8, 14, 4, colour);
    svg.text(left + 32, legend - 2, panel.series[i].label);
    legend += 18;
  }
  if (fitted) {
    svg.line(left + 12, legend - 6, left + 26, legend - 6, "#888888", 1.5, "5 4");
    svg.text(left + 32, legend - 2, fmt::format("straight line, r² {:.4f}", fit_line(panel.series[0].points).r2));
  }
}

}  // namespace

Line fit_line(const std::vector<PlotPoint>& points) {
  Line line;
  const double n = static_cast<double>(points.size());
  if (points.size() < 2) return line;
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
  for (const PlotPoint& p : points) {
    mean_x += p.x / n;
    mean_y += p.y / n;
  }
  for (const PlotPoint& p : points) {
    xx += (p.x - mean_x) * (p.x - mean_x);
    xy += (p.x - mean_x) * (p.y - mean_y);
    yy += (p.y - mean_y) * (p.y - mean_y);
  }
  if (xx <= 0) return line;
  line.slope = xy / xx;
  line.intercept = mean_y - line.slope * mean_x;
  line.r2 = yy > 0 ? xy * xy / (xx * yy) : 1;
  return line;
}

std::string bar_plot(const std::string& title, const std::string& x_label, const std::vector<Bar>& bars) {
  constexpr double kWidth = 900, kLeft = 190, kRight = 790, kTop = 60, kRow = 34;
  const double bottom = kTop + kRow * static_cast<double>(bars.size());
  Svg svg(kWidth, bottom + 60);
  svg.text(20, 28, title, Anchor::kStart, " font-size=\"15\" font-weight=\"bold\"");
  double max = 0;
  for (const Bar& bar : bars) max = std::max({max, bar.value, bar.max});
  const Axis x = make_axis(max, kLeft, kRight, 8);
  for (int i = 0; i <= ticks_of(x); ++i) {
    svg.line(x.at(i * x.step), kTop, x.at(i * x.step), bottom, i == 0 ? kInk : kGrid);
    svg.text(x.at(i * x.step), bottom + 20, number(i * x.step), Anchor::kMiddle);
  }
  svg.text((kLeft + kRight) / 2, bottom + 44, x_label, Anchor::kMiddle);
  double y = kTop + kRow / 2;
  for (const Bar& bar : bars) {
    svg.text(kLeft - 12, y + 4, bar.label, Anchor::kEnd);
    svg.box(kLeft, y - 9, std::max(0.0, x.at(bar.value) - kLeft), 18, kColours[0]);
    svg.line(x.at(bar.min), y, x.at(bar.max), y, kInk, 1.5);
    for (double end : {bar.min, bar.max}) svg.line(x.at(end), y - 5, x.at(end), y + 5, kInk, 1.5);
    svg.text(x.at(std::max(bar.value, bar.max)) + 8, y + 4, fmt::format("{:.3g}", bar.value));
    y += kRow;
  }
  return svg.finish();
}

std::string line_plot(const std::string& title, const std::vector<Panel>& panels) {
  constexpr double kPanelWidth = 460, kHeight = 420;
  Svg svg(kPanelWidth * static_cast<double>(std::max<size_t>(1, panels.size())), kHeight);
  svg.text(20, 28, title, Anchor::kStart, " font-size=\"15\" font-weight=\"bold\"");
  for (size_t i = 0; i < panels.size(); ++i) {
    const double left = kPanelWidth * static_cast<double>(i) + 70;
    draw_panel(svg, panels[i], left, left + kPanelWidth - 95, 78, kHeight - 62);
  }
  return svg.finish();
}

}  // namespace onsight::cli
