// Plots as SVG, dark on white: bars with their spread, and lines against a number.
//
//   std::string svg = line_plot("Time against tiles", {{.x_label = "tiles", .y_label = "seconds", .series =
//   {series}}});
#pragma once

#include <string>
#include <vector>

namespace onsight::cli {

struct Bar {
  std::string label;
  double value = 0, min = 0, max = 0;
};
// Horizontal bars; the line through a bar's end goes from min to max.
std::string bar_plot(const std::string& title, const std::string& x_label, const std::vector<Bar>& bars);

struct PlotPoint {
  double x = 0, y = 0, min = 0, max = 0;
};
struct Series {
  std::string label;
  std::vector<PlotPoint> points;
};
struct Line {
  double slope = 0, intercept = 0;
  double r2 = 0;  // the part of the variance that the line explains
};
// The line of least squares through the points; zeros of fewer than two.
Line fit_line(const std::vector<PlotPoint>& points);

struct Panel {
  std::string x_label, y_label;
  std::vector<Series> series;
  bool fit = true;  // a dashed line of least squares behind the first series
};
// Panels side by side, axes from zero.
std::string line_plot(const std::string& title, const std::vector<Panel>& panels);

}  // namespace onsight::cli
