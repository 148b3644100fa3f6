#include "cli/trace_compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "formats/npy.h"

namespace onsight::cli {
namespace {

// The first match gives the rank; "#" stands for the number of a layer.
constexpr std::string_view kForwardPass[] = {
    "input_ids",      "pixel_values",    "vision.embeddings", "vision.layers.#", "vision.post_layernorm",
    "image_features", "text.embeddings", "text.layers.#",     "text.norm",       "logits",
};

struct Position {
  size_t rank;
  int layer;
};

Position position_of(std::string_view name) {
  for (size_t rank = 0; rank < std::size(kForwardPass); ++rank) {
    std::string_view pattern = kForwardPass[rank];
    if (name == pattern) return {rank, 0};
    if (!pattern.ends_with('#')) continue;
    pattern.remove_suffix(1);
    if (!name.starts_with(pattern)) continue;
    int layer = 0;
    auto [end, error] = std::from_chars(name.data() + pattern.size(), name.data() + name.size(), layer);
    if (error == std::errc() && end == name.data() + name.size()) return {rank, layer};
  }
  return {std::size(kForwardPass), 0};
}

bool is_integer(compute::DType dtype) { return dtype != compute::DType::kF32; }

// Value i of a tensor that read_npy can give. f32 and integers below 2^53 are exact.
double value_at(const compute::Tensor& tensor, int64_t i) {
  auto read = [&]<class T>(T value) {
    std::memcpy(&value, tensor.data + static_cast<size_t>(i) * sizeof value, sizeof value);
    return static_cast<double>(value);
  };
  switch (tensor.dtype) {
    case compute::DType::kI32:
      return read(int32_t{});
    case compute::DType::kI64:
      return read(int64_t{});
    case compute::DType::kU8:
      return read(uint8_t{});
    default:
      return read(float{});
  }
}

struct Difference {
  double max_abs = 0, relative = 0;
  int64_t where = 0;  // of max_abs
};

Difference measure(const compute::Tensor& a, const compute::Tensor& b) {
  Difference out;
  double squares = 0, reference = 0;
  for (int64_t i = 0; i < a.shape.elements(); ++i) {
    double x = value_at(a, i), y = value_at(b, i);
    // Equal infinities and NaN on both sides agree; NaN on one side is as far as can be.
    double d = x == y || (std::isnan(x) && std::isnan(y)) ? 0 : std::abs(x - y);
    if (std::isnan(d)) d = INFINITY;
    if (d > out.max_abs) {
      out.max_abs = d;
      out.where = i;
    }
    squares += d * d;
    if (std::isfinite(y)) reference += y * y;
  }
  out.relative = squares == 0 ? 0 : std::sqrt(squares) / std::sqrt(reference);  // infinite beside zeros
  return out;
}

std::string index_of(const compute::Shape& shape, int64_t flat) {
  std::string out;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    out = std::to_string(flat % shape[i]) + (out.empty() ? "" : ", ") + out;
    flat /= shape[i];
  }
  return "[" + out + "]";
}

Result<std::vector<std::string>> trace_names(const Path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".npy") names.push_back(it->path().stem().string());
  if (error) return bad_input("{}: cannot be read ({}), expected a folder of traces", folder.string(), error.message());
  if (names.empty()) return bad_input("{}: expected a folder of traces, found no .npy file in it", folder.string());
  std::sort(names.begin(), names.end(), earlier_in_forward_pass);
  return names;
}

}  // namespace

bool earlier_in_forward_pass(const std::string& a, const std::string& b) {
  Position pa = position_of(a), pb = position_of(b);
  return std::tie(pa.rank, pa.layer, a) < std::tie(pb.rank, pb.layer, b);
}

bool is_trace_name(const std::string& name) { return position_of(name).rank < std::size(kForwardPass); }

Result<Comparison> compare_traces(const Path& ours, const Path& theirs, double tolerance) {
  TRY(std::vector<std::string> our_names, trace_names(ours));
  TRY(std::vector<std::string> their_names, trace_names(theirs));
  size_t width = 6;
  for (const std::string& name : their_names) width = std::max(width, name.size());
  Comparison out;
  out.tensors = their_names.size();
  out.table = fmt::format("{:<{}}  {:<20}  {:>10}  {:>10}\n", "tensor", width, "shape", "max abs", "relative");
  auto report = [&](const std::string& name, const std::string& line, bool differs, const std::string& how) {
    out.table += fmt::format("{:<{}}  {}{}\n", name, width, line, differs ? "  differs" : "");
    if (differs && out.first_difference.empty()) out.first_difference = fmt::format("{}: {}", name, how);
  };
  for (const std::string& name : their_names) {
    if (std::find(our_names.begin(), our_names.end(), name) == our_names.end()) {
      report(name, "missing", true, fmt::format("missing from {}", ours.string()));
      continue;
    }
    TRY(formats::NpyArray a, formats::read_npy(ours / (name + ".npy")));
    TRY(formats::NpyArray b, formats::read_npy(theirs / (name + ".npy")));
    std::string shape = a.shape.to_string();
    if (!(a.shape == b.shape)) {
      std::string how = fmt::format("shape {} instead of {}", shape, b.shape.to_string());
      report(name, how, true, how);
    } else if (is_integer(a.dtype) != is_integer(b.dtype)) {
      std::string how = fmt::format("type {} instead of {}", info(a.dtype).name, info(b.dtype).name);
      report(name, how, true, how);
    } else {
      Difference d = measure(a.tensor(), b.tensor());
      bool differs = !(d.relative <= tolerance);
      std::string how;
      if (differs)
        how = fmt::format("relative error {:.3g} (at most {:g} expected), most at {}: {:.7g} instead of {:.7g}",
                          d.relative, tolerance, index_of(a.shape, d.where), value_at(a.tensor(), d.where),
                          value_at(b.tensor(), d.where));
      report(name, fmt::format("{:<20}  {:>10.3g}  {:>10.3g}", shape, d.max_abs, d.relative), differs, how);
    }
  }
  return out;
}

}  // namespace onsight::cli
