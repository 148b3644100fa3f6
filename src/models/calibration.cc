#include "models/calibration.h"

#include <algorithm>

namespace onsight::models {
namespace {

using compute::PackedMatrix;
using compute::Tensor;

std::vector<double> column_means(const Tensor& x) {
  const int64_t width = x.shape[-1], rows = x.shape.elements() / width;
  std::vector<double> out(static_cast<size_t>(width));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < width; ++i) out[static_cast<size_t>(i)] += x.f32()[static_cast<size_t>(row * width + i)];
  for (double& mean : out) mean /= static_cast<double>(rows);
  return out;
}

// The mean over the examples, less of it the more they differ: what is of one example only would be wrong for others.
std::vector<float> common_part(const std::vector<std::vector<double>>& errors) {
  const auto n = static_cast<double>(errors.size());
  std::vector<double> mean(errors[0].size());
  for (const std::vector<double>& example : errors)
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += example[i] / n;
  double common = 0, apart = 0;
  for (size_t i = 0; i < mean.size(); ++i) {
    common += mean[i] * mean[i];
    for (const std::vector<double>& example : errors) apart += (example[i] - mean[i]) * (example[i] - mean[i]);
  }
  // The mean of n has an n-th of an example's variance, which is not common.
  const double noise = n > 1 ? apart / (n - 1) / n : 0;
  const double share = common > 0 ? std::max(0.0, 1 - noise / common) : 0;
  std::vector<float> out;
  for (const double value : mean) out.push_back(static_cast<float>(share * value));
  return out;
}

std::string bias_of(const TensorSpec& weight, std::span<const TensorSpec> specs) {
  constexpr std::string_view kWeight = "weight";
  if (!weight.name.ends_with(kWeight)) return {};
  std::string name = weight.name.substr(0, weight.name.size() - kWeight.size()) + "bias";
  const auto has_name = [&](const TensorSpec& spec) { return spec.name == name; };
  return std::any_of(specs.begin(), specs.end(), has_name) ? name : std::string();
}

}  // namespace

Result<BiasCorrections> correct_biases(compute::Graph& graph, std::span<const compute::Bindings> examples,
                                       const formats::Checkpoint& checkpoint, std::span<const TensorSpec> specs,
                                       const WeightFormats& formats, ThreadPool& pool) {
  std::map<const PackedMatrix*, std::string> inputs;  // each layer's, by the name under which it is observed
  const std::vector<compute::Op> ops(graph.ops().begin(), graph.ops().end());
  for (const compute::Op& op : ops) {
    if (op.kind != compute::OpKind::kLinear) continue;
    const std::string name = fmt::format("input {}", inputs.size());
    graph.observe(name, op.in[0]);
    inputs.emplace(&op.linear->weight, name);
  }
  std::map<std::string, std::vector<std::vector<double>>, std::less<>> means;  // of each example
  TRY(const compute::KernelTable* kernels, compute::select_kernels());
  compute::Executor executor(pool, *kernels);
  for (const compute::Bindings& example : examples)
    TRY_STATUS(executor.run(graph, example, [&](std::string_view name, const Tensor& value) -> Status {
      if (name.starts_with("input ")) means[std::string(name)].push_back(column_means(value));
      return {};
    }));

  BiasCorrections out;
  for (const TensorSpec& spec : specs) {
    auto* target = std::get_if<PackedMatrix*>(&spec.target);
    const auto observed = target ? inputs.find(*target) : inputs.end();
    const std::string bias = bias_of(spec, specs);
    if (observed == inputs.end() || bias.empty()) continue;
    Tensor flat = *checkpoint.find(spec.name_in(checkpoint));
    flat.shape = {spec.shape[0], spec.shape.elements() / spec.shape[0]};
    const PackedMatrix codes = pack(spec, flat, formats.of(spec, flat.dtype), pool);
    if (!codes.in_codes()) continue;
    const std::vector<std::vector<double>>& mean = means.at(observed->second);
    std::vector<std::vector<double>> errors(mean.size(), std::vector<double>(static_cast<size_t>(codes.outputs())));
    pool.run(codes.panels(), [&](int64_t panel, int) {
      const auto width = static_cast<size_t>(codes.inputs());
      std::vector<float> exact(width), rounded(width);
      const int64_t last = std::min<int64_t>(codes.outputs(), (panel + 1) * compute::kPanel);
      for (int64_t o = panel * compute::kPanel; o < last; ++o) {
        compute::to_f32(flat.dtype, flat.data + compute::bytes_of(flat.dtype, o * codes.inputs()), exact.data(),
                        codes.inputs());
        codes.row(o, rounded.data());
        for (size_t i = 0; spec.evening && i < width; ++i) rounded[i] /= (*spec.evening)[i];
        for (size_t e = 0; e < mean.size(); ++e) {
          double sum = 0;
          for (size_t i = 0; i < width; ++i) sum += (static_cast<double>(exact[i]) - rounded[i]) * mean[e][i];
          errors[e][static_cast<size_t>(o)] = sum;
        }
      }
    });
    std::vector<float> correction = common_part(errors);
    out.emplace(bias, std::move(correction));
  }
  return out;
}

}  // namespace onsight::models
